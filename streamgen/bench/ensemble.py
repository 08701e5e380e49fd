"""The embedded networks: milliseconds of a call of each, by backend and precision, and of a whole frame with all that
``matte`` and ``alpha`` ask for.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from streamgen.bench.figures import spread
from streamgen.bench.hardware import usable_cores
from streamgen.config import ModelSpec, worker_environment

# torch, and what imports it, waits until the environment that it reads has been set.

__all__ = ["NETWORKS", "Network", "main", "measure", "measure_frame", "measure_networks"]

Row = dict[str, Any]

_SESSION = "bench"
_WARM_UP = 3
_LEAST_CALLS = 3
_FIDELITY_SIDE = 256
_FIDELITY_DB = 30.0
_STYLES = 4
_FRAME_SIDE = 512


@dataclass(frozen=True, slots=True)
class Network:
    """One of the ensemble.

    Args:
        load: reads it, from a weights file or, with None, from the packaged one.
        inputs: of it and a side in pixels: the arguments of its calls, one tuple for every picture to compare.
        sides: to measure, of the square picture that goes in.
        peak: span of its results.
    """

    load: Callable[[Path | None], Any]
    inputs: Callable[[Any, int], Iterator[tuple[Any, ...]]]
    sides: Sequence[int]
    peak: float


def measure(weights: Path | None, threads: int, seconds: float, backends: Sequence[str] = ()) -> Row:
    """Time everything on the CPU.

    Args:
        weights: of the core; None for the packaged ones.
        threads: that compute.
        seconds: of each timing.
        backends: also these, although they compile for many seconds.

    Returns:
        ``threads``; ``rows`` as ``measure_networks`` yields them; ``best``: by network and size, the fastest row whose
        fidelity is at least 30 dB or was not compared: ``backend``, ``dtype``, ``ms`` (the median), ``psnr_db``;
        ``whole_frame`` as ``measure_frame`` returns it.
    """
    rows = list(measure_networks(weights, threads, seconds, backends))
    return {
        "threads": threads,
        "rows": rows,
        "best": _best(rows),
        "whole_frame": measure_frame(weights, threads, max(1.0, seconds)),
    }


def measure_networks(weights: Path | None, threads: int, seconds: float, backends: Sequence[str] = ()) -> Iterator[Row]:
    """One row for every network, size, backend and precision: ``ms`` is a spread; None where ``note`` says why it was
    not measured. ``psnr_db`` is the worst of some pictures at 256x256 against eager float32; None for that itself."""
    from streamgen.engine.threads import use_threads
    from streamgen.errors import WeightsError

    use_threads(threads)
    for name, kind in NETWORKS.items():
        try:
            network = kind.load(weights if name == "core" else None)
        except WeightsError as error:
            yield _row(name, "", "", "", error.message)
            continue
        for backend, dtype, note in _candidates(network, backends):
            if note:
                yield _row(name, "", backend, dtype, note)
            else:
                yield from _measure_one(name, kind, network, (backend, dtype, threads), seconds)


def measure_frame(weights: Path | None, threads: int, seconds: float, side: int = _FRAME_SIDE) -> Row:
    """A session's step from uint8 frame to uint8 frame with the person cut out, as the engine serves it: ``step_ms`` is
    a spread, ``fps`` what that comes to."""
    from streamgen.bench.pictures import moving_pictures
    from streamgen.engine import build_engine
    from streamgen.frames import Frame
    from streamgen.settings import FrameFormat, StreamSettings

    format = FrameFormat(width=side, height=side)
    engine = build_engine(ModelSpec(weights=weights, width=side, height=side, max_batch=1), threads=threads)
    try:
        engine.prepare(format)
        engine.open(_SESSION, format, StreamSettings(matte="person", alpha=True))
        frames = [Frame(pixels) for pixels in moving_pictures(side, side)]
        times_ms = _times(lambda index: engine.step([(_SESSION, frames[index % len(frames)])], index / 30), seconds)
    finally:
        engine.close_all()
    return {
        "size": f"{side}x{side}",
        "settings": {"matte": "person", "alpha": True, "steps": 1},
        "backend": engine.report.chosen,
        "dtype": engine.report.dtype,
        "step_ms": spread(times_ms),
        "fps": round(1000 * len(times_ms) / sum(times_ms), 1),
    }


def main(argv: list[str] | None = None) -> int:
    """Measure, print every row, write JSON."""
    from streamgen.bench.figures import write_report

    parser = argparse.ArgumentParser(description="Time the embedded networks on the CPU.")
    parser.add_argument("--weights", type=Path, help="of the core (default: the packaged ones)")
    parser.add_argument("--threads", type=int, default=usable_cores(), help="default: all cores")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each timing (default: 3)")
    parser.add_argument("--backends", nargs="*", default=[], help="also these, although they compile for many seconds")
    parser.add_argument("--output", type=Path, default=Path("streamgen-ensemble.json"), help="JSON goes there")
    args = parser.parse_args(argv)
    os.environ.update(worker_environment(args.threads))
    found = measure(args.weights, args.threads, args.seconds, args.backends)
    for row in (*found["rows"], found["best"], found["whole_frame"]):
        print(json.dumps(row))
    write_report({"ensemble": found}, args.output)
    print(f"written to {args.output}")
    return 0


def _candidates(network: Any, asked: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Backend, precision, and why it is not measured or an empty text."""
    from streamgen.backends import BACKENDS, load_backend
    from streamgen.backends.base import quantised_variant

    for name in BACKENDS:
        kind = load_backend(name)
        reason = kind.unavailable("cpu")
        if reason is None and not kind.quick_to_compile and name not in asked:
            reason = "compiles for many seconds, and was not asked for"
        if reason is not None:
            yield name, "", reason
            continue
        small = ("int8",) if kind.runs_quantised and quantised_variant(network) else ()
        for dtype in (*kind.dtypes("cpu"), *small):
            yield name, dtype, ""


