"""Styles drawn by classical image processing, as teachers: pencil, comic, neon, watercolor, poster.

Every teacher takes and returns uint8 [H, W, 3] RGB and is deterministic. Lengths are in pixels of a picture 256 high,
the size the network is trained at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["CLASSICAL", "comic", "neon", "pencil", "poster", "watercolor"]

Pixels = NDArray[np.uint8]
Plane = NDArray[np.floating[Any]]

_PAPER = np.array([250, 247, 240], np.float32)
_GRAPHITE = np.array([52, 52, 58], np.float32)
_POSTER_PALETTE = np.array([[10, 42, 74], [214, 38, 40], [116, 160, 172], [252, 228, 170]], np.float32)
_COMIC_LEVELS = 4
# Shadows lean to indigo: red is absorbed most, blue least.
_SHADOW_TINT = np.array([0.72, 0.64, 0.46], np.float32)


def pencil(pixels: Pixels) -> Pixels:
    """A graphite drawing on warm paper: colour dodge for the lines, a little of the picture's own tone for the body."""
    tone = _luminance(pixels)
    dodge = np.minimum(tone / np.maximum(_blur(tone, 5.0), 0.02), 1.0)
    fine = _ink(_blur(tone, 0.7), sigma=1.0, sharpness=18.0, threshold=0.955)
    body = 0.72 + 0.28 * np.clip(_blur(tone, 1.5) * 1.25, 0, 1)
    coverage = 1 - dodge**2.2 * body * (0.45 + 0.55 * fine)
    return _to_pixels(_mix(_PAPER, _GRAPHITE, np.clip(coverage * 1.1, 0, 1)))


def comic(pixels: Pixels) -> Pixels:
    """Flat saturated cells in four tones under black ink lines."""
    smooth = _smooth(pixels, times=3, reach=7)
    hsv = cv2.cvtColor(smooth, cv2.COLOR_RGB2HSV).astype(np.float32)
    value = _soft_levels(_blur(hsv[..., 2], 1.0) / 255, _COMIC_LEVELS)
    hsv[..., 1] = np.clip(hsv[..., 1] * 1.55 + 6, 0, 255)
    hsv[..., 2] = (0.16 + 0.84 * value) * 255
    cells = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB).astype(np.float32)
    ink = _ink(_luminance(smooth), sigma=1.9, sharpness=30.0, threshold=0.962)
    return _to_pixels(cells * ink[..., None])


def neon(pixels: Pixels) -> Pixels:
    """Glowing tubes along the edges on a night-blue ground: magenta where they run level, cyan where they stand."""
    grey = _blur(_luminance(_smooth(pixels, times=1, reach=5)), 0.8)
    dx, dy = cv2.Scharr(grey, cv2.CV_32F, 1, 0), cv2.Scharr(grey, cv2.CV_32F, 0, 1)
    strength = np.hypot(dx, dy)
    line = np.clip((strength - 0.9) / 2.2, 0, 1) ** 0.8
    upright = _blur(dx * dx, 3) / (_blur(strength**2, 3) + 1e-4)
    hue = _mix(np.array([255, 30, 200], np.float32), np.array([20, 225, 255], np.float32), upright)
    glow = _blur(line, 4.0)[..., None] * 0.9 + line[..., None]
    ground = np.array([8, 6, 26], np.float32) + grey[..., None] * np.array([18, 10, 38], np.float32)
    core = np.clip(line - 0.55, 0, 1)[..., None] * 255
    return _to_pixels(ground + hue * glow + core)


def watercolor(pixels: Pixels) -> Pixels:
    """Thin washes laid one over another on white paper, their pigment gathered at the rims of every layer."""
    smooth = np.asarray(cv2.medianBlur(_smooth(pixels, times=3, reach=9), 7), np.uint8)
    tone = _blur(_luminance(smooth), 1.5)
    layers = _soft_levels(tone, 5)
    rim = np.hypot(cv2.Scharr(layers, cv2.CV_32F, 1, 0), cv2.Scharr(layers, cv2.CV_32F, 0, 1))
    density = 1 - (smooth.astype(np.float32) / 255) * (layers / np.maximum(tone, 0.08))[..., None]
    grey = density.mean(-1, keepdims=True)
    density = np.clip(grey + (density - grey) * 1.9, 0, 1) * _SHADOW_TINT
    outline = 1 - _ink(_luminance(pixels), sigma=1.0, sharpness=14.0, threshold=0.94)
    strength = 1 + 0.3 * np.clip(_blur(rim, 0.7), 0, 1.2) + 0.7 * outline
    return _to_pixels(_PAPER * (1 - np.clip(density * strength[..., None], 0, 0.95)))


def poster(pixels: Pixels) -> Pixels:
    """A screen-printed poster in four inks: navy, red, grey-blue and cream, parted at the picture's own quartiles."""
    tone = _luminance(_smooth(pixels, times=2, reach=7))
    tone = _blur(tone, 1.2)
    low, middle, high = (float(q) for q in np.quantile(tone, (0.28, 0.52, 0.75)))
    picture = np.broadcast_to(_POSTER_PALETTE[0], (*tone.shape, 3))
    for threshold, ink in zip((low, middle, high), _POSTER_PALETTE[1:], strict=True):
        picture = picture + (ink - picture) * np.clip((tone - threshold) * 40 + 0.5, 0, 1)[..., None]
    return _to_pixels(picture)


CLASSICAL: dict[str, Callable[[Pixels], Pixels]] = {
    "pencil": pencil,
    "comic": comic,
    "neon": neon,
    "watercolor": watercolor,
    "poster": poster,
}


def _smooth(pixels: Pixels, times: int, reach: float) -> Pixels:
    for _ in range(times):
        pixels = np.asarray(cv2.bilateralFilter(pixels, 9, 45, reach), np.uint8)
    return pixels


def _blur(plane: Plane, sigma: float) -> Plane:
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), sigma), np.float32)


def _luminance(pixels: Pixels) -> Plane:
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.float32) / 255


def _ink(tone: Plane, sigma: float, sharpness: float, threshold: float) -> Plane:
    """Extended difference of Gaussians (Winnemoeller et al. 2012) as a ratio: 1 on paper, 0 in the line."""
    ratio = (_blur(tone, sigma) + 0.06) / (_blur(tone, sigma * 1.8) + 0.06)
    exponent = np.clip(-sharpness * 4 * (ratio - threshold), -60, 60)
    return np.asarray(1 / (1 + np.exp(exponent)), np.float32)


def _soft_levels(value: Plane, levels: int) -> Plane:
    """Quantise [0, 1] to `levels` tones with a short slope between them, so that edges do not alias."""
    scaled = value * (levels - 1)
    floor = np.floor(scaled)
    return np.asarray((floor + np.clip((scaled - floor - 0.5) * 6 + 0.5, 0, 1)) / (levels - 1), np.float32)


def _mix(first: Plane, second: Plane, weight: Plane) -> Plane:
    return np.asarray(first + (second - first) * weight[..., None], np.float32)


def _to_pixels(picture: Plane) -> Pixels:
    return np.asarray(np.clip(picture + 0.5, 0, 255), np.uint8)
