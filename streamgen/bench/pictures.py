"""Moving pictures made by code: soft gradients, edges and grain, so that codecs work as hard as on a camera's."""

from __future__ import annotations

import numpy as np

from streamgen.frames import Pixels

__all__ = ["moving_pictures"]


def moving_pictures(width: int, height: int, count: int = 24) -> list[Pixels]:
    """``count`` different frames, uint8 [height, width, 3]; the same on every machine."""
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    grain = np.random.default_rng(0).normal(0, 4, (height, width, 3))
    return [_picture(x, y, grain, index / count) for index in range(count)]


def _picture(x: np.ndarray, y: np.ndarray, grain: np.ndarray, phase: float) -> Pixels:
    """One frame at ``phase`` in [0, 1) of a loop."""
    turn = 2 * np.pi * phase
    sky = np.stack(
        [120 + 100 * np.sin(3 * x + turn), 110 + 90 * np.cos(4 * y - turn), 140 + 80 * np.sin(5 * x * y)], -1
    )
    inside = (x - 0.5 - 0.2 * np.cos(turn)) ** 2 + (y - 0.5 - 0.2 * np.sin(turn)) ** 2 < 0.03
    stripes = (np.floor(12 * (x + y) + 4 * phase) % 2 == 0) & (y > 0.7)
    sky[inside] = (235, 180, 150)
    sky[stripes] *= 0.5
    pixels: Pixels = (sky + np.roll(grain, int(97 * phase), axis=1)).clip(0, 255).astype(np.uint8)
    return pixels
