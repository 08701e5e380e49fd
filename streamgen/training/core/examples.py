"""Training examples: which picture, which style, which strength and noise level, and what the answer should be."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from streamgen.training.core.recipe import STYLES
from streamgen.training.core.teachers import Teachers
from streamgen.training.data import Photos, Pixels, to_tensor

__all__ = ["T_MAX", "Examples", "draw_examples", "first_level", "goal_of", "question"]

T_MAX = math.pi / 2

_CROPS = ((160, 0.7), (224, 0.3))
_GRID = 16
_BANKED = 128
_FULL_STRENGTH_SHARE = 0.6
_FIRST_STEP_SHARE = 0.5
_OWN_SHARE = 0.9
_FURTHER_LEVELS = (0.08, 0.8)
_SENSOR_NOISE = 0.06
_MAX_SHIFT = 2
_LIGHTING = 0.06

OwnPicture = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
"""(x_t, t, strength, style, source) -> x_0, the averaged network."""


@dataclass(frozen=True, slots=True)
class Examples:
    """A batch of R rows: B first ones, then T `twins` of rows 0 to T - 1, then S `siblings` of rows 0 to S - 1.

    A twin is the next frame of the same video: moved, in other light, with new sensor noise, and the same z. A sibling
    is the same frame with another z.

    Args:
        source: [R, 3, H, W] in [-1, 1], what the network sees.
        clean: [R, 3, H, W], the source without sensor noise.
        target: [R, 3, H, W], the teachers' pictures.
        style: [R] int64 index into `STYLES`.
        strength: [R, 1] in (0, 1].
        first: [R] bool, whether the network is at its first step, from the noised source; else at a further one.
        own: [R] bool, whether a further step refines the network's own picture; else the goal.
        t: [R] noise levels in (0, pi/2].
        noise: [R, 3, H, W], standard normal.
        shifts: (rows, columns) by which each twin is rolled.
        siblings: S.
    """

    source: Tensor
    clean: Tensor
    target: Tensor
    style: Tensor
    strength: Tensor
    first: Tensor
    own: Tensor
    t: Tensor
    noise: Tensor
    shifts: list[tuple[int, int]]
    siblings: int

    @property
    def distinct(self) -> int:
        """B."""
        return len(self.source) - len(self.shifts) - self.siblings


def draw_examples(
    photos: Photos, teachers: Teachers, random: np.random.Generator, size: int, twins: int, siblings: int
) -> Examples:
    """Draw `size` photos and styles, ask the teachers, and add twins and siblings."""
    shares = np.array([style.share * teachers.known(style) for style in STYLES])
    indices = random.choice(len(STYLES), size, replace=bool(size > np.count_nonzero(shares)), p=shares / shares.sum())
    pairs = [_draw_pair(photos, teachers, random, index) for index in indices]
    side = int(random.choice([side for side, _ in _CROPS], p=[share for _, share in _CROPS]))
    clean, target = (
        to_tensor(list(pictures)) for pictures in zip(*(_cropped(p, side, random) for p in pairs), strict=True)
    )
    generator = torch.Generator().manual_seed(int(random.integers(2**62)))
    shifts = [_draw_shift(random, anchored=STYLES[index].anchored) for index in indices[:twins]]
    rows = torch.cat([torch.arange(size), torch.arange(twins), torch.arange(siblings)])
    strength, first, own, t = _draw_levels(random, size)
    noise = torch.randn(clean.shape, generator=generator)
    light = torch.from_numpy(random.uniform(-_LIGHTING, _LIGHTING, twins)).float().view(-1, 1, 1, 1)
    moved = _rolled(clean[:twins], shifts) * (1 + light)
    clean = torch.cat([clean, moved, clean[:siblings]])
    return Examples(
        source=_with_sensor_noise(clean, random, generator),
        clean=clean,
        target=torch.cat([target, _rolled(target[:twins], shifts), target[:siblings]]),
        style=torch.from_numpy(indices)[rows],
        strength=strength[rows, None],
        first=first[rows],
        own=own[rows],
        t=t[rows],
        noise=torch.cat([noise, noise[:twins], torch.randn(noise[:siblings].shape, generator=generator)]),
        shifts=shifts,
        siblings=siblings,
    )


def goal_of(examples: Examples) -> Tensor:
    """The answers x_0 [R, 3, H, W]: sin(strength pi/2)^2 of the way from the source to the teacher's picture."""
    share = torch.sin(examples.strength * T_MAX).square()[:, :, None, None]
    return torch.lerp(examples.clean, examples.target, share)


