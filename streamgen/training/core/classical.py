"""Styles drawn and painted by classical image processing, as teachers.

Every teacher takes and returns uint8 [H, W, 3] RGB and is deterministic. Lengths are in pixels of a picture 256 high,
the size the network is trained at.
"""

from __future__ import annotations

import cv2
import numpy as np

from streamgen.training.core.image_ops import (
    Pixels,
    Plane,
    blur,
    ink,
    luminance,
    mix,
    own_levels,
    shifted,
    smooth,
    soft_levels,
    tiled,
    to_pixels,
)

__all__ = ["charcoal", "comic", "engraving", "ink_wash", "neon", "oil", "pencil", "poster", "watercolor"]

_PAPER = np.array([250, 247, 240], np.float32)
_GRAPHITE = np.array([52, 52, 58], np.float32)
_ROUGH_PAPER = np.array([233, 230, 224], np.float32)
_CHARCOAL = np.array([28, 27, 29], np.float32)
_RICE_PAPER = np.array([246, 242, 232], np.float32)
_INK = np.array([18, 20, 26], np.float32)
_PLATE_PAPER = np.array([241, 233, 214], np.float32)
_ENGRAVERS_INK = np.array([36, 28, 26], np.float32)
_POSTER_PALETTE = np.array([[10, 42, 74], [214, 38, 40], [116, 160, 172], [252, 228, 170]], np.float32)
_COMIC_SHARES = (0.22, 0.48, 0.74)
_WASH_SHARES = (0.15, 0.38, 0.62, 0.85)
# Shadows lean to indigo: red is absorbed most, blue least.
_SHADOW_TINT = np.array([0.72, 0.64, 0.46], np.float32)


def pencil(pixels: Pixels) -> Pixels:
    """A graphite drawing on warm paper: colour dodge for the lines, a little of the picture's own tone for the body."""
    tone = luminance(pixels)
    dodge = np.minimum(tone / np.maximum(blur(tone, 5.0), 0.02), 1.0)
    fine = ink(blur(tone, 0.7), sigma=1.0, sharpness=18.0, threshold=0.955)
    body = 0.72 + 0.28 * np.clip(blur(tone, 1.5) * 1.25, 0, 1)
    coverage = 1 - dodge**2.2 * body * (0.45 + 0.55 * fine)
    return to_pixels(mix(_PAPER, _GRAPHITE, np.clip(coverage * 1.1, 0, 1)))


def comic(pixels: Pixels) -> Pixels:
    """Flat saturated cells in four tones under black ink lines."""
    calm = smooth(pixels, times=3, reach=7)
    hsv = cv2.cvtColor(calm, cv2.COLOR_RGB2HSV).astype(np.float32)
    value = own_levels(blur(hsv[..., 2], 1.0) / 255, _COMIC_SHARES)
    hsv[..., 1] = np.clip(hsv[..., 1] * 1.55 + 6, 0, 255)
    hsv[..., 2] = (0.16 + 0.84 * value) * 255
    cells = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB).astype(np.float32)
    lines = ink(luminance(calm), sigma=1.6, sharpness=30.0, threshold=0.962)
    return to_pixels(cells * lines[..., None])


def neon(pixels: Pixels) -> Pixels:
    """Glowing tubes along the edges on a night-blue ground: magenta where they run level, cyan where they stand."""
    grey = blur(luminance(smooth(pixels, times=1, reach=5)), 0.8)
    dx, dy = cv2.Scharr(grey, cv2.CV_32F, 1, 0), cv2.Scharr(grey, cv2.CV_32F, 0, 1)
    strength = np.hypot(dx, dy)
    line = np.clip((strength - 0.9) / 2.2, 0, 1) ** 0.8
    upright = blur(dx * dx, 3) / (blur(strength**2, 3) + 1e-4)
    hue = mix(np.array([255, 30, 200], np.float32), np.array([20, 225, 255], np.float32), upright)
    glow = blur(line, 4.0)[..., None] * 0.9 + line[..., None]
    ground = np.array([8, 6, 26], np.float32) + grey[..., None] * np.array([18, 10, 38], np.float32)
    core = np.clip(line - 0.55, 0, 1)[..., None] * 255
    return to_pixels(ground + hue * glow + core)


def watercolor(pixels: Pixels) -> Pixels:
    """Thin washes laid one over another on white paper, their pigment gathered at the rims of every layer."""
    calm = np.asarray(cv2.medianBlur(smooth(pixels, times=3, reach=9), 7), np.uint8)
    tone = blur(luminance(calm), 1.5)
    layers = own_levels(tone, _WASH_SHARES)
    rim = np.hypot(cv2.Scharr(layers, cv2.CV_32F, 1, 0), cv2.Scharr(layers, cv2.CV_32F, 0, 1))
    density = 1 - (calm.astype(np.float32) / 255) * (layers / np.maximum(tone, 0.08))[..., None]
    grey = density.mean(-1, keepdims=True)
    density = np.clip(grey * 0.9 + (density - grey) * 2.2, 0, 1) * _SHADOW_TINT
    outline = 1 - ink(luminance(pixels), sigma=1.0, sharpness=14.0, threshold=0.94)
    settled = 0.16 * blur(_hatching(tone.shape), 0.8)
    strength = 0.92 + settled + 0.5 * np.clip(blur(rim, 0.7), 0, 1.2) + 0.7 * outline
    return to_pixels(_PAPER * (1 - np.clip(density * strength[..., None], 0, 0.95)))


