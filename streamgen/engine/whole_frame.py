"""A whole frame as one function of tensors, uint8 in and uint8 out, for backends that launch it as one graph.

It covers the usual case: every row takes its steps one after the other, guided by its own frame or not at all. What
else a session may ask for goes the general way through ``Engine``, with the same parts and the same sampler.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from streamgen.backends.base import Compiled, Function
from streamgen.engine.fit import normalise, quantise
from streamgen.engine.sampler import SAMPLERS, Guidance, Lanes, sample
from streamgen.models.base import Conditioning, Model
from streamgen.settings import StreamSettings

__all__ = ["empty_prompt", "frame_example", "whole_frame"]


def whole_frame(model: Model, names: Sequence[str], parts: Mapping[str, Compiled], steps: int) -> Function:
    """The function (pixels, noise, levels, scale, *prompt) -> (pictures, ).

    Its arguments, in order: pixels uint8 [B, H, W, 3] that fit already; noise [B, S, C, h, w]; levels [B, S]; the
    guidance scale [B]; then the conditioning called ``names``, which is all but what is made from the frame. Its
    result: uint8 [B, H, W, 3].
    """

    def compute(pixels: Tensor, noise: Tensor, levels: Tensor, scale: Tensor, *prompt: Tensor) -> tuple[Tensor, ...]:
        frames = normalise(pixels.permute(0, 3, 1, 2))
        source = parts["encode"](frames) if "encode" in parts else frames
        cond = dict(zip(names, prompt, strict=True)) | model.source_conditioning(frames, source)
        inputs = [cond[name] for name in model.conditioning_names]

        def denoise(x_t: Tensor, t: Tensor, rows: Sequence[int]) -> Tensor:
            return parts["denoise"](x_t, t, *inputs)

        batch = len(pixels)
        x_t = model.schedule.start(source, noise[:, 0], levels[:, 0])
        guidance = Guidance(scale, ["self"] * batch, source)
        lanes = Lanes(x_t, levels, [steps] * batch, noise, guidance)
        latents, _ = sample(denoise, model.schedule, SAMPLERS[model.sampler], lanes)
        return (quantise(parts["decode"](latents) if "decode" in parts else latents),)

    return torch.inference_mode()(compute)


def frame_example(
    model: Model, batch: int, height: int, width: int, steps: int, *, prompt: Conditioning | None = None
) -> tuple[Tensor, ...]:
    """Arguments of ``whole_frame``'s exact shapes, with harmless values.

    ``prompt``: the model's ``empty_prompt``, where it is at hand.
    """
    device = model.spec.device
    pixels = torch.zeros((batch, height, width, 3), dtype=torch.uint8)
    noise = torch.zeros((batch, steps, *model.latent_shape(height, width)), device=device)
    levels = torch.tensor([model.schedule.timesteps(steps, 1.0)] * batch)
    prompt = prompt or empty_prompt(model)
    rows = [tensor.expand(batch, *tensor.shape).contiguous() for tensor in prompt.values()]
    return pixels, noise, levels, torch.ones(batch), *rows


def empty_prompt(model: Model) -> Conditioning:
    """Unbatched conditioning of a session that asked for nothing: all of it but what is made from a frame."""
    prompt = model.encode_prompt("", model.loras) | model.live_conditioning(StreamSettings())
    reference, _ = model.reference_conditioning(None)
    return prompt | reference
