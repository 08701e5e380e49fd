"""Training examples: which picture, which style, which noise level, and what the answer should be."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from streamgen.training.core.recipe import STYLES
from streamgen.training.core.teachers import Teachers
from streamgen.training.data import Photos, to_tensor

__all__ = ["T_MAX", "Examples", "compose", "draw_examples"]

T_MAX = math.pi / 2

_PURE_NOISE_SHARE = 0.55
_SENSOR_NOISE = 0.06
_MAX_SHIFT = 2
_SHARES = np.array([style.share for style in STYLES])
_CHANCES = _SHARES / _SHARES.sum()


@dataclass(frozen=True, slots=True)
class Examples:
    """A batch whose last `twins` rows repeat the first ones as the next frame of a video: moved, with new sensor noise.

    Args:
        source: [B, 3, H, W] in [-1, 1], what the network sees.
        clean: [B, 3, H, W], the source without sensor noise.
        target: [B, 3, H, W], the teachers' pictures.
        style: [B] int64 index into `STYLES`.
        t: [B] noise levels in (0, pi/2].
        progress: [B], how far the picture under the noise already is on its way from source (0) to target (1).
        noise: [B, 3, H, W], standard normal.
        twins: how many rows at the end are twins; their noise, style and t are those of the first rows.
        shift: (rows, columns) by which the twins are rolled.
    """

    source: Tensor
    clean: Tensor
    target: Tensor
    style: Tensor
    t: Tensor
    progress: Tensor
    noise: Tensor
    twins: int
    shift: tuple[int, int]


def draw_examples(photos: Photos, teachers: Teachers, random: np.random.Generator, size: int, twins: int) -> Examples:
    """Draw `size` photos and styles, ask the teachers, and add `twins` twins."""
    pictures = [photos.draw(random) for _ in range(size)]
    indices = random.choice(len(STYLES), size, replace=size > len(STYLES), p=_CHANCES)
    clean = to_tensor(pictures)
    target = torch.stack([teachers.picture(photo, STYLES[i]) for photo, i in zip(pictures, indices, strict=True)])
    shift = (0, 0) if random.random() < 0.5 else _draw_shift(random)
    generator = torch.Generator().manual_seed(int(random.integers(2**62)))
    rows = torch.cat([torch.arange(size), torch.arange(twins)])
    t, progress = _draw_levels(random, size)
    clean, target = (_with_twins(x, twins, shift) for x in (clean, target))
    return Examples(
        source=_with_sensor_noise(clean, random, generator),
        clean=clean,
        target=target,
        style=torch.from_numpy(indices)[rows],
        t=t[rows],
        progress=progress[rows],
        noise=torch.randn(clean[:size].shape, generator=generator)[rows],
        twins=twins,
        shift=shift,
    )


def compose(examples: Examples) -> tuple[Tensor, Tensor]:
    """The questions x_t and the answers x_0, [B, 3, H, W] each.

    A picture that is `progress` m on its way from source to target, noised to level t, should come out
    m + (1 - m) sin(t)^2 on its way: all of it from pure noise, none at t = 0, so that strength is monotone and further
    steps finish what the first began.
    """
    e = examples
    t, m = (x[:, None, None, None] for x in (e.t, e.progress))
    picture = torch.lerp(e.clean, e.target, m)
    x_t = torch.where(t >= T_MAX, e.noise, torch.cos(t) * picture + torch.sin(t) * e.noise)
    return x_t, torch.lerp(e.clean, e.target, m + (1 - m) * torch.sin(t) ** 2)


def _draw_levels(random: np.random.Generator, size: int) -> tuple[Tensor, Tensor]:
    t = random.uniform(0.02, 1.0, size) * T_MAX
    t[random.random(size) < _PURE_NOISE_SHARE] = T_MAX
    progress = random.choice([0.0, 1.0, math.nan], size, p=[0.4, 0.4, 0.2])
    progress = np.where(np.isnan(progress), random.uniform(0, 1, size), progress)
    return torch.from_numpy(t).float(), torch.from_numpy(progress).float()


def _draw_shift(random: np.random.Generator) -> tuple[int, int]:
    rows, columns = (int(v) for v in random.integers(-_MAX_SHIFT, _MAX_SHIFT + 1, 2))
    return rows, columns


def _with_twins(images: Tensor, twins: int, shift: tuple[int, int]) -> Tensor:
    return torch.cat([images, torch.roll(images[:twins], shift, dims=(2, 3))])


def _with_sensor_noise(clean: Tensor, random: np.random.Generator, generator: torch.Generator) -> Tensor:
    sigma = torch.from_numpy(random.uniform(0, _SENSOR_NOISE, len(clean))).float()[:, None, None, None]
    return clean + sigma * torch.randn(clean.shape, generator=generator)
