"""Transparency: what a chroma key takes away, and what colour lies under transparent pixels.

Both are pure functions of tensors on any device, without a Python value of a tensor being read.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["NO_KEY", "KeyNumbers", "bleed", "chroma_key", "key_numbers"]

KeyNumbers = tuple[float, float, float, float, float]
"""Cb and Cr; the distance up to which a pixel is transparent, and the further distance to where it is opaque; and the
one from which all are equally far."""

NO_KEY: KeyNumbers = (0.0, 0.0, -1.0, 1.0, 1.0)
"""Of a row that keys nothing: every distance is past its end."""

_CB = (-0.114572, -0.385428, 0.5)
_CR = (0.5, -0.454153, -0.045847)
"""Of R, G and B (ITU-R BT.709, full range)."""
_LEAST_CHROMA = 20.0
"""Of 255. A key colour nearer to grey than this keys what is about as grey as it."""
_HARDEST_EDGE = 1.0
"""Of 255: no division by zero where a hard edge is asked for."""
_SPILL = 2
"""Pixels beside an edge whose colour is not trusted: that is how far a codec with half the chroma carries the key's."""
_COARSER = 1 / 16
"""Weight of each coarser scale against the next finer one: where anything solid is near, nothing far counts."""
_THIN = 1 / 32768
"""Weight of colours beside an edge, which hold some of the key's. It only tells where nothing solid is within some 16
pixels, as in a strand of hair."""


def key_numbers(colour: str, similarity: float, smoothness: float) -> KeyNumbers:
    """One row of ``chroma_key``'s argument ``keys``.

    Args:
        colour: ``#rrggbb``.
        similarity: in [0, 1], up to which distance a pixel is transparent, as a share of the distance between the
            colour and grey. Relative, so that a dull green screen needs no other settings than a bright one.
        smoothness: in [0, 1], the share over which it becomes opaque.
    """
    rgb = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    cb, cr = (sum(part * value for part, value in zip(weights, rgb, strict=True)) for weights in (_CB, _CR))
    to_grey = max((cb * cb + cr * cr) ** 0.5, _LEAST_CHROMA)
    near, further = similarity * to_grey, max(smoothness * to_grey, _HARDEST_EDGE)
    # Twice as far as where a pixel is half transparent, so that a blurred edge stays where it was.
    return cb, cr, near, further, 2 * near + further


def chroma_key(pixels: Tensor, keys: Tensor) -> Tensor:
    """Alpha from the distance of each pixel's chroma to the key's. Brightness does not count.

    Distances are blurred a little first: the chroma of most sources has half the resolution of their luma, which would
    make stairs of every edge.

    Args:
        pixels: uint8 [B, H, W, 3], the source.
        keys: float32 [B, 5] of ``KeyNumbers``, on the same device.

    Returns:
        float32 [B, 1, H, W] in [0, 1].
    """
    red, green, blue = _planes(pixels).unbind(1)
    cb, cr, near, further, farthest = keys.view(-1, 5, 1, 1).unbind(1)
    from_cb = (blue * _CB[2]).add_(red, alpha=_CB[0]).add_(green, alpha=_CB[1]).sub_(cb)
    from_cr = red.mul_(_CR[0]).add_(green, alpha=_CR[1]).add_(blue, alpha=_CR[2]).sub_(cr)
    distance = torch.minimum(from_cb.square_().addcmul_(from_cr, from_cr).sqrt_(), farthest)
    return _blurred(distance).sub_(near).div_(further).clamp_(0, 1)[:, None]


def bleed(pictures: Tensor, alpha: Tensor) -> Tensor:
    """Spread the colours of solid pixels over those that are transparent or near an edge, and far beyond.

    What is left of the key's colour at the edge is painted over, and neither a codec's ringing nor its subsampled
    chroma can drag the colour of the background into what is seen. A pyramid as in pull-push interpolation (Gortler et
    al. 1996, "The Lumigraph", section 3.4.3); deviation: all scales are summed with falling weights and divided once.

    Args:
        pictures: uint8 [B, H, W, 3], both sides even.
        alpha: float32 [B, 1, H, W] in [0, 1].

    Returns:
        uint8 [B, H, W, 3]; solid pixels, away from edges, are as they were.
    """
    colours = _planes(pictures)
    solid = alpha
    for _ in range(_SPILL):
        solid = _eroded(solid)
    solid.mul_(solid)
    # From half the size on, a quarter of the work. A block is worth what its least solid pixel is, and is not mixed.
    rows = torch.minimum(solid[..., ::2, :], solid[..., 1::2, :])
    weights = torch.minimum(rows[..., ::2], rows[..., 1::2]).add_(_halved(alpha), alpha=_THIN)
    summed = _all_scales(torch.cat([_halved(colours).mul_(weights), weights], dim=1))
    spread = summed[:, :3].div_(summed[:, 3:].clamp_min_(1e-30))
    filled = F.interpolate(spread, scale_factor=2, mode="nearest")
    return filled.lerp_(colours, solid).round_().to(torch.uint8).permute(0, 2, 3, 1)


def _planes(pixels: Tensor) -> Tensor:
    """uint8 [B, H, W, C] to float32 [B, C, H, W], one plane after the other, which is what is fast here."""
    return pixels.permute(0, 3, 1, 2).contiguous().float()


def _blurred(plane: Tensor) -> Tensor:
    """(1, 2, 1) / 4 both ways; borders are blurred along themselves."""
    for axis in (-2, -1):
        inside = plane.size(axis) - 2
        before, at, after = (plane.narrow(axis, start, inside) for start in range(3))
        blurred = plane.clone()
        blurred.narrow(axis, 1, inside).copy_((before + after).add_(at, alpha=2).mul_(0.25))
        plane = blurred
    return plane


def _eroded(plane: Tensor) -> Tensor:
    """The least of every pixel and its eight neighbours. Six times as fast as max_pool2d on a CPU."""
    for axis in (-2, -1):
        shorter = plane.size(axis) - 1
        first, second = plane.narrow(axis, 0, shorter), plane.narrow(axis, 1, shorter)
        least = plane.clone()
        after, before = least.narrow(axis, 1, shorter), least.narrow(axis, 0, shorter)
        torch.minimum(after, first, out=after)
        torch.minimum(before, second, out=before)
        plane = least
    return plane


def _halved(planes: Tensor) -> Tensor:
    """Means of blocks of four."""
    if planes.size(2) % 2 or planes.size(3) % 2:  # small by then: pooling is slow
        return F.avg_pool2d(planes, 2, ceil_mode=True, count_include_pad=False)
    rows = planes[..., ::2, :] + planes[..., 1::2, :]
    return (rows[..., ::2] + rows[..., 1::2]).mul_(0.25)


def _all_scales(weighted: Tensor) -> Tensor:
    """Sums over all scales down to one pixel of [B, 4, h, w]: colours times their weights, and weights."""
    height, width = weighted.shape[-2:]
    if height == width == 1:
        return weighted
    coarser = _all_scales(_halved(weighted))
    return F.interpolate(coarser, size=(height, width), mode="bilinear").mul_(_COARSER).add_(weighted)
