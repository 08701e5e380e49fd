"""Strokes of the brush that the classical teachers share. Planes are float32 [H, W] in [0, 1]."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Pixels",
    "Plane",
    "blur",
    "ink",
    "luminance",
    "mix",
    "own_levels",
    "shifted",
    "smooth",
    "soft_levels",
    "tiled",
    "to_pixels",
]

Pixels = NDArray[np.uint8]
Plane = NDArray[np.floating[Any]]


def smooth(pixels: Pixels, times: int, reach: float) -> Pixels:
    for _ in range(times):
        pixels = np.asarray(cv2.bilateralFilter(pixels, 9, 45, reach), np.uint8)
    return pixels


def blur(plane: Plane, sigma: float) -> Plane:
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), sigma), np.float32)


def luminance(pixels: Pixels) -> Plane:
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.float32) / 255


def ink(tone: Plane, sigma: float, sharpness: float, threshold: float) -> Plane:
    """Extended difference of Gaussians (Winnemoeller et al. 2012) as a ratio: 1 on paper, 0 in the line."""
    ratio = (blur(tone, sigma) + 0.06) / (blur(tone, sigma * 1.8) + 0.06)
    exponent = np.clip(-sharpness * 4 * (ratio - threshold), -60, 60)
    return np.asarray(1 / (1 + np.exp(exponent)), np.float32)


def soft_levels(value: Plane, levels: int) -> Plane:
    """Quantise [0, 1] to `levels` tones with a short slope between them, so that edges do not alias."""
    scaled = value * (levels - 1)
    floor = np.floor(scaled)
    return np.asarray((floor + np.clip((scaled - floor - 0.5) * 6 + 0.5, 0, 1)) / (levels - 1), np.float32)


def own_levels(value: Plane, shares: tuple[float, ...]) -> Plane:
    """Tones of [0, 1] parted where these shares of the picture are darker, with a short slope between them.

    Relative to the picture, because that is what a network full of normalisations can learn: it hardly knows how light
    a picture is as a whole. A step between two tones is as high as what lies about it in the picture.
    """
    marks = np.quantile(value, (0.02, *shares, 0.98))
    middles = (marks[:-1] + marks[1:]) / 2
    made = np.full(value.shape, middles[0], np.float32)
    for mark, below, above in zip(marks[1:-1], middles, middles[1:], strict=False):
        made += (above - below) * np.clip((value - mark) / (0.25 * (above - below) + 0.03) + 0.5, 0, 1)
    return made


def mix(first: Plane, second: Plane, weight: Plane) -> Plane:
    return np.asarray(first + (second - first) * weight[..., None], np.float32)


def to_pixels(picture: Plane) -> Pixels:
    return np.asarray(np.clip(picture + 0.5, 0, 255), np.uint8)


def shifted(plane: Plane, rows: int, columns: int) -> Plane:
    """Moved down and to the right; what comes in repeats the border."""
    height, width = plane.shape[:2]
    y = np.clip(np.arange(height) - rows, 0, height - 1)
    x = np.clip(np.arange(width) - columns, 0, width - 1)
    return plane[y][:, x]


def tiled(tile: Plane, shape: tuple[int, ...]) -> Plane:
    """A small plane, repeated from the upper left corner over [H, W]."""
    repeats = (-(-shape[0] // tile.shape[0]), -(-shape[1] // tile.shape[1]))
    return np.asarray(np.tile(tile, repeats)[: shape[0], : shape[1]], np.float32)
