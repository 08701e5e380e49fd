"""What becomes of a raw person matte: steadied over time, carried to the size of the picture, and used.

Pure functions of tensors on any device, without a Python value of a tensor being read.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["enlarged", "mixed", "steadied"]

_HOLD = 0.75
"""Share of the last matte that stays where nothing moves."""
_STILL = 0.05
"""Change of the blurred picture, of a range of 2, at which half of the hold is let go. Camera noise is far below."""
_CUT = 0.25
"""Mean change of the whole picture at which half of the hold is let go everywhere: that is another scene."""


def steadied(mattes: Tensor, pictures: Tensor, last: tuple[Tensor, Tensor]) -> Tensor:
    """An exponential moving average that lets go where the picture changes, so that nothing lags behind what moves.

    Args:
        mattes: [B, 1, h, w] in [0, 1].
        pictures: [B, 3, h, w] in [-1, 1], what they were made from.
        last: pictures and steadied mattes of the frames before, shaped likewise.

    Returns:
        [B, 1, h, w] in [0, 1].
    """
    last_pictures, last_mattes = last
    change = _blurred((pictures - last_pictures).mean(1, keepdim=True)).abs_()
    whole = change.mean((1, 2, 3), keepdim=True).div_(_CUT)
    gate = torch.exp2(change.div_(_STILL).square_().add_(whole.square_()).neg_()).mul_(_HOLD)
    return torch.lerp(mattes, last_mattes, gate)


def enlarged(mattes: Tensor, height: int, width: int) -> Tensor:
    """Carry small mattes [B, 1, h, w] to the size of the picture: [B, 1, height, width].

    Plainly. Guided filters (He et al. 2013), which draw a matte's edges to those of the picture, were tried: from half
    the size they come less near to the full matte than this does, because they also draw it to folds of clothing.
    """
    return F.interpolate(mattes, size=(height, width), mode="bilinear", align_corners=False)


def mixed(plain: Tensor, styled: Tensor, share: Tensor) -> Tensor:
    """uint8 [B, H, W, 3] each: `styled` where `share`, float32 [B, 1, H, W], is 1, `plain` where it is 0."""
    weights = share.permute(0, 2, 3, 1).expand(styled.shape).contiguous()  # to broadcast an inner axis takes longer
    base = plain.float()
    return styled.float().sub_(base).mul_(weights).add_(base).round_().to(torch.uint8)


def _blurred(planes: Tensor) -> Tensor:
    """Means of squares of 7 pixels, borders repeated: sums of two make sums of four. Many times as fast as pooling on a
    CPU."""
    for axis, border in ((2, (0, 0, 3, 3)), (3, (3, 3, 0, 0))):
        side = planes.size(axis)
        wide = F.pad(planes, border, mode="replicate")
        twos = wide.narrow(axis, 0, side + 5) + wide.narrow(axis, 1, side + 5)
        fours = twos.narrow(axis, 0, side) + twos.narrow(axis, 2, side)
        planes = fours.add_(twos.narrow(axis, 4, side)).add_(wide.narrow(axis, 6, side)).mul_(1 / 7)
    return planes
