"""The training loop: draw pairs, enlarge the small picture, compare, step, average."""

from __future__ import annotations

import copy
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from streamgen.errors import ConfigError
from streamgen.models.upscaler import Upscaler
from streamgen.training.average import follow
from streamgen.training.upscaler.pictures import Gallery

__all__ = ["SIDE", "Plan", "Run", "load_checkpoint", "new_run", "plain", "save_checkpoint", "train_step"]

SIDE = 128
"""Of a crop at its full size, pixels."""
_BATCH = 8
_EXPANSION = 128
_PEAK_RATE = 2e-3
_LAST_RATE = 1e-5
_WARM_UP_STEPS = 50
_COOL_DOWN_FROM = 0.3
_EDGE_WEIGHT = 0.1
_SOFTNESS = 1e-3
_GRADIENT_NORM = 0.5
_LONGEST_STEP_S = 10.0
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
class Run:
    """Everything that changes while training.

    Args:
        network: the network that learns, its filters parametrised as `_Wide`.
        average: the exponential moving average of its weights.
        optimizer: Adam over `network`.
        random: the source of every draw.
        step: steps done.
        trained_s: seconds spent in steps, pauses of the process left out.
        loss: running mean.
    """

    network: Upscaler
    average: Upscaler
    optimizer: torch.optim.Adam
    random: np.random.Generator
    step: int = 0
    trained_s: float = 0.0
    loss: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """When to stop: after `steps` steps or `minutes` of training, whichever comes first."""

    steps: int
    minutes: float

    def done(self, run: Run) -> float:
        """The share of the plan that is behind the run; 1 or more when it is over."""
        return max(run.step / self.steps, run.trained_s / 60 / self.minutes)

    def rate(self, run: Run) -> float:
        """Learning rate: a short ramp, a plateau, then a cosine down to almost nothing."""
        ramp = min(1.0, (run.step + 1) / _WARM_UP_STEPS)
        late = min(1.0, max(0.0, (self.done(run) - _COOL_DOWN_FROM) / (1 - _COOL_DOWN_FROM)))
        return ramp * (_LAST_RATE + (_PEAK_RATE - _LAST_RATE) * (1 + math.cos(math.pi * late)) / 2)


def new_run(seed: int) -> Run:
    """A run at step 0; the same seed gives the same weights and draws."""
    torch.manual_seed(seed)
    network = _widened(Upscaler())
    average = copy.deepcopy(network).eval().requires_grad_(False)
    optimizer = torch.optim.Adam(network.parameters(), betas=(0.9, 0.99))
    return Run(network, average, optimizer, np.random.default_rng(seed))


def train_step(run: Run, gallery: Gallery, plan: Plan) -> float:
    """Draw one batch, take one optimiser step, update the averaged weights in place, and return the loss."""
    began_s = time.monotonic()
    small, large = gallery.draw(run.random, _BATCH)
    loss = enlarging_loss(run.network.enlarge(small), large)
    _descend(run, loss, plan.rate(run))
    run.step += 1
    value = float(loss.detach())
    run.loss = value if run.loss is None else _MEMORY * run.loss + (1 - _MEMORY) * value
    # A process that was stopped and continued must not believe that it trained meanwhile.
    run.trained_s += min(time.monotonic() - began_s, _LONGEST_STEP_S)
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


def save_checkpoint(run: Run, path: Path) -> None:
    """Write the run, atomically. Raises `OSError` when that cannot be done."""
    partial = path.with_suffix(".partial")
    state = {
        "network": run.network.state_dict(),
        "average": run.average.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "random": json.dumps(run.random.bit_generator.state),
        "step": run.step,
        "trained_s": run.trained_s,
        "loss": run.loss,
    }
    torch.save(state, partial)
    partial.replace(path)


def load_checkpoint(run: Run, path: Path) -> None:
    """Continue from a checkpoint. Raises `ConfigError` when it is missing or of another network."""
    if not path.is_file():
        raise ConfigError("checkpoint_missing", f"no checkpoint to resume at {path}", field="resume")
    try:
        state = torch.load(path, weights_only=True)
        run.network.load_state_dict(state["network"])
        run.average.load_state_dict(state["average"])
        run.optimizer.load_state_dict(state["optimizer"])
    except (RuntimeError, KeyError, ValueError, UnpicklingError) as error:
        raise ConfigError("checkpoint_unusable", f"{path} is no checkpoint of this network", field="resume") from error
    run.random.bit_generator.state = json.loads(state["random"])
    run.step, run.trained_s, run.loss = state["step"], state["trained_s"], state["loss"]


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


def _descend(run: Run, loss: Tensor, rate: float) -> None:
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    run.optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(run.network.parameters(), _GRADIENT_NORM)
    run.optimizer.step()
    follow(run.average, run.network, run.step, _AVERAGE)
