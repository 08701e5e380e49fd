"""The training loop: draw pairs, enlarge the small picture, compare, step, average."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from streamgen.models.upscaler import Upscaler
from streamgen.training.descent import Run, descend, running_mean
from streamgen.training.plan import Plan
from streamgen.training.schedule import ramp_and_cool
from streamgen.training.upscaler.pictures import Gallery

__all__ = ["SIDE", "UpscalerRun", "enlarging_loss", "new_run", "plain", "rate", "train_step"]

SIDE = 128
"""Of a crop at its full size, pixels."""
_BATCH = 8
_EXPANSION = 128
_PEAK_RATE = 2e-3
_WARM_UP_STEPS = 50
_COOL_DOWN_FROM = 0.3
_LAST = 0.005
_EDGE_WEIGHT = 0.1
_SOFTNESS = 1e-3
_GRADIENT_NORM = 0.5
_AVERAGE = 0.999
_MEMORY = 0.99


class _Wide(nn.Module):
    """A 3x3 filter bank plus the product of a wide 3x3 and a 1x1 one: more to learn with, and as cheap to run.

    After "collapsible linear blocks" (Bhardwaj et al. 2022). The product is made of the weights, not of pictures, so it
    costs next to nothing in training either.
    """

    def __init__(self, outputs: int, inputs: int) -> None:
        super().__init__()
        self.wide = nn.Parameter(torch.randn(_EXPANSION, inputs, 3, 3) / math.sqrt(9 * inputs))
        self.narrow = nn.Parameter(torch.randn(outputs, _EXPANSION) * 0.3 / math.sqrt(_EXPANSION))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + torch.einsum("oe,eiuv->oiuv", self.narrow, self.wide)


@dataclass(slots=True)
class UpscalerRun(Run[Upscaler]):
    """A run, its filters parametrised as `_Wide`, with the running mean of its loss."""

    loss: float | None = None


def rate(run: UpscalerRun, plan: Plan) -> float:
    """Learning rate: a short ramp, a plateau, then a cosine down to almost nothing."""
    share = ramp_and_cool(
        run.step, plan.done(run), warm_up_steps=_WARM_UP_STEPS, cool_down_from=_COOL_DOWN_FROM, last=_LAST
    )
    return _PEAK_RATE * share


def new_run(seed: int) -> UpscalerRun:
    """A run at step 0; the same seed gives the same weights and draws."""
    torch.manual_seed(seed)
    network = _widened(Upscaler())
    average = copy.deepcopy(network).eval().requires_grad_(False)
    optimizer = torch.optim.Adam(network.parameters(), betas=(0.9, 0.99))
    return UpscalerRun(network, average, optimizer, np.random.default_rng(seed))


def train_step(run: UpscalerRun, gallery: Gallery, plan: Plan) -> float:
    """Draw one batch, take one optimiser step, update the averaged weights in place, and return the loss."""
    small, large = gallery.draw(run.random, _BATCH)
    loss = enlarging_loss(run.network.enlarge(small), large)
    descend(run, loss, rate(run, plan), largest_norm=_GRADIENT_NORM, keep=_AVERAGE)
    value = float(loss.detach())
    run.loss = running_mean(run.loss, value, _MEMORY)
    return value


def enlarging_loss(made: Tensor, wanted: Tensor) -> Tensor:
    """How far pictures [B, 3, H, W] are from what they should be: a scalar.

    Charbonnier's distance of the pixels, and a little of that of their differences to the next ones, which asks for
    edges where L1 alone is content with slopes.
    """
    edges = sum(_distance(made.diff(dim=axis) - wanted.diff(dim=axis)) for axis in (2, 3))
    return _distance(made - wanted) + _EDGE_WEIGHT * edges


def plain(network: Upscaler) -> Upscaler:
    """The same function with the filters multiplied out, as it is shipped."""
    shipped = Upscaler()
    shipped.load_state_dict({name: _tensor(network, name) for name in shipped.state_dict()})
    return shipped.eval().requires_grad_(False)


def _widened(network: Upscaler) -> Upscaler:
    for layer in (network.first, *network.middle):
        assert isinstance(layer, nn.Conv2d)
        parametrize.register_parametrization(layer, "weight", _Wide(layer.out_channels, layer.in_channels))
    return network


def _tensor(network: nn.Module, name: str) -> Tensor:
    """A weight by its name in the shipped network."""
    owner, _, attribute = name.rpartition(".")
    tensor: Tensor = getattr(network.get_submodule(owner), attribute)
    return tensor.detach()


def _distance(difference: Tensor) -> Tensor:
    return (difference.square() + _SOFTNESS**2).sqrt().mean()
