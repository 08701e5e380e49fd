"""How the engine is timed on a device, and what a time is compared with."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from streamgen import devices
from streamgen.backends import load_backend
from streamgen.backends.quantise import psnr_db
from streamgen.bench.figures import spread
from streamgen.bench.gpu_models import Architecture, build_model
from streamgen.bench.pictures import moving_pictures
from streamgen.config import ModelSpec
from streamgen.engine.engine import Engine
from streamgen.engine.executables import example_inputs
from streamgen.engine.select import BackendReport
from streamgen.engine.whole_frame import frame_example
from streamgen.frames import Frame, Output, Pixels
from streamgen.models.diffusion import DiffusionModel
from streamgen.settings import FrameFormat, StreamSettings

__all__ = [
    "Rig",
    "flops_per_frame",
    "graph_times_ms",
    "in_float32",
    "make_engine",
    "matmul_tflops",
    "memory",
    "opened",
    "psnr",
    "shown",
    "speed",
    "step_times_ms",
    "verdict",
]

_WARM_UP_FRAMES = 10
_PICTURES = 8


@dataclass(frozen=True, slots=True)
class Rig:
    """What all parts are measured with.

    Args:
        device: torch device.
        threads: compute threads, on a CPU.
        seconds: of each timing.
        architectures: by name; the true ones or tiny ones.
        changes: of settings, 10,000 in earnest.
        matmul_side: of the matrices whose product is the ceiling of utilisation.
        small: side of the usual pictures, 512 in earnest.
        large: side of the large ones, 1024 in earnest.
    """

    device: str
    threads: int
    seconds: float
    architectures: Mapping[str, Architecture]
    changes: int = 10_000
    matmul_side: int = 8192
    small: int = 512
    large: int = 1024

    @property
    def backend(self) -> str:
        """What a server would pick for a large model here."""
        return "cuda-graph" if self.device.startswith("cuda") else "eager"

    @property
    def dtype(self) -> str:
        return devices.fast_dtype(self.device)

    def model(self, name: str, side: int, *, steps: int = 1, batch: int = 1) -> DiffusionModel:
        """One of the architectures with random weights."""
        spec = ModelSpec(
            name, width=side, height=side, dtype=self.dtype, device=self.device, max_batch=batch, max_steps=steps
        )
        return build_model(self.architectures[name], spec)


def make_engine(rig: Rig, model: DiffusionModel, backend: str | None = None) -> Engine:
    """The engine as the server runs it, except that it waits for compilation instead of serving meanwhile."""
    name = backend or rig.backend
    chosen = load_backend(name)(rig.device, model.dtype, rig.threads)
    report = BackendReport(name, model.dtype, "asked for")
    return Engine(model, chosen, report, model.spec.max_batch, wait_for_compilation=True)


def in_float32(model: DiffusionModel) -> DiffusionModel:
    """The same model with copies of its three networks in float32; prompts are encoded by the model itself."""
    exact = copy.copy(model)
    exact.dtype = "float32"
    exact.network = copy.deepcopy(model.network).float()
    assert model.encoder is not None and model.decoder is not None
    exact.encoder, exact.decoder = (copy.deepcopy(part).float() for part in (model.encoder, model.decoder))
    return exact


@contextmanager
def opened(engine: Engine, side: int, settings: StreamSettings, sessions: int = 1) -> Iterator[float]:
    """Sessions ``0``, ``1``, ... with prompts and seeds of their own, open; gives the seconds until all was ready."""
    began_s = time.perf_counter()
    format = FrameFormat(width=side, height=side)
    for index in range(sessions):
        own = settings.model_copy(update={"prompt": f"prompt {index}", "seed": index})
        engine.open(str(index), format, own)
    engine.prepare(format)
    try:
        yield time.perf_counter() - began_s
    finally:
        for index in range(sessions):
            engine.close(str(index))


def step_times_ms(engine: Engine, side: int, seconds: float) -> list[float]:
    """Step every open session until ``seconds`` have passed: milliseconds from uint8 frames to uint8 frames."""
    frames = [Frame(pixels) for pixels in moving_pictures(side, side, _PICTURES)]
    times_ms: list[float] = []
    warm_up, count = _WARM_UP_FRAMES if seconds >= 1 else 2, 0
    while count < warm_up + 3 or sum(times_ms) < 1000 * seconds:
        batch = [(name, frames[(count + index) % _PICTURES]) for index, name in enumerate(engine.sessions)]
        began_s = time.perf_counter()
        engine.step(batch, began_s)
        if count >= warm_up:
            times_ms.append(1000 * (time.perf_counter() - began_s))
        count += 1
    return times_ms


def speed(times_ms: list[float], pictures: int = 1) -> dict[str, Any]:
    """Percentiles of single steps, and pictures a second over all of them."""
    return {
        "step_ms": spread(times_ms),
        "pictures_per_s": round(1000 * pictures * len(times_ms) / sum(times_ms), 1),
        "steps_timed": len(times_ms),
    }


def verdict(got: float, *, at_most: float | None = None, at_least: float | None = None) -> dict[str, Any]:
    """A figure beside what was asked of it."""
    if at_most is not None:
        return {"got": round(got, 2), "asked": f"at most {at_most:g}", "met": got <= at_most}
    assert at_least is not None
    return {"got": round(got, 2), "asked": f"at least {at_least:g}", "met": got >= at_least}


def shown(engine: Engine, side: int, settings: StreamSettings) -> Pixels:
    """The uint8 picture that an engine makes of one and the same frame."""
    with opened(engine, side, settings):
        [(_, made)] = engine.step([("0", Frame(moving_pictures(side, side, 1)[0]))], 0.0)
    assert isinstance(made, Output)
    return made.pixels


def psnr(made: Pixels, wanted: Pixels) -> float | str:
    """Peak signal to noise ratio of two pictures, dB, or ``equal``."""
    found = psnr_db(torch.from_numpy(made), torch.from_numpy(wanted), 255)
    return "equal" if found == float("inf") else round(found, 1)


def memory(device: str) -> dict[str, float]:
    """Gigabytes that tensors use, and used at most since the last call; the allocator's reserve on top."""
    found = {"in_use_gb": devices.allocated_bytes(device) / 1e9, "peak_gb": devices.peak_bytes(device) / 1e9}
    if device.startswith("cuda"):
        found["reserved_gb"] = torch.cuda.memory_reserved(device) / 1e9
        torch.cuda.reset_peak_memory_stats(device)
    return {name: round(value, 2) for name, value in found.items()}


