"""What the core shows: sampling as the engine does it, on whole batches of sources."""

from __future__ import annotations

import torch
from torch import Tensor

from streamgen.config import ModelSpec
from streamgen.engine.sampler import add_noise
from streamgen.engine.state import session_noise
from streamgen.models.schedules import TrigFlowSchedule
from streamgen.models.tiny import evenly_spaced
from streamgen.models.tiny_unet import TinyUNet

__all__ = ["MOST_STEPS", "render"]

MOST_STEPS = ModelSpec().max_steps
"""Noise is drawn for so many, as a session draws it, however many are taken."""


@torch.no_grad()
def render(network: TinyUNet, row: int, source: Tensor, steps: int = 1, strength: float = 1.0, seed: int = 0) -> Tensor:
    """Multistep consistency sampling (Song et al. 2023, algorithm 1): what a session with this seed shows.

    The noise of each step is the same for every picture, as it is for every frame of a session.

    Args:
        network: the core.
        row: of its table of styles.
        source: [B, 3, H, W] in [-1, 1].
        steps: 1 to ``MOST_STEPS``.
        strength: 0 (the source) to 1.
        seed: of the noise.

    Returns:
        [B, 3, H, W], about [-1, 1].
    """
    schedule, batch = TrigFlowSchedule(evenly_spaced), len(source)
    style, strengths = network.styles[row].expand(batch, -1), torch.full((batch, 1), strength)
    height, width = source.shape[2:]
    noises = session_noise(seed, MOST_STEPS, (3, height, width), "cpu")
    picture = source
    for level, noise in zip(schedule.timesteps(steps, strength), noises, strict=False):
        t = torch.full((batch,), level)
        x_t = add_noise(schedule, picture, noise.expand_as(picture), t)
        picture = network(x_t, t, strengths, style, source)
    return picture
