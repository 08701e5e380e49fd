"""The state of a run of the matte's training, and one step."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from streamgen.models.matte import MatteNet
from streamgen.training.descent import Run, descend, running_mean
from streamgen.training.matte.bank import Bank
from streamgen.training.matte.examples import draw_batch
from streamgen.training.plan import Plan
from streamgen.training.schedule import ramp_and_cool

__all__ = ["MatteRun", "matte_loss", "new_run", "train_step"]

_BATCH = 8
_PEAK_RATE = 2e-3
_COOL_DOWN_FROM = 0.3
_LAST = 0.01
_GRADIENT_NORM = 1.0
_AVERAGE = 0.998
_MEMORY = 0.98
_OVERLAP_WEIGHT = 0.5
_EDGE_WEIGHT = 2.0


@dataclass(slots=True)
class MatteRun(Run[MatteNet]):
    """A run, channels last, with the running mean of its loss."""

    loss: float | None = None


def new_run(seed: int) -> MatteRun:
    """A run at step 0; the same seed gives the same weights and draws."""
    torch.manual_seed(seed)
    network = MatteNet().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(network).eval().requires_grad_(False)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.01)
    return MatteRun(network, average, optimizer, np.random.default_rng(seed))


def train_step(run: MatteRun, bank: Bank, plan: Plan) -> None:
    """Draw one batch, take one optimiser step and update the averaged weights in place."""
    pictures, mattes = draw_batch(bank, run.random, _BATCH)
    loss = matte_loss(run.network.logits(pictures.contiguous(memory_format=torch.channels_last)), mattes)
    rate = _PEAK_RATE * ramp_and_cool(run.step, plan.done(run), cool_down_from=_COOL_DOWN_FROM, last=_LAST)
    descend(run, loss, rate, largest_norm=_GRADIENT_NORM, keep=_AVERAGE)
    _average_statistics(run)
    run.loss = running_mean(run.loss, float(loss.detach()), _MEMORY)


def matte_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """Cross-entropy, overlap and edges of logits [B, 1, H, W] against a soft matte [B, 1, H, W] in [0, 1]."""
    found = torch.sigmoid(logits)
    entropy = F.binary_cross_entropy_with_logits(logits, wanted)
    shared = (found * wanted).sum((1, 2, 3))
    either = (found + wanted).sum((1, 2, 3)) - shared
    overlap = 1 - (shared + 1) / (either + 1)
    edges = sum((torch.diff(found, dim=axis) - torch.diff(wanted, dim=axis)).abs().mean() for axis in (2, 3))
    return entropy + _OVERLAP_WEIGHT * overlap.mean() + _EDGE_WEIGHT * edges


@torch.no_grad()
def _average_statistics(run: MatteRun) -> None:
    """Let those of the normalisations follow too; the rest of the buffers counts batches."""
    for mean, value in zip(run.average.buffers(), run.network.buffers(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(value, 1 - _AVERAGE)
