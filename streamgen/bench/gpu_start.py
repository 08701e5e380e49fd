"""One start, from a new process to compiled frames: ``python -m streamgen.bench.gpu_start FOLDER``. Prints JSON.

A process of its own, because imports and CUDA's own start are part of what a user waits for.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from itertools import pairwise
from typing import Any

__all__ = ["first_frames", "main"]

_FPS = 30


def first_frames(
    folder: str, device: str, dtype: str, side: int, backend: str, threads: int, most_s: float
) -> dict[str, Any]:
    """Load, serve eagerly at once, at most 30 frames a second, until compiled frames have come for a while or
    ``most_s`` have passed.

    All times are counted from the start of this process.
    """
    import psutil

    from streamgen import devices
    from streamgen.bench.pictures import moving_pictures
    from streamgen.config import ModelSpec
    from streamgen.engine.engine import Engine
    from streamgen.engine.select import choose_backend
    from streamgen.engine.threads import use_threads
    from streamgen.frames import Frame, Output
    from streamgen.models import load_model
    from streamgen.settings import FrameFormat, StreamSettings

    use_threads(threads)
    born_s = psutil.Process().create_time()
    imported_s = time.time() - born_s
    spec = ModelSpec(folder, width=side, height=side, device=device, dtype=dtype, max_batch=1, max_steps=1, vae="full")
    model = load_model(spec)
    loaded_s = time.time() - born_s
    chosen, report = choose_backend(model, backend, threads)
    engine = Engine(model, chosen, report, 1, wait_for_compilation=False)
    engine.open("bench", FrameFormat(width=side, height=side), StreamSettings(prompt="a cat", strength=0.5))
    frames = [Frame(pixels) for pixels in moving_pictures(side, side, 8)]
    shown_s: list[float] = []
    compiled: list[bool] = []
    while True:
        if shown_s:  # as a camera; without a pause, eager frames would keep the compiler waiting for Python's lock
            time.sleep(max(0.0, shown_s[-1] + 1 / _FPS - (time.time() - born_s)))
        [(_, made)] = engine.step([("bench", frames[len(shown_s) % 8])], time.perf_counter())
        shown_s.append(time.time() - born_s)
        compiled.append(backend != "eager" and isinstance(made, Output) and not made.warm_up)
        if shown_s[-1] > most_s or sum(compiled) >= 100 or backend == "eager":
            break
    engine.close_all()
    return {
        "imported_s": round(imported_s, 2),
        "loaded_s": round(loaded_s, 2),
        "first_frame_s": round(shown_s[0], 2),
        "peak_gb": round(max(devices.peak_bytes(device), _peak_resident(device)) / 1e9, 2),
        **_takeover(shown_s, compiled),
    }


def _takeover(shown_s: list[float], compiled: list[bool]) -> dict[str, Any]:
    """When compiled frames took over, and the longest wait between two frames until then and shortly after.

    The eager frames' first gap is left out: that is the one in which libraries load.
    """
    gaps_ms = [1000 * (later - earlier) for earlier, later in pairwise(shown_s)][1:]
    return {
        "compiled_after_s": round(shown_s[compiled.index(True)], 2) if any(compiled) else None,
        "frames": len(shown_s),
        "longest_gap_ms": round(max(gaps_ms), 1) if gaps_ms else None,
        "gaps_over_100_ms": sum(gap > 100 for gap in gaps_ms),
    }


def _peak_resident(device: str) -> int:
    """Bytes of this process at its largest, where that is the memory that counts."""
    if device != "cpu" or sys.platform == "win32":
        return 0
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure one start.")
    parser.add_argument("folder")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--backend", default="cuda-graph")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cache", help="where the compiler keeps what it made")
    parser.add_argument("--seconds", type=float, default=300)
    args = parser.parse_args()
    os.environ.update({"TORCHINDUCTOR_CACHE_DIR": args.cache} if args.cache else {})  # torch reads it when imported
    found = first_frames(args.folder, args.device, args.dtype, args.side, args.backend, args.threads, args.seconds)
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
