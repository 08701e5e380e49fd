"""A picture that evolves by itself, for models that paint over a picture when nobody sends one."""

from __future__ import annotations

import numpy as np

from streamgen.frames import Pixels

__all__ = ["evolving_picture"]

_WAVES = 7
_SMALL = 64
_BANDS = 5.0


def evolving_picture(width: int, height: int, seed: int, now_s: float) -> Pixels:
    """Slowly drifting fields of colour with contours between them, uint8 [height, width, 3].

    A function of its arguments alone: smooth in ``now_s``, different for every ``seed``.
    """
    chance = np.random.default_rng(seed)
    y, x = np.meshgrid(np.linspace(0, 1, _SMALL), np.linspace(0, 1, _SMALL), indexing="ij")
    angles, waves, drift = (chance.uniform(low, high, _WAVES) for low, high in ((0, 2 * np.pi), (2, 9), (0.05, 0.35)))
    phases = chance.uniform(0, 2 * np.pi, _WAVES)
    turned = np.cos(angles)[:, None, None] * x + np.sin(angles)[:, None, None] * y
    field = np.sin(waves[:, None, None] * turned + phases[:, None, None] + drift[:, None, None] * now_s)
    # One field bends the next, which turns straight waves into flowing shapes.
    shape = np.sin(field.sum(0) + 1.5 * np.sin(2 * np.pi * (x - y) + field[0]) + 0.1 * now_s)
    tints = chance.uniform(0, 2 * np.pi, 3)
    stepped = np.floor(shape * _BANDS) / _BANDS * 0.7 + shape * 0.3
    colours = 0.5 + 0.45 * np.cos(2.2 * stepped[..., None] + tints + 0.07 * now_s)
    return _enlarged((colours * 255).astype(np.float32), width, height)


def _enlarged(small: np.ndarray, width: int, height: int) -> Pixels:
    """Bilinear interpolation of [h, w, 3] to uint8 [height, width, 3]."""
    rows, columns = (np.linspace(0, side - 1.001, size) for side, size in ((len(small), height), (len(small), width)))
    top, left = rows.astype(int), columns.astype(int)
    down, right = (rows - top)[:, None, None].astype(np.float32), (columns - left)[None, :, None].astype(np.float32)
    above = small[top] * (1 - down) + small[top + 1] * down
    made: Pixels = (above[:, left] * (1 - right) + above[:, left + 1] * right).clip(0, 255).astype(np.uint8)
    return made
