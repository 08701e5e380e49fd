"""Losses per picture: [B] each, float32, so that rows of one batch can be judged differently."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from streamgen.training.features import STRUCTURE_TAPS

__all__ = [
    "Taps",
    "grams",
    "grid_distance",
    "imitation_loss",
    "sameness",
    "stroke_difference",
    "structure_distance",
    "temporal_distance",
    "texture_distance",
]

Taps = dict[str, Tensor]

_CELL = 4


def grams(taps: Taps) -> Taps:
    """Gram matrices [B, C, C] of features [B, C, H, W], divided by H W (Gatys et al. 2016), float32, by tap."""
    # Positions before channels is how channels_last features lie in memory, and how their gradient should.
    flat = {tap: features.permute(0, 2, 3, 1).flatten(1, 2) for tap, features in taps.items()}
    return {tap: _Gram.apply(f).float() / f.shape[1] for tap, f in flat.items()}  # type: ignore[no-untyped-call]


class _Gram(torch.autograd.Function):
    """f^T f of [B, P, C], whose symmetry saves one of the three products that autograd would compute."""

    @staticmethod
    def forward(ctx: Any, f: Tensor) -> Tensor:
        ctx.save_for_backward(f)
        return f.transpose(1, 2) @ f

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        [f], [gradient] = ctx.saved_tensors, gradients
        both: Tensor = f @ (gradient + gradient.transpose(1, 2))
        return both


def texture_distance(found: Taps, wanted: Taps) -> Tensor:
    """Squared distance of Gram matrices [B, C, C] relative to the wanted ones, the mean over taps: [B].

    The norm is the batch's mean: a dark picture's own norm is near zero and would make its loss explode.
    """
    terms = []
    for tap, target in wanted.items():
        norm = target.square().sum((1, 2)).mean() + 1e-6
        terms.append((found[tap] - target).square().sum((1, 2)) / norm)
    return torch.stack(terms).mean(0)


def structure_distance(taps: Taps, wanted: Taps) -> Tensor:
    """Squared distance of shallow and deep features relative to the wanted ones: [B]."""
    terms = [
        _mean((taps[tap].float() - wanted[tap].float()).square()) / (wanted[tap].float().square().mean() + 1e-6)
        for tap in STRUCTURE_TAPS
    ]
    return torch.stack(terms).mean(0)


def imitation_loss(picture: Tensor, goal: Tensor, texture: Tensor, structure: Tensor, crisp: Tensor) -> Tensor:
    """How far pictures [B, 3, H, W] are from the goal in texture [B], structure [B], colour and line. [B].

    `crisp` [B] is 1 where the goal's lines and flat cells follow from the source to the pixel, so that every edge may
    be asked for in its place, and 0 where strokes lie too freely for that.
    """
    low_pass = _mean((F.avg_pool2d(picture, 8) - F.avg_pool2d(goal, 8)).abs())
    lines = _mean((picture - goal).abs())
    edges = sum(_mean((picture.diff(dim=axis) - goal.diff(dim=axis)).abs()) for axis in (2, 3))
    free = 0.35 * texture + 0.3 * structure + 1.5 * low_pass + 0.7 * lines + 2.0 * grid_distance(picture, goal)
    return free + crisp * (1.0 * lines + 0.8 * edges)


def grid_distance(picture: Tensor, reference: Tensor) -> Tensor:
    """How much more the picture follows the pixel-shuffle grid than the reference does: [B].

    A pattern that repeats every four pixels is the cheapest texture the network can make, and a Gram matrix cannot tell
    it from brush strokes. Its mark is that the 16 places of a cell differ on average over a neighbourhood.
    """
    batch, _, height, width = picture.shape
    cells = F.pixel_unshuffle(picture - reference, _CELL).view(batch, 3, _CELL**2, height // _CELL, width // _CELL)
    uneven = (cells - cells.mean(2, keepdim=True)).flatten(1, 2)
    return _mean(F.avg_pool2d(uneven, 8).abs())


def temporal_distance(first: Tensor, second: Tensor, shifts: Sequence[tuple[int, int]]) -> Tensor:
    """Mean difference of renderings [B, 3, H, W] whose second sources were rolled by (rows, columns), without the
    borders: [B]."""
    back = [
        torch.roll(image, (-rows, -columns), dims=(1, 2)) for image, (rows, columns) in zip(second, shifts, strict=True)
    ]
    return _mean((first - torch.stack(back))[:, :, 8:-8, 8:-8].abs())


def sameness(first: Tensor, second: Tensor, wanted: float) -> Tensor:
    """How much less than ``wanted`` the strokes of two renderings [B, 3, H, W] of one source differ: [B].

    Strokes are what is finer than eight pixels; light and large shapes are not to vary.
    """
    return (wanted - stroke_difference(first, second)).clamp_min(0)


def stroke_difference(first: Tensor, second: Tensor) -> Tensor:
    """Mean absolute difference of the strokes of two renderings [B, 3, H, W]: [B]."""
    differ = first - second
    strokes = differ - F.interpolate(F.avg_pool2d(differ, 8), scale_factor=8.0, mode="nearest")
    return _mean(strokes.abs())


def _mean(x: Tensor) -> Tensor:
    return x.flatten(1).mean(1)
