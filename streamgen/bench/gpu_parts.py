"""How fast the engine is on a device. Each function answers one question and gives what it found at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from streamgen.backends.cuda_graph import CudaGraphBackend
from streamgen.backends.quantise import quantise
from streamgen.bench.figures import spread
from streamgen.bench.gpu_diffusers import calls, compile_pipeline, image_to_image, times_ms
from streamgen.bench.gpu_measure import (
    Rig,
    flops_per_frame,
    graph_times_ms,
    in_float32,
    make_engine,
    matmul_tflops,
    memory,
    opened,
    psnr,
    shown,
    speed,
    step_times_ms,
    verdict,
)
from streamgen.engine.engine import Engine
from streamgen.engine.select import BackendReport
from streamgen.models.diffusion import DiffusionModel
from streamgen.settings import StreamSettings

__all__ = ["Found", "batch", "diffusers", "lcm", "recipes", "sana", "sd_turbo", "sdxl", "sdxl_large"]

Found = dict[str, Any]

_HALF = StreamSettings(strength=0.5)  # what image to image is used at; one of two steps remains


def sd_turbo(rig: Rig) -> Iterator[Found]:
    """SD-Turbo, one step, one stream."""
    model = rig.model("sd-turbo", rig.small)
    yield {"memory_loaded": memory(rig.device)}
    engine = make_engine(rig, model)
    found = _stream(rig, model, engine, rig.small, _HALF)
    yield found
    yield {"p50_ms": verdict(found["step_ms"]["p50"], at_most=4.0)}
    if rig.backend == "cuda-graph":
        with opened(engine, rig.small, _HALF):
            times = graph_times_ms(engine, model, rig.small, 1, rig.seconds / 2)
        used = _utilisation(rig, model, rig.small, 1, spread(times)["p50"])
        yield {"graph": {"ms": spread(times), **used}}
    yield {"psnr_db": _agreements(rig, model, engine, rig.small, _HALF)}
    engine.close_all()


def diffusers(rig: Rig) -> Iterator[Found]:
    """diffusers' image-to-image pipeline on the same weights, eager and compiled."""
    architecture, dtype = rig.architectures["sd-turbo"], rig.dtype
    pipe = image_to_image(architecture, rig.device, dtype)
    ways = calls(pipe, architecture.text, rig.small, rig.device, dtype)
    for way, call in ways.items():
        yield {f"eager_{way}_ms": spread(times_ms(call, rig.seconds))}
    if rig.backend != "cuda-graph":
        yield {"compiled": "skipped: CUDA graphs need a CUDA device"}
        return
    compile_pipeline(pipe)
    for way, call in ways.items():
        yield {f"compiled_{way}_ms": spread(times_ms(call, rig.seconds))}
    yield {"memory": memory(rig.device)}


def batch(rig: Rig) -> Iterator[Found]:
    """SD-Turbo, one step, eight sessions in one batch."""
    model = rig.model("sd-turbo", rig.small, batch=8)
    engine = make_engine(rig, model)
    found = _stream(rig, model, engine, rig.small, _HALF, sessions=8)
    yield found | {"pictures": verdict(found["pictures_per_s"], at_least=420)}
    for sessions in (2, 4):
        found = _stream(rig, model, engine, rig.small, _HALF, sessions=sessions)
        yield {f"{sessions} sessions": found}
    engine.close_all()


def lcm(rig: Rig) -> Iterator[Found]:
    """A latent consistency model, up to four steps, one stream."""
    model = rig.model("lcm", rig.small, steps=4)
    engine = make_engine(rig, model)
    for steps in (4, 2, 1):
        settings = StreamSettings(strength=0.7, steps=steps)
        found = _stream(rig, model, engine, rig.small, settings)
        if steps == 4:
            found["fps"] = verdict(found["pictures_per_s"], at_least=80)
        yield {f"{steps} steps": found}
    engine.close_all()


def sdxl(rig: Rig) -> Iterator[Found]:
    """SDXL-Turbo, one step, one stream."""
    model = rig.model("sdxl-turbo", rig.small)
    engine = make_engine(rig, model)
    found = _stream(rig, model, engine, rig.small, _HALF)
    yield found | {"fps": verdict(found["pictures_per_s"], at_least=140)}
    yield {"psnr_db": _agreements(rig, model, engine, rig.small, _HALF)}
    engine.close_all()


