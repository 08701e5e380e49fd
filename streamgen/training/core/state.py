"""The state of a run of the core's training."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from streamgen.models.tiny_unet import TinyUNet
from streamgen.models.tiny_weights import load_network
from streamgen.training.descent import Run

__all__ = ["CoreRun", "begin_from", "new_run"]

_STYLE_PACE = 6.0


@dataclass(slots=True)
class CoreRun(Run[TinyUNet]):
    """A run, channels last, with each style's running mean loss."""

    losses: dict[str, float] = field(default_factory=dict)


def new_run(styles: int, seed: int) -> CoreRun:
    """A run at step 0; the same seed gives the same weights and draws."""
    torch.manual_seed(seed)
    network = TinyUNet(styles).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(network).eval().requires_grad_(False)
    # A style is drawn once in a few steps and its numbers have the farthest to go.
    others = [value for name, value in network.named_parameters() if name != "styles"]
    groups = [{"params": others, "pace": 1.0}, {"params": [network.styles], "pace": _STYLE_PACE}]
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.99))
    return CoreRun(network, average, optimizer, np.random.default_rng(seed))


def begin_from(run: CoreRun, weights: Path, styles: Sequence[str]) -> None:
    """Put the network of a weights file into a new run: its styles by their names, and their mean for new ones.

    Raises:
        WeightsError: ``weights_missing``, ``weights_corrupt``.
    """
    network, names = load_network(weights)
    rows = dict(zip(names, network.styles, strict=True))
    table = torch.stack([rows.get(style, network.styles.mean(0)) for style in styles])
    state = network.state_dict() | {"styles": table}
    run.network.load_state_dict(state)
    run.average.load_state_dict(state)