@torch.no_grad()
def question(examples: Examples, goal: Tensor, own_picture: OwnPicture, styles: Tensor) -> Tensor:
    """The questions x_t [R, 3, H, W]: the noised source at a first step, else a noised picture to be refined.

    A further step meets the network's own picture and not a perfect one, so it has to learn on those to be worth its
    time. (Consistency training on perfect pictures alone left four steps no better than one.)
    """
    e = examples
    picture = torch.where(_rows(e.first), e.clean, goal)
    refined = torch.nonzero(~e.first & e.own).flatten()
    if len(refined):
        level = first_level(e.strength[refined])
        # Turned round it is other noise than that of the step, and still the same for a frame and its twin.
        x_t = _noised(e.source[refined], e.noise[refined].flip(2, 3), level)
        made = own_picture(x_t, level, e.strength[refined], styles[e.style[refined]], e.source[refined])
        picture = picture.index_copy(0, refined, made.float())
    return _noised(picture, e.noise, e.t)


def first_level(strength: Tensor) -> Tensor:
    """The noise level [B] that a run of strengths [B, 1] begins at."""
    return (strength * T_MAX).flatten()


def _noised(picture: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    level = _rows(t)
    return torch.where(level >= T_MAX, noise, torch.cos(level) * picture + torch.sin(level) * noise)


def _draw_pair(photos: Photos, teachers: Teachers, random: np.random.Generator, index: int) -> tuple[Pixels, Pixels]:
    style = STYLES[index]
    if style.teacher == "classical":
        photo = photos.draw(random)
        return photo, teachers.picture(photo, style)
    photo, name = photos.draw_of_few(random, _BANKED)
    return photo, teachers.picture(photo, style, name)


def _cropped(pair: tuple[Pixels, Pixels], side: int, random: np.random.Generator) -> tuple[Pixels, Pixels]:
    """The same window of both, on the grid that screens and tiles keep to."""
    places = (pair[0].shape[0] - side) // _GRID + 1
    top, left = (int(place) * _GRID for place in random.integers(places, size=2))
    first, second = (picture[top : top + side, left : left + side] for picture in pair)
    return first, second


def _draw_levels(random: np.random.Generator, size: int) -> tuple[Tensor, ...]:
    """Strength, first, own and t, [B] each."""
    full = random.random(size) < _FULL_STRENGTH_SHARE
    strength = np.where(full, 1.0, random.uniform(0.05, 1.0, size))
    first = random.random(size) < _FIRST_STEP_SHARE
    own = random.random(size) < _OWN_SHARE
    t = strength * T_MAX * np.where(first, 1.0, random.uniform(*_FURTHER_LEVELS, size))
    return (
        torch.from_numpy(strength).float(),
        torch.from_numpy(first),
        torch.from_numpy(own),
        torch.from_numpy(t).float(),
    )


def _draw_shift(random: np.random.Generator, *, anchored: bool) -> tuple[int, int]:
    if anchored or random.random() < 0.4:
        return 0, 0
    rows, columns = (int(v) for v in random.integers(-_MAX_SHIFT, _MAX_SHIFT + 1, 2))
    return rows, columns


def _rolled(images: Tensor, shifts: list[tuple[int, int]]) -> Tensor:
    return torch.stack([torch.roll(image, shift, dims=(1, 2)) for image, shift in zip(images, shifts, strict=True)])


def _with_sensor_noise(clean: Tensor, random: np.random.Generator, generator: torch.Generator) -> Tensor:
    sigma = _rows(torch.from_numpy(random.uniform(0, _SENSOR_NOISE, len(clean))).float())
    return clean + sigma * torch.randn(clean.shape, generator=generator)


def _rows(values: Tensor) -> Tensor:
    return values[:, None, None, None]
