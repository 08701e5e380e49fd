"""The state of a training run, its file, and one step."""

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
import torch.nn.functional as F
from torch import Tensor

from streamgen.errors import ConfigError
from streamgen.models.matte import MatteNet
from streamgen.training.average import follow
from streamgen.training.matte.bank import Bank
from streamgen.training.matte.examples import draw_batch

__all__ = ["Plan", "Run", "load_checkpoint", "matte_loss", "new_run", "save_checkpoint", "train_step"]

_BATCH = 8
_PEAK_RATE = 2e-3
_LAST_RATE = 2e-5
_WARM_UP_STEPS = 100
_COOL_DOWN_FROM = 0.3
_GRADIENT_NORM = 1.0
_LONGEST_STEP_S = 10.0
_AVERAGE = 0.998
_MEMORY = 0.98
_OVERLAP_WEIGHT = 0.5
_EDGE_WEIGHT = 2.0


@dataclass(slots=True)
class Run:
    """Everything that changes while training.

    Args:
        network: the network that learns, channels last.
        average: the exponential moving average of its weights; what is judged and shipped.
        optimizer: AdamW over `network`.
        random: the source of every draw.
        step: steps done.
        trained_s: seconds spent in steps, pauses of the process left out.
        loss: the running mean.
    """

    network: MatteNet
    average: MatteNet
    optimizer: torch.optim.AdamW
    random: np.random.Generator
    step: int = 0
    trained_s: float = 0.0
    loss: float = math.nan


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
    network = MatteNet().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(network).eval().requires_grad_(False)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.01)
    return Run(network, average, optimizer, np.random.default_rng(seed))


def train_step(run: Run, bank: Bank, plan: Plan) -> None:
    """Draw one batch, take one optimiser step and update the averaged weights in place."""
    began_s = time.monotonic()
    pictures, mattes = draw_batch(bank, run.random, _BATCH)
    for group in run.optimizer.param_groups:
        group["lr"] = plan.rate(run)
    loss = matte_loss(run.network.logits(pictures.contiguous(memory_format=torch.channels_last)), mattes)
    run.optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(run.network.parameters(), _GRADIENT_NORM)
    run.optimizer.step()
    run.step += 1
    _average(run)
    value = float(loss.detach())
    run.loss = value if math.isnan(run.loss) else _MEMORY * run.loss + (1 - _MEMORY) * value
    # A process that was stopped and continued must not believe that it trained meanwhile.
    run.trained_s += min(time.monotonic() - began_s, _LONGEST_STEP_S)


def matte_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """Cross-entropy, overlap and edges of logits [B, 1, H, W] against a soft matte [B, 1, H, W] in [0, 1]."""
    found = torch.sigmoid(logits)
    entropy = F.binary_cross_entropy_with_logits(logits, wanted)
    shared = (found * wanted).sum((1, 2, 3))
    either = (found + wanted).sum((1, 2, 3)) - shared
    overlap = 1 - (shared + 1) / (either + 1)
    edges = sum((torch.diff(found, dim=axis) - torch.diff(wanted, dim=axis)).abs().mean() for axis in (2, 3))
    return entropy + _OVERLAP_WEIGHT * overlap.mean() + _EDGE_WEIGHT * edges


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


def _average(run: Run) -> None:
    follow(run.average, run.network, run.step, _AVERAGE)
    for mean, value in zip(run.average.buffers(), run.network.buffers(), strict=True):
        if mean.is_floating_point():  # statistics of the normalisations; the rest counts batches
            mean.lerp_(value, 1 - _AVERAGE)
