"""The engine alone: how many frames a second it makes when nothing else asks for the machine."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from streamgen.bench.figures import spread
from streamgen.bench.pictures import moving_pictures
from streamgen.config import ServerConfig
from streamgen.frames import Frame
from streamgen.settings import FrameFormat, StreamSettings

__all__ = ["measure_engine"]

_SESSION = "bench"
_WARM_UP_FRAMES = 10


def measure_engine(config: ServerConfig, threads: int, side: int, steps: int, seconds: float) -> dict[str, Any]:
    """Step one session at ``side`` x ``side`` for ``seconds`` and return its speed.

    Every step is what serving does, from uint8 frame to uint8 frame.
    """
    from streamgen.engine import build_engine

    format = FrameFormat(width=side, height=side)
    spec = replace(config.spec, width=side, height=side, max_batch=1)
    engine = build_engine(spec, config.backend, threads)
    engine.prepare(format)
    engine.open(_SESSION, format, StreamSettings(prompt="van gogh", steps=steps))
    frames = [Frame(pixels) for pixels in moving_pictures(side, side)]
    times_ms: list[float] = []
    warm_up = _WARM_UP_FRAMES
    while warm_up > 0 or sum(times_ms) < 1000 * seconds:
        began_s = time.perf_counter()
        engine.step([(_SESSION, frames[len(times_ms) % len(frames)])], began_s)
        if warm_up > 0:
            warm_up -= 1
        else:
            times_ms.append(1000 * (time.perf_counter() - began_s))
    engine.close_all()
    return {
        "size": f"{side}x{side}",
        "steps": steps,
        "backend": engine.report.chosen,
        "dtype": engine.report.dtype,
        "threads": threads,
        "frames": len(times_ms),
        "fps": round(1000 * len(times_ms) / sum(times_ms), 1),
        "step_ms": spread(times_ms),
        "memory_mb": _resident_mb(),
        "candidates": [
            {"backend": row.backend, "dtype": row.dtype, "ms": row.ms and round(row.ms, 2), "note": row.note}
            for row in engine.report.candidates
        ],
    }


def _resident_mb() -> float:
    import psutil

    resident: int = psutil.Process().memory_info().rss
    return round(resident / 2**20, 1)
