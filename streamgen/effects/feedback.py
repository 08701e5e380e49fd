"""Motion-gated latent feedback: where the source stands still, the last picture stays."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["hold_still"]

_STILL = 0.15
"""Change of the source, in standard deviations of the source, at which half of the hold is let go. Camera noise is
below it, a moving edge far above."""


def hold_still(latents: Tensor, source: Tensor, last: tuple[Tensor, Tensor], amount: float) -> Tensor:
    """An exponential moving average of the output that lets go where the source moves, so that nothing leaves a trail.

    Args:
        latents: [B, C, h, w], the new output.
        source: [B, C, h, w], what it was made from.
        last: source and output of the frame before, [B, C, h, w] each.
        amount: in [0, 1), the share of the last output that stays where nothing moves.

    Returns:
        [B, C, h, w].
    """
    last_source, last_output = last
    change = (source - last_source).abs().mean(1, keepdim=True)
    change = F.avg_pool2d(change, 3, stride=1, padding=1, count_include_pad=False)
    spread = source.flatten(1).std(1).clamp_min(1e-3).view(-1, 1, 1, 1)
    gate = torch.exp2(-((change / (_STILL * spread)) ** 2))
    return torch.lerp(latents, last_output, gate * amount)
