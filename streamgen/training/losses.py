"""Losses per picture: [B] each, float32, so that rows of one batch can be judged differently."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from streamgen.training.features import STRUCTURE_TAPS

__all__ = [
    "Taps",
    "grams",
    "grid_distance",
    "imitation_loss",
    "structure_distance",
    "temporal_distance",
    "texture_distance",
]

Taps = dict[str, Tensor]

_CELL = 4


def grams(taps: Taps) -> Taps:
    """Gram matrices [B, C, C] of features [B, C, H, W], divided by H W (Gatys et al. 2016), float32, by tap."""
    flat = {tap: features.flatten(2) for tap, features in taps.items()}
    return {tap: (f @ f.transpose(1, 2)).float() / f.shape[2] for tap, f in flat.items()}


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
    return free + crisp * (0.5 * lines + 0.3 * edges)


def grid_distance(picture: Tensor, reference: Tensor) -> Tensor:
    """How much more the picture follows the pixel-shuffle grid than the reference does: [B].

    A pattern that repeats every four pixels is the cheapest texture the network can make, and a Gram matrix cannot tell
    it from brush strokes. Its mark is that the 16 places of a cell differ on average over a neighbourhood.
    """
    batch, _, height, width = picture.shape
    cells = F.pixel_unshuffle(picture - reference, _CELL).view(batch, 3, _CELL**2, height // _CELL, width // _CELL)
    uneven = (cells - cells.mean(2, keepdim=True)).flatten(1, 2)
    return _mean(F.avg_pool2d(uneven, 8).abs())


def temporal_distance(first: Tensor, second: Tensor, shift: tuple[int, int]) -> Tensor:
    """Mean difference of renderings whose second source was rolled by (rows, columns), without the borders: [B]."""
    aligned = torch.roll(second, (-shift[0], -shift[1]), dims=(2, 3))
    return _mean((first - aligned)[:, :, 8:-8, 8:-8].abs())


def _mean(x: Tensor) -> Tensor:
    return x.flatten(1).mean(1)
