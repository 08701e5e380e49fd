"""What changes while a network learns, and one step of its descent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from streamgen.training.average import follow

__all__ = ["Run", "descend", "running_mean"]

Network = TypeVar("Network", bound=nn.Module)


@dataclass(slots=True)
class Run(Generic[Network]):
    """Everything that changes while training; a course adds its losses.

    Args:
        network: the network that learns.
        average: the exponential moving average of its weights; what is shown and shipped.
        optimizer: over `network`. A group of parameters may have a "pace", which multiplies its learning rate.
        random: the source of every draw.
        step: steps done.
        trained_s: seconds spent in steps, pauses of the process left out.
    """

    network: Network
    average: Network
    optimizer: torch.optim.Optimizer
    random: np.random.Generator
    step: int = 0
    trained_s: float = 0.0


def descend(run: Run[Network], loss: Tensor, rate: float, *, largest_norm: float, keep: float) -> None:
    """Take one step down the gradient of a loss, of this norm at most, and let the average follow, in place."""
    for group in run.optimizer.param_groups:
        group["lr"] = rate * group.get("pace", 1.0)
    run.optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(run.network.parameters(), largest_norm)
    run.optimizer.step()
    follow(run.average, run.network, run.step, keep)
    run.step += 1


def running_mean(before: float | None, value: float, memory: float) -> float:
    """The mean so far, if there is one, with one more value."""
    return value if before is None else memory * before + (1 - memory) * value