def poster(pixels: Pixels) -> Pixels:
    """A screen-printed poster in four inks: navy, red, grey-blue and cream, parted at the picture's own quartiles."""
    tone = luminance(smooth(pixels, times=2, reach=7))
    tone = blur(tone, 1.2)
    low, middle, high = (float(q) for q in np.quantile(tone, (0.28, 0.52, 0.75)))
    picture = np.broadcast_to(_POSTER_PALETTE[0], (*tone.shape, 3))
    for threshold, colour in zip((low, middle, high), _POSTER_PALETTE[1:], strict=True):
        picture = picture + (colour - picture) * np.clip((tone - threshold) * 40 + 0.5, 0, 1)[..., None]
    return to_pixels(picture)


def charcoal(pixels: Pixels) -> Pixels:
    """Broad, smudged strokes of black on rough paper, worked up with white."""
    tone = blur(luminance(smooth(pixels, times=1, reach=7)), 1.2)
    local = np.clip(0.5 + 1.5 * (tone - blur(tone, 24.0)) + 0.5 * (tone - 0.5), 0, 1)
    edges = 1 - ink(tone, sigma=2.2, sharpness=16.0, threshold=0.96)
    cover = np.clip(1.15 - 1.35 * local, 0, 1) ** 1.2 + 0.8 * blur(edges, 0.8)
    cover = np.clip(cover + 0.42 * _hatching(tone.shape) * (1.1 - np.abs(2 * cover - 1)), 0, 1)
    return to_pixels(mix(_ROUGH_PAPER, _CHARCOAL, cover))


def ink_wash(pixels: Pixels) -> Pixels:
    """A loaded brush: black contours that swell and thin, and three grey washes on white paper."""
    calm = np.asarray(cv2.medianBlur(smooth(pixels, times=2, reach=9), 5), np.uint8)
    tone = blur(luminance(calm), 1.0)
    washes = soft_levels(np.clip(tone * 1.5 - 0.05, 0, 1), 4)
    brush = ink(tone, sigma=2.6, sharpness=34.0, threshold=0.955)
    fine = ink(blur(tone, 0.5), sigma=1.1, sharpness=26.0, threshold=0.94)
    light = (0.28 + 0.72 * washes) * brush * (0.35 + 0.65 * fine)
    return to_pixels(mix(_INK, _RICE_PAPER, light))


def engraving(pixels: Pixels) -> Pixels:
    """A copper plate: lines that swell with the dark and bend over the form, crossed by others in the shadows."""
    tone = luminance(smooth(pixels, times=1, reach=5))
    local = np.clip(0.55 + 1.3 * (tone - blur(tone, 20.0)) + 0.75 * (blur(tone, 20.0) - 0.5), 0.02, 1)
    rows, columns = _coordinates(tone.shape)
    form = 2.2 * blur(tone, 5.0)
    first = 0.5 + 0.5 * np.cos(2 * np.pi * ((rows + 0.25 * columns) / 4 + form))
    second = 0.5 + 0.5 * np.cos(2 * np.pi * ((columns - 0.25 * rows) / 4 + form))
    lines = np.clip((first - 0.95 * (1 - local) ** 0.8) * 4 + 0.5, 0, 1)
    crossed = np.clip((second - 1.6 * (0.42 - local)) * 4 + 0.5, 0, 1)
    contour = ink(blur(tone, 0.6), sigma=1.2, sharpness=26.0, threshold=0.955)
    return to_pixels(mix(_ENGRAVERS_INK, _PLATE_PAPER, lines * np.minimum(crossed, 1) * contour))


def oil(pixels: Pixels) -> Pixels:
    """Thick paint laid on with a flat brush: patches of one colour with crisp rims, lit from the upper left."""
    picture: Plane = pixels.astype(np.float32)
    for reach in (4, 3):
        picture = _kuwahara(picture, reach)
    hsv = np.asarray(cv2.cvtColor(picture / 255, cv2.COLOR_RGB2HSV), np.float32)
    hsv[..., 1] = np.clip(hsv[..., 1] * 1.4 + 0.03, 0, 1)
    picture = np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.float32) * 255
    tone = luminance(to_pixels(picture))
    relief = blur(tone, 0.6) - blur(shifted(tone, 2, 2), 0.6)
    return to_pixels(picture * (1 + 0.9 * np.clip(relief, -0.25, 0.25))[..., None])


def _kuwahara(picture: Plane, reach: int) -> Plane:
    """Every pixel takes the mean of the calmest of the four squares that it is a corner of (Kuwahara et al. 1976)."""
    size = reach + 1
    means, spreads = [], []
    for anchor in ((0, 0), (0, reach), (reach, 0), (reach, reach)):
        mean = cv2.blur(picture, (size, size), anchor=anchor)
        square = cv2.blur(picture * picture, (size, size), anchor=anchor)
        means.append(mean)
        spreads.append((square - mean * mean).sum(-1))
    # Weights instead of a choice: a choice flips from frame to frame.
    weights = np.stack(spreads).clip(1.0) ** -4.0
    weights /= weights.sum(0)
    return np.asarray((np.stack(means) * weights[..., None]).sum(0), np.float32)


def _hatching(shape: tuple[int, ...]) -> Plane:
    """Slanted streaks in [-1, 1] that repeat every 16 pixels."""
    tile = np.random.default_rng(7).standard_normal((16, 16)).astype(np.float32)
    streaks = sum(np.roll(tile, (step, -step), (0, 1)) for step in range(4)) / 4.0
    return tiled(np.clip(streaks, -1, 1), shape)


def _coordinates(shape: tuple[int, ...]) -> tuple[Plane, Plane]:
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    return rows, columns