def sdxl_large(rig: Rig, scheme: str = "none") -> Iterator[Found]:
    """SDXL-Turbo on large pictures, one to four steps, with quantised weights or without."""
    model = rig.model("sdxl-turbo", rig.large, steps=4)
    plain = make_engine(rig, model, "eager")
    settings = StreamSettings(strength=0.7, steps=2)
    if scheme != "none":
        flops_per_frame(model, rig.large, 1)
        wanted = shown(plain, rig.large, settings)
        report = quantise(model.network, scheme)
        yield {"layers": report.layers, "weights_gb": [report.bytes_before / 1e9, report.bytes_after / 1e9]}
        yield {"psnr_db_quantised": psnr(shown(plain, rig.large, settings), wanted)}
    memory(rig.device)  # the peak from here on is that of serving
    yield from _large(rig, model)


def sana(rig: Rig) -> Iterator[Found]:
    """SANA-Sprint on large pictures, one to four steps."""
    model = rig.model("sana-sprint", rig.large, steps=4)
    memory(rig.device)
    yield from _large(rig, model)


def recipes(rig: Rig) -> Iterator[Found]:
    """SD-Turbo under other options of the compiler: is the recipe of ``CudaGraphBackend`` still the best?"""
    model = rig.model("sd-turbo", rig.small)
    for name, options in _RECIPES.items():
        torch._dynamo.reset()
        kind = type("Recipe", (CudaGraphBackend,), {"options": options})
        report = BackendReport("cuda-graph", model.dtype, name)
        engine = Engine(model, kind(rig.device, model.dtype, 1), report, 1, wait_for_compilation=True)
        with opened(engine, rig.small, _HALF) as ready_s:
            times = graph_times_ms(engine, model, rig.small, 1, rig.seconds / 2)
        engine.close_all()
        yield {name: {"options": dict(options), "ready_s": round(ready_s, 1), "graph_ms": spread(times)}}


_RECIPES: dict[str, Mapping[str, bool]] = {
    "ours": CudaGraphBackend.options,
    "ours with epilogues": {**CudaGraphBackend.options, "epilogue_fusion": True},
    "torch's default": {},
    "ours with max_autotune": {**CudaGraphBackend.options, "max_autotune": True},
}


def _large(rig: Rig, model: DiffusionModel) -> Iterator[Found]:
    engine = make_engine(rig, model)
    for steps in (1, 2, 4):
        found = _stream(rig, model, engine, rig.large, StreamSettings(strength=0.7, steps=steps))
        found["ms"] = verdict(found["step_ms"]["p50"], at_most=100)
        found["peak_gb"] = verdict(found["memory"]["peak_gb"], at_most=8)
        yield {f"{steps} steps": found}
    engine.close_all()


def _stream(
    rig: Rig, model: DiffusionModel, engine: Engine, side: int, settings: StreamSettings, sessions: int = 1
) -> Found:
    """Speed, memory and utilisation of sessions that all ask for the same."""
    with opened(engine, side, settings, sessions) as ready_s:
        times = step_times_ms(engine, side, rig.seconds)
    steps = len(model.schedule.timesteps(settings.steps, settings.strength))
    found = speed(times, sessions)
    used = _utilisation(rig, model, side, steps, found["step_ms"]["p50"] / sessions)
    return {
        "side": side,
        "sessions": sessions,
        "backend": rig.backend,
        "dtype": model.dtype,
        "ready_s": round(ready_s, 1),
        **found,
        **used,
        "memory": memory(rig.device),
    }


def _agreements(rig: Rig, model: DiffusionModel, engine: Engine, side: int, settings: StreamSettings) -> Found:
    """How far pictures are from those of eager networks, at the engine's precision and in float32."""
    made = shown(engine, side, settings)
    eager = shown(make_engine(rig, model, "eager"), side, settings)
    exact = shown(make_engine(rig, in_float32(model), "eager"), side, settings)
    return {
        "against_eager": psnr(made, eager),
        "against_float32": psnr(made, exact),
        "eager_against_float32": psnr(eager, exact),
    }


def _utilisation(rig: Rig, model: DiffusionModel, side: int, steps: int, ms: float) -> Found:
    """Model FLOPs utilisation, of what a large matrix product reaches here."""
    flops, ceiling = flops_per_frame(model, side, steps), matmul_tflops(rig.device, model.dtype, rig.matmul_side)
    return {
        "gflop": round(flops / 1e9, 1),
        "matmul_tflops": ceiling,
        "utilisation_percent": round(100 * flops / (ms / 1000) / (ceiling * 1e12), 1),
    }
