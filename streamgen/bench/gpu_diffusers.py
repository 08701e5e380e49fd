"""diffusers' own image-to-image pipeline, eager and compiled: what the engine is compared with.

Same weights, same small autoencoder, prompt embeddings given, one step: nothing is left to diffusers that the engine
does not do as well.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import numpy as np
import torch

from streamgen import devices
from streamgen.bench.gpu_models import Architecture, build_pipeline
from streamgen.bench.pictures import moving_pictures

__all__ = ["calls", "compile_pipeline", "image_to_image", "times_ms"]

Call = Callable[[int], object]

_PICTURES = 8
_MOST = 200


def image_to_image(architecture: Architecture, device: str, dtype: str) -> Any:
    """``AutoPipelineForImage2Image`` of the parts that the engine's model is made of."""
    diffusers: Any = import_module("diffusers")
    base = build_pipeline(architecture, device, getattr(torch, dtype))
    pipe = diffusers.AutoPipelineForImage2Image.from_pipe(base)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def compile_pipeline(pipe: Any) -> None:
    """As diffusers' documentation advises for speed, with torch's own CUDA graphs."""
    options: dict[str, Any] = {"mode": "reduce-overhead", "fullgraph": True}
    pipe.unet = torch.compile(pipe.unet, **options)
    pipe.vae.encoder = torch.compile(pipe.vae.encoder, **options)
    pipe.vae.decoder = torch.compile(pipe.vae.decoder, **options)


def calls(pipe: Any, text: Mapping[str, tuple[int, ...]], side: int, device: str, dtype: str) -> dict[str, Call]:
    """Ways to make one picture: ``uint8``, as the engine is asked, through PIL; ``tensor``, which stays on the device
    and so leaves out what moving and converting pictures costs."""
    kind = getattr(torch, dtype)
    images: Any = import_module("PIL.Image")
    pictures = moving_pictures(side, side, _PICTURES)
    tensors = [torch.from_numpy(picture).permute(2, 0, 1)[None].to(device, kind) / 255 for picture in pictures]
    embeds = torch.randn(1, *text["text"], generator=torch.Generator().manual_seed(0)).to(device, kind)

    def run(image: object, output_type: str) -> Any:
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        return pipe(
            prompt_embeds=embeds,
            image=image,
            strength=0.5,
            num_inference_steps=2,  # of which strength leaves one
            guidance_scale=0.0,
            output_type=output_type,
        ).images

    def uint8(index: int) -> object:
        return np.asarray(run(images.fromarray(pictures[index % _PICTURES]), "pil")[0])

    def tensor(index: int) -> object:
        made = run(tensors[index % _PICTURES], "pt")
        devices.wait(device)
        return made

    return {"uint8": uint8, "tensor": tensor}


def times_ms(call: Call, seconds: float, warm_up: int = 5) -> list[float]:
    """Milliseconds of single calls."""
    for index in range(warm_up):
        call(index)
    times: list[float] = []
    while len(times) < 3 or (sum(times) < 1000 * seconds and len(times) < _MOST):
        began_s = time.perf_counter()
        call(len(times))
        times.append(1000 * (time.perf_counter() - began_s))
    return times
