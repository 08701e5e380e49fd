"""Pictures made by code, with the statistics that a style is learned on: things before things, in light, with texture.

The "dead leaves" of Lee, Mumford and Huang 2001 ("Occlusion models for natural images"): shapes whose sizes follow a
power law cover each other. Here they are also shaded, grained by 1/f noise and seen through a lens.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from streamgen.training.data import SIZE, Pixels

__all__ = ["scene"]

Plane = NDArray[np.float32]

_LEAVES = 70
_SMALLEST, _LARGEST = 8.0, 150.0
_COLOURS = 6
_FRACTION_BITS = 3


def scene(random: np.random.Generator) -> Pixels:
    """One picture: uint8 [256, 256, 3]."""
    palette = _palette(random)
    grain = _grain(random)
    picture = _shaded(_pick(palette, random), SIZE, SIZE, random) * (1 + 0.08 * grain[..., None])
    # Sizes r with density r^-2, the large ones behind.
    spread = random.random(_LEAVES) * (1 / _SMALLEST - 1 / _LARGEST) + 1 / _LARGEST
    for radius in np.sort(1 / spread)[::-1]:
        _add_leaf(picture, float(radius), _pick(palette, random), grain, random)
    picture = picture * (1 + 0.25 * cv2.GaussianBlur(_grain(random), (0, 0), 24))[..., None]
    picture = cv2.GaussianBlur(picture, (0, 0), random.uniform(0.4, 1.4))
    return np.asarray((np.clip(picture, 0, 1) * 255).round(), np.uint8)


def _palette(random: np.random.Generator) -> Plane:
    """Colours that go together, mostly muted: float32 [6, 3] in [0, 1]."""
    hue = (random.uniform(0, 360) + random.normal(0, 60, _COLOURS)) % 360
    saturation, value = random.beta(1.2, 2.6, _COLOURS), random.beta(1.6, 1.0, _COLOURS)
    hsv = np.stack([hue, saturation, value], axis=-1).astype(np.float32)
    return np.asarray(cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0], np.float32)


def _pick(palette: Plane, random: np.random.Generator) -> Plane:
    return np.asarray(palette[random.integers(_COLOURS)] + random.normal(0, 0.03, 3), np.float32)


def _grain(random: np.random.Generator) -> Plane:
    """1/f noise of variance 1: float32 [256, 256]."""
    spectrum = np.fft.rfft2(random.standard_normal((SIZE, SIZE)))
    frequency = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE)[None])
    frequency[0, 0] = np.inf
    noise = np.fft.irfft2(spectrum / frequency, (SIZE, SIZE))
    return np.asarray(noise / noise.std(), np.float32)


def _shaded(colour: Plane, rows: int, columns: int, random: np.random.Generator) -> Plane:
    """A colour that gets lighter in one direction: float32 [rows, columns, 3]."""
    angle, slope = random.uniform(0, 2 * np.pi), random.uniform(0, 0.6)
    down = np.linspace(-1, 1, rows, dtype=np.float32)[:, None] * np.float32(slope * np.sin(angle))
    across = np.linspace(-1, 1, columns, dtype=np.float32)[None] * np.float32(slope * np.cos(angle))
    return np.asarray(colour * (1 + down + across)[..., None], np.float32)


def _add_leaf(picture: Plane, radius: float, colour: Plane, grain: Plane, random: np.random.Generator) -> None:
    """Paint one shape over ``picture``, in place."""
    points = _outline(radius, random) + random.uniform(0, SIZE, 2)
    top, left = np.clip(points.min(0)[::-1].astype(int) - 1, 0, SIZE)
    bottom, right = np.clip(points.max(0)[::-1].astype(int) + 2, 0, SIZE)
    rows, columns = int(bottom - top), int(right - left)
    if rows == 0 or columns == 0:
        return
    mask = np.zeros((rows, columns), np.uint8)
    inside = ((points - (left, top)) * 2**_FRACTION_BITS).round().astype(np.int32)
    cv2.fillPoly(mask, [inside], 255, cv2.LINE_AA, _FRACTION_BITS)
    y, x = int(random.integers(SIZE - rows + 1)), int(random.integers(SIZE - columns + 1))
    texture = 1 + grain[y : y + rows, x : x + columns, None] * np.float32(random.choice([0.0, 0.05, 0.15]))
    cover = mask[..., None] / np.float32(255)
    under = picture[top:bottom, left:right]
    under += cover * (_shaded(colour, rows, columns, random) * texture - under)


def _outline(radius: float, random: np.random.Generator) -> NDArray[np.float64]:
    """Round, angular or long, and turned: float64 [P, 2] about the origin."""
    corners = int(random.choice([3, 4, 4, 5, 40, 40, 40]))
    angles = np.sort(random.uniform(0, 2 * np.pi, corners)) if corners < 40 else np.linspace(0, 2 * np.pi, corners)
    bulge = 1 + random.uniform(0, 0.3) * np.sin(angles * random.integers(2, 5) + random.uniform(0, 6))
    points = np.stack([np.cos(angles), np.sin(angles) * random.uniform(0.15, 1.0)], axis=1) * (radius * bulge)[:, None]
    turn = random.uniform(0, 2 * np.pi)
    return np.asarray(points @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]))
