"""Overload: more frames than the engine can make. Latency and memory must stay flat, and every drop be counted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from streamgen.bench.figures import spread
from streamgen.bench.loopback import Arrival, Server, drive

__all__ = ["flatness", "measure_flood"]

_WINDOW_S = 10.0


def measure_flood(server: Server, side: int, fps: float, seconds: float) -> dict[str, Any]:
    """Send faster than the engine works for ``seconds``; compare the first ten with the last ten."""
    trace = asyncio.run(drive(server, side, fps, seconds))
    memory = [megabytes for _, megabytes in trace.memory_mb]
    return {
        "size": f"{side}x{side}",
        "fps_in": round(trace.sent / seconds, 1),
        "fps_out": round(len(trace.arrivals) / seconds, 1),
        "seconds": seconds,
        **flatness(trace.arrivals, seconds),
        "missing": trace.sent - len(trace.arrivals),
        "reached_the_server": trace.received,
        "drops": trace.drops,
        "backend": trace.backend,
        "memory_mb": {"first": memory[0], "most": max(memory), "last": memory[-1]} if memory else {},
    }


def flatness(arrivals: Sequence[Arrival], seconds: float) -> dict[str, Any]:
    """Latencies of the first and the last ten seconds (or thirds of a shorter run), and their ratio's deviation."""
    window_s = min(_WINDOW_S, seconds / 3)
    first = spread([arrival.latency_ms for arrival in arrivals if arrival.at_s < window_s])
    last = spread([arrival.latency_ms for arrival in arrivals if arrival.at_s >= seconds - window_s])
    change = last["p50"] / first["p50"] - 1 if first["p50"] else 0.0
    return {"first_ms": first, "last_ms": last, "change_percent": round(100 * change, 1)}
