"""How close a backend's pictures are to those of the network itself in float32."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from streamgen.backends.base import Backend
from streamgen.backends.quantise import psnr_db
from streamgen.engine.executables import example_inputs
from streamgen.engine.whole_frame import empty_prompt
from streamgen.models.base import Model

__all__ = ["fidelity_db"]

_SIDE = 256


@torch.inference_mode()
def fidelity_db(model: Model, backend: Backend, least_db: float) -> float:
    """The worst PSNR, dB, of all styles' pictures of a test card at 256x256, one step from pure noise.

    It stops at the first style below ``least_db``: a server that starts has no time for the others then.
    """
    x_t, t, *_ = example_inputs(model, 1, _SIDE, _SIDE)
    x_t = torch.randn(x_t.shape, generator=torch.Generator().manual_seed(0)).to(x_t)
    frame = _test_card().to(x_t)
    call = backend.compile(model.network, example_inputs(model, 1, _SIDE, _SIDE))
    worst = math.inf
    for prompt in model.styles or ("",):
        inputs = (x_t, t, *_conditioning(model, prompt, frame))
        wanted = model.network(*inputs)
        span = float(wanted.max() - wanted.min())
        worst = min(worst, psnr_db(call(*inputs), wanted, span))
        if worst < least_db:
            break
    return worst


def _conditioning(model: Model, prompt: str, frame: Tensor) -> list[Tensor]:
    alone = empty_prompt(model) | model.encode_prompt(prompt, model.loras)
    cond = {name: tensor[None] for name, tensor in alone.items()}
    cond |= model.source_conditioning(frame, model.encode_image(frame))
    return [cond[name] for name in model.conditioning_names]


def _test_card() -> Tensor:
    """Slopes, edges, fine stripes and flat fields: [1, 3, 256, 256] in [-1, 1]."""
    rows, columns = (axis / (_SIDE - 1) for axis in torch.meshgrid(*[torch.arange(float(_SIDE))] * 2, indexing="ij"))
    card = torch.stack([columns, rows, 1 - columns])
    disc = (rows - 0.4).square() + (columns - 0.5).square() < 0.06
    card = torch.where(disc, torch.tensor([0.85, 0.65, 0.5])[:, None, None], card)
    stripes = ((columns * 64).floor() % 2) * (rows > 0.75)
    return (card * (1 - 0.6 * stripes) * 2 - 1)[None]
