"""What the server costs beside the codecs: an engine that gives every frame back, 512x512, 30 frames a second."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from typing import Any

from streamgen.bench.figures import spread
from streamgen.bench.loopback import Server, drive
from streamgen.bench.pictures import moving_pictures
from streamgen.bench.webrtc_server import STATE, identity_server
from streamgen.codec import decode, encode
from streamgen.wire import Codec

__all__ = ["measure_overhead"]

_SIDE = 512
_FPS = 30.0
_CODEC_ROUNDS = 200


def measure_overhead(seconds: float = 30.0) -> dict[str, Any]:
    """One session through the WebSocket.

    Returns:
        Percentiles of the whole trip, of the four codec calls in it measured alone, the difference of their medians,
        and percentiles of how long the event loop was held up.
    """
    with identity_server() as server:
        trace = asyncio.run(drive(server, _SIDE, _FPS, 2.0))
        _state(server)
        trace = asyncio.run(drive(server, _SIDE, _FPS, seconds))
        state = _state(server)
    trip = spread([arrival.latency_ms for arrival in trace.arrivals])
    codecs = _codecs_ms()
    return {
        "size": f"{_SIDE}x{_SIDE}",
        "fps_in": _FPS,
        "fps_out": round(len(trace.arrivals) / seconds, 1),
        "trip_ms": trip,
        "codecs_ms": codecs,
        "overhead_ms": round(trip["p50"] - codecs["p50"], 2),
        "event_loop_lag_ms": state["lag_ms"],
    }


def _codecs_ms() -> dict[str, float]:
    """Both encodings and both decodings of a frame, one after the other."""
    times_ms = []
    pictures = moving_pictures(_SIDE, _SIDE)
    for index in range(_CODEC_ROUNDS):
        pixels = pictures[index % len(pictures)]
        began_s = time.perf_counter()
        for _ in range(2):
            pixels = decode(Codec.JPEG, memoryview(encode(pixels, Codec.JPEG)), _SIDE, _SIDE)
        times_ms.append((time.perf_counter() - began_s) * 1000)
    return spread(times_ms)


def _state(server: Server) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{STATE}", timeout=10) as answer:
        state: dict[str, Any] = json.load(answer)
        return state
