"""How good a style's pictures are, against its teacher's, by features that no loss has seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from streamgen.models.tiny_unet import TinyUNet
from streamgen.training.core.sampling import render
from streamgen.training.features import JudgeFeatures
from streamgen.training.losses import Taps, grams, stroke_difference, texture_distance

__all__ = [
    "STRENGTHS",
    "Judge",
    "Looked",
    "Renderings",
    "Score",
    "look",
    "look_at_each",
    "mean",
    "render_all",
    "score",
    "style_score",
]

STRENGTHS = (0.25, 0.5, 0.75, 1.0)
_MANY_STEPS = 4
_OTHER_SEED = 1

Judge = Callable[[Tensor], Taps]
"""Pictures [B, 3, H, W] in [-1, 1] to features [B, C, h, w] by tap; ``JudgeFeatures``."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What the judge keeps of one picture.

    Args:
        grams: [1, C, C] by tap: texture and colour, wherever they are.
        structure: [1, C, h, w], the deepest features without their mean and contrast: what is where.
        directions: [1, C, h, w] by tap, of length 1 at every place.
    """

    grams: Taps
    structure: Tensor
    directions: Taps


@dataclass(frozen=True, slots=True)
class Renderings:
    """What the network makes of sources in one style, [N, 3, H, W] each.

    Args:
        by_strength: for each of `STRENGTHS`, one step; the last is the style in full.
        four_steps: in full.
        other_seed: one step, in full.
    """

    by_strength: tuple[Tensor, ...]
    four_steps: Tensor
    other_seed: Tensor

    @property
    def one_step(self) -> Tensor:
        return self.by_strength[-1]


@dataclass(frozen=True, slots=True)
class Score:
    """How one style does on held-out photos; means over photos. None where the style has no teacher at hand.

    Args:
        style_1: distance of Gram matrices to the teacher's pictures after one step, as a share of the plain photo's
            distance: 0 is the teacher itself, 1 is a photo without any style.
        style_4: the same after four steps.
        structure_1: distance of the deepest features, without their mean and contrast, to the photo's, after one step:
            0 is the photo, about 2 is any other photo.
        structure_4: the same after four steps.
        structure_teacher: the same for the teacher's pictures.
        distance_1: distance of the features to those of the teacher's picture of the same photo, place by place, as a
            share of the photo's distance, after one step.
        distance_4: the same after four steps.
        change: mean absolute difference to the photo, 0 to 1, at each of `STRENGTHS`, one step.
        seeds: mean absolute difference, 0 to 1, of the strokes between two seeds.
    """

    style_1: float | None
    style_4: float | None
    structure_1: float
    structure_4: float
    structure_teacher: float | None
    distance_1: float | None
    distance_4: float | None
    change: tuple[float, ...]
    seeds: float

    @property
    def monotonic(self) -> bool:
        """Whether more strength is more change."""
        return all(a < b for a, b in pairwise(self.change))


def render_all(network: TinyUNet, row: int, source: Tensor) -> Renderings:
    """Everything that a style is scored by, of sources [N, 3, H, W]."""
    return Renderings(
        by_strength=tuple(render(network, row, source, strength=strength) for strength in STRENGTHS),
        four_steps=render(network, row, source, steps=_MANY_STEPS),
        other_seed=render(network, row, source, seed=_OTHER_SEED),
    )


@torch.no_grad()
def look(judge: Judge, picture: Tensor) -> Looked:
    """Look at one picture [1, 3, H, W]."""
    taps = judge(picture.clamp(-1, 1))
    return Looked(
        grams=grams(taps),
        structure=F.instance_norm(taps[JudgeFeatures.content_tap]),
        directions={tap: F.normalize(features, dim=1) for tap, features in taps.items()},
    )


def look_at_each(judge: Judge, pictures: Tensor) -> list[Looked]:
    """Look at each of [N, 3, H, W]."""
    return [look(judge, picture[None]) for picture in pictures]


def style_score(made: Sequence[Taps], taught: Sequence[Taps], plain: Sequence[Taps]) -> float:
    """Gram distance of pictures to the teacher's, as a share of the plain photos' distance."""
    wanted = _stacked(taught)
    return float(texture_distance(_stacked(made), wanted).mean() / texture_distance(_stacked(plain), wanted).mean())


def score(made: Renderings, source: Tensor, teacher: Tensor | None, judge: Judge, plain: Sequence[Looked]) -> Score:
    """Score renderings of sources [N, 3, H, W].

    Args:
        made: the renderings.
        source: in [-1, 1].
        teacher: [N, 3, H, W], the teacher's pictures; None when there are none.
        judge: looks at pictures.
        plain: what it saw of each source.
    """
    # One picture at a time: the features of all would take gigabytes.
    rows = [
        _marks(judge, made, index, None if teacher is None else look(judge, teacher[index : index + 1]), plain[index])
        for index in range(len(source))
    ]
    ones, fours = [row.one for row in rows], [row.four for row in rows]
    taught = [row.taught for row in rows if row.taught is not None]
    photos = [one.grams for one in plain]
    whole = mean([mark.distance_photo for mark in taught]) if taught else 1.0
    return Score(
        style_1=style_score([mark.grams for mark in ones], [m.grams for m in taught], photos) if taught else None,
        style_4=style_score([mark.grams for mark in fours], [m.grams for m in taught], photos) if taught else None,
        structure_1=mean([mark.structure for mark in ones]),
        structure_4=mean([mark.structure for mark in fours]),
        structure_teacher=mean([mark.structure for mark in taught]) if taught else None,
        distance_1=mean([mark.distance for mark in ones]) / whole if taught else None,
        distance_4=mean([mark.distance for mark in fours]) / whole if taught else None,
        change=tuple(_difference(picture, source) for picture in made.by_strength),
        seeds=float(stroke_difference(made.one_step, made.other_seed).mean() / 2),
    )


def mean(values: Sequence[float]) -> float:
    """Of at least one value."""
    return sum(values) / len(values)


@dataclass(frozen=True, slots=True)
class _Mark:
    """Of one picture: its Gram matrices, its distance in structure to the photo, its and the photo's to the teacher's
    picture."""

    grams: Taps
    structure: float
    distance: float
    distance_photo: float


@dataclass(frozen=True, slots=True)
class _Marks:
    one: _Mark
    four: _Mark
    taught: _Mark | None


def _marks(judge: Judge, made: Renderings, index: int, taught: Looked | None, plain: Looked) -> _Marks:
    one, four = (look(judge, pictures[index : index + 1]) for pictures in (made.one_step, made.four_steps))
    return _Marks(
        _mark(one, taught, plain), _mark(four, taught, plain), None if taught is None else _mark(taught, taught, plain)
    )


def _mark(seen: Looked, taught: Looked | None, plain: Looked) -> _Mark:
    return _Mark(
        seen.grams,
        float((seen.structure - plain.structure).square().mean()),
        0.0 if taught is None else _feature_distance(seen, taught),
        0.0 if taught is None else _feature_distance(plain, taught),
    )


def _feature_distance(first: Looked, second: Looked) -> float:
    """LPIPS (Zhang et al. 2018) without its learned weights: squared difference of the directions, over taps."""
    terms = [
        (first.directions[tap] - other).square().sum(1).mean() for tap, other in second.directions.items()
    ]  # each 0 to 4
    return float(torch.stack(terms).mean())


def _stacked(each: Sequence[Taps]) -> Taps:
    return {tap: torch.cat([one[tap] for one in each]) for tap in each[0]}


def _difference(a: Tensor, b: Tensor) -> float:
    return float((a.clamp(-1, 1) - b).abs().mean() / 2)