def _measure_one(
    name: str, kind: Network, network: Any, candidate: tuple[str, str, int], seconds: float
) -> Iterator[Row]:
    from streamgen.backends import load_backend

    backend_name, dtype, threads = candidate
    backend = load_backend(backend_name)("cpu", dtype, threads)
    for side in kind.sides:
        inputs = next(kind.inputs(network, side))
        call = backend.compile(network, inputs)
        ratio = None
        if side == _FIDELITY_SIDE and (backend_name, dtype) != ("eager", "float32"):
            ratio = _fidelity_db(kind, network, call)
        times_ms = _times(partial(_call, call, inputs), seconds)
        yield _row(name, f"{side}x{side}", backend_name, dtype, "") | {"ms": spread(times_ms), "psnr_db": ratio}


def _call(call: Callable[..., Any], inputs: tuple[Any, ...], _: int) -> Any:
    return call(*inputs)


def _fidelity_db(kind: Network, network: Any, call: Callable[..., Any]) -> float:
    import torch

    from streamgen.backends.quantise import psnr_db

    with torch.inference_mode():
        pairs = [(call(*inputs), network(*inputs)) for inputs in kind.inputs(network, _FIDELITY_SIDE)]
    worst = min(psnr_db(made, wanted, kind.peak) for made, wanted in pairs)
    return round(max(-200.0, min(worst, 200.0)), 1)  # JSON has no infinity


def _times(call: Callable[[int], object], seconds: float) -> list[float]:
    """Milliseconds of each call, after some that do not count."""
    for index in range(_WARM_UP):
        call(index)
    times_ms: list[float] = []
    while len(times_ms) < _LEAST_CALLS or sum(times_ms) < 1000 * seconds:
        began_s = time.perf_counter()
        call(_WARM_UP + len(times_ms))
        times_ms.append(1000 * (time.perf_counter() - began_s))
    return times_ms


def _row(network: str, size: str, backend: str, dtype: str, note: str) -> Row:
    named = {"network": network, "size": size, "backend": backend, "dtype": dtype}
    return named | {"ms": None, "psnr_db": None, "note": note}


def _best(rows: Sequence[Row]) -> dict[str, Row]:
    unfaithful = {
        (row["network"], row["backend"], row["dtype"])
        for row in rows
        if row["psnr_db"] is not None and row["psnr_db"] < _FIDELITY_DB
    }
    best: dict[str, Row] = {}
    for row in rows:
        if row["ms"] is None or (row["network"], row["backend"], row["dtype"]) in unfaithful:
            continue
        name, ms = f"{row['network']} {row['size']}", row["ms"]["p50"]
        if name not in best or ms < best[name]["ms"]:
            best[name] = {"backend": row["backend"], "dtype": row["dtype"], "ms": ms, "psnr_db": row["psnr_db"]}
    return best


def _core(weights: Path | None) -> Any:
    from streamgen.models.tiny import TinyModel

    return TinyModel.load(ModelSpec(weights=weights)).network


def _core_inputs(network: Any, side: int) -> Iterator[tuple[Any, ...]]:
    import torch

    source = _picture(side)
    noise = torch.randn(source.shape, generator=torch.Generator().manual_seed(0))
    for row in range(0, len(network.styles), max(1, len(network.styles) // _STYLES)):
        style = network.styles[row : row + 1].detach()
        yield noise, torch.tensor([math.pi / 2]), torch.ones(1, 1), style, source


def _matte(_: Path | None) -> Any:
    from streamgen.models.matte import load_matte

    return load_matte()


def _matte_inputs(_: Any, side: int) -> Iterator[tuple[Any, ...]]:
    yield (_picture(side),)


def _upscaler(_: Path | None) -> Any:
    from streamgen.models.upscaler import load_upscaler

    return load_upscaler()


def _upscaler_inputs(_: Any, side: int) -> Iterator[tuple[Any, ...]]:
    import torch

    from streamgen.bench.pictures import moving_pictures

    yield (torch.from_numpy(moving_pictures(side, side, 1)[0])[None],)


def _picture(side: int) -> Any:
    """[1, 3, side, side] in [-1, 1]."""
    import torch

    from streamgen.bench.pictures import moving_pictures

    return torch.from_numpy(moving_pictures(side, side, 1)[0]).permute(2, 0, 1)[None].float() / 127.5 - 1


NETWORKS: dict[str, Network] = {
    "core": Network(_core, _core_inputs, (256, 512), 2.0),
    "matte": Network(_matte, _matte_inputs, (256,), 1.0),
    "upscaler": Network(_upscaler, _upscaler_inputs, (256, 512), 255.0),
}
"""The matte squeezes every frame to 256x256; the upscaler's picture comes out twice as large."""
