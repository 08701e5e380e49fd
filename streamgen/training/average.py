"""The exponential moving average of a network's weights: what is shown and shipped."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["follow"]

_KEEP = 0.997


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, step: int, keep: float = _KEEP) -> None:
    """Move ``average`` a little towards ``network``, in place; faster in the first steps (from 0 on)."""
    keep = min(keep, (step + 1) / (step + 10))
    for mean, value in zip(average.parameters(), network.parameters(), strict=True):
        mean.lerp_(value, 1 - keep)