def flops_per_frame(model: DiffusionModel, side: int, steps: int) -> float:
    """Operations of one picture: encoder, ``steps`` network calls, decoder; a multiplication with an addition is 2.

    Counted once for a model and side; count before the weights are quantised, whose kernels nobody counts.
    """
    counted = _FLOPS.setdefault(model.network, {})
    if side not in counted:
        counted[side] = _count_flops(model, side)
    parts = counted[side]
    return parts["encode"] + steps * parts["denoise"] + parts["decode"]


_FLOPS: WeakKeyDictionary[nn.Module, dict[int, dict[str, float]]] = WeakKeyDictionary()


@torch.no_grad()
def _count_flops(model: DiffusionModel, side: int) -> dict[str, float]:
    counts: dict[str, float] = {}
    for part, network in (("encode", model.encoder), ("denoise", model.network), ("decode", model.decoder)):
        assert network is not None
        inputs = example_inputs(model, 1, side, side, part)
        if part != "denoise":
            inputs = tuple(tensor.to(getattr(torch, model.dtype)) for tensor in inputs)
        with FlopCounterMode(display=False) as counter:
            network(*inputs)
        counts[part] = float(counter.get_total_flops())
    return counts


@cache
def matmul_tflops(device: str, dtype: str, side: int) -> float:
    """What a large matrix product reaches on random data: the ceiling that utilisation is counted against."""
    kind = getattr(torch, dtype)
    a, b = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
    times_s = []
    for _ in range(8):
        devices.wait(device)
        began_s = time.perf_counter()
        torch.matmul(a, b)
        devices.wait(device)
        times_s.append(time.perf_counter() - began_s)
    return round(2 * side**3 / sorted(times_s)[len(times_s) // 2] / 1e12, 3)


def graph_times_ms(engine: Engine, model: DiffusionModel, side: int, steps: int, seconds: float) -> list[float]:
    """Milliseconds of one captured frame on the device alone: without Python, without uploads and downloads."""
    graph = engine.captured(FrameFormat(width=side, height=side), steps)
    assert graph is not None
    example = tuple(tensor.to(model.spec.device) for tensor in frame_example(model, 1, side, side, steps))
    times_ms: list[float] = []
    while len(times_ms) < 3 or sum(times_ms) < 1000 * seconds:
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        first.record()
        graph(*example)
        last.record()
        last.synchronize()
        times_ms.append(first.elapsed_time(last))
    return times_ms
