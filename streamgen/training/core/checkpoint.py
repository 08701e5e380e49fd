"""The state of a training run, and its file."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch

from streamgen.errors import ConfigError
from streamgen.models.tiny_unet import TinyUNet

__all__ = ["Run", "load_checkpoint", "new_run", "save_checkpoint"]

_STYLE_PACE = 6.0


@dataclass(slots=True)
class Run:
    """Everything that changes while training.

    Args:
        network: the network that learns, channels last.
        average: the exponential moving average of its weights; what is shown and shipped.
        optimizer: Adam over `network`.
        random: the source of every draw.
        step: steps done.
        trained_s: seconds spent in steps, pauses of the process left out.
        losses: each style's running mean loss.
    """

    network: TinyUNet
    average: TinyUNet
    optimizer: torch.optim.Adam
    random: np.random.Generator
    step: int = 0
    trained_s: float = 0.0
    losses: dict[str, float] = field(default_factory=dict)


def new_run(styles: int, seed: int) -> Run:
    """A run at step 0; the same seed gives the same weights and draws."""
    torch.manual_seed(seed)
    network = TinyUNet(styles).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(network).eval().requires_grad_(False)
    # A style is drawn once in a few steps and its numbers have the farthest to go.
    others = [value for name, value in network.named_parameters() if name != "styles"]
    groups = [{"params": others, "pace": 1.0}, {"params": [network.styles], "pace": _STYLE_PACE}]
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.99))
    return Run(network, average, optimizer, np.random.default_rng(seed))


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
        "losses": run.losses,
    }
    torch.save(state, partial)
    partial.replace(path)


def load_checkpoint(run: Run, path: Path) -> None:
    """Continue from a checkpoint. Raises `ConfigError` when it is missing or of another network or style table."""
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
    run.step, run.trained_s, run.losses = state["step"], state["trained_s"], state["losses"]
