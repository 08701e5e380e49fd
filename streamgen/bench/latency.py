"""Glass to glass: from a frame in the client's hand to its stylised picture there, through the WebSocket server."""

from __future__ import annotations

import asyncio
from typing import Any

from streamgen.bench.figures import spread
from streamgen.bench.loopback import Arrival, Server, drive

__all__ = ["measure_latency", "stages"]


def measure_latency(server: Server, side: int, fps: float, seconds: float) -> dict[str, Any]:
    """Send at a rate the engine keeps up with, and return latencies, rates and drops."""
    trace = asyncio.run(drive(server, side, fps, seconds))
    return {
        "size": f"{side}x{side}",
        "fps_in": round(trace.sent / seconds, 1),
        "fps_out": round(len(trace.arrivals) / seconds, 1),
        "seconds": seconds,
        "glass_to_glass_ms": spread([arrival.latency_ms for arrival in trace.arrivals]),
        "stages_ms": stages(trace.arrivals),
        "missing": trace.sent - len(trace.arrivals),
        "reached_the_server": trace.received,
        "drops": trace.drops,
        "backend": trace.backend,
        "server_ready_s": server.ready_s,
        "memory_mb": trace.memory_mb[-1][1] if trace.memory_mb else None,
    }


def stages(arrivals: list[Arrival]) -> dict[str, dict[str, float]]:
    """Percentiles of each stage; ``around`` is the client's codecs, both sockets and the server's decoding."""
    timings = [arrival.timing for arrival in arrivals]
    inside = [timing.queued_ms + timing.engine_ms + timing.encode_ms for timing in timings]
    return {
        "queued": spread([timing.queued_ms for timing in timings]),
        "engine": spread([timing.engine_ms for timing in timings]),
        "encode": spread([timing.encode_ms for timing in timings]),
        "around": spread([arrival.latency_ms - part for arrival, part in zip(arrivals, inside, strict=True)]),
    }
