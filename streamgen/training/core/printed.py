"""Styles made of a grid, as teachers: dots, tiles, pixels, facets. They stay where the screen is when the scene moves.

Every teacher takes and returns uint8 [H, W, 3] RGB and is deterministic. All of them repeat every 16 pixels, counted
from the upper left corner: that is the grid which the network's own strides give it, so it knows its place on it.
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
    shifted,
    smooth,
    soft_levels,
    tiled,
    to_pixels,
)

__all__ = ["blueprint", "halftone", "low_poly", "mosaic", "pixel_art", "risograph"]

_CELL = 8
_FACET = 16
# Mean squared error, of levels of 255, that a large facet may make.
_MISSED = 260.0
_NEWSPRINT = np.array([248, 243, 228], np.float32)
_RISO_PAPER = np.array([247, 243, 233], np.float32)
_RISO_PINK = np.array([255, 72, 120], np.float32)
_RISO_BLUE = np.array([0, 96, 170], np.float32)
_BLUE_PAPER = np.array([20, 64, 142], np.float32)
_CHALK_WHITE = np.array([226, 238, 252], np.float32)


def halftone(pixels: Pixels) -> Pixels:
    """A colour print of dots: cyan, magenta and yellow screens turned against each other, and a black line plate."""
    calm = smooth(pixels, times=1, reach=5).astype(np.float32)
    vivid = np.clip((calm - calm.mean(-1, keepdims=True)) * 1.5 + calm.mean(-1, keepdims=True), 0, 255)
    rows, columns = np.mgrid[: pixels.shape[0], : pixels.shape[1]].astype(np.float32)
    picture = np.broadcast_to(_NEWSPRINT, pixels.shape).copy()
    for channel, (offset_y, offset_x) in enumerate(((0, 0), (2, 4), (4, 2))):
        y, x = rows + offset_y, columns + offset_x
        screen = 0.5 + 0.25 * (np.cos(2 * np.pi * (x + y) / _CELL) + np.cos(2 * np.pi * (x - y) / _CELL))
        amount = 1 - blur(vivid[..., channel], 1.0) / 255
        dots = np.clip((screen - (1 - amount)) * 6 + 0.5, 0, 1)
        picture[..., channel] *= 1 - 0.92 * dots
    lines = ink(luminance(pixels), sigma=1.5, sharpness=26.0, threshold=0.945)
    return to_pixels(picture * (0.12 + 0.88 * lines)[..., None])


def risograph(pixels: Pixels) -> Pixels:
    """Two fluorescent inks, pink and blue, printed slightly apart with the grain of a stencil."""
    tone = luminance(smooth(pixels, times=2, reach=7))
    grain = _grain(tone.shape)
    warm = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB)[..., 1], np.float32) / 255 - 0.5
    pink = shifted(np.clip(1.05 - tone + 2.0 * blur(warm, 2.0), 0, 1), 2, -2)
    blue = np.clip(1.12 - 1.75 * tone - 0.6 * blur(warm, 2.0), 0, 1)
    picture = _RISO_PAPER / 255
    for amount, colour in ((pink, _RISO_PINK), (blue, _RISO_BLUE)):
        cover = np.clip((amount - 0.5 + 0.34 * grain) * 2.2 + 0.5, 0, 1) * 0.94
        picture = picture * (1 - cover[..., None] * (1 - colour / 255))
    return to_pixels(picture * 255)


def pixel_art(pixels: Pixels) -> Pixels:
    """Large square pixels in few, saturated colours."""
    small = _cells(smooth(pixels, times=1, reach=5), _CELL)
    hsv = np.asarray(cv2.cvtColor(small / 255, cv2.COLOR_RGB2HSV), np.float32)
    hsv[..., 1] = np.clip(hsv[..., 1] * 1.5 + 0.05, 0, 1)
    hsv[..., 2] = soft_levels(np.clip(hsv[..., 2] * 1.15 - 0.04, 0, 1), 6)
    return _enlarged(np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.float32) * 255, _CELL, pixels.shape)


def mosaic(pixels: Pixels) -> Pixels:
    """Small glazed tiles in courses, each of one colour, on dark mortar."""
    height, width = pixels.shape[:2]
    picture = np.empty(pixels.shape, np.float32)
    even = _enlarged(_cells(pixels, _CELL), _CELL, pixels.shape).astype(np.float32)
    moved = np.roll(pixels, _CELL // 2, axis=1)
    odd = np.roll(_enlarged(_cells(moved, _CELL), _CELL, pixels.shape), -_CELL // 2, axis=1).astype(np.float32)
    rows, columns = np.mgrid[:height, :width]
    course = (rows // _CELL) % 2
    picture = np.where(course[..., None] == 0, even, odd)
    y, x = rows % _CELL, (columns + course * (_CELL // 2)) % _CELL
    kiln = np.random.default_rng(3).uniform(-0.1, 0.1, (2, 4))
    glaze = 1.08 + kiln[course, (columns + course * (_CELL // 2)) // _CELL % 2]
    shine = np.where((y == 1) | (x == 1), 0.16, 0.0) - np.where((y == _CELL - 1) | (x == _CELL - 1), 0.14, 0.0)
    grey = picture.mean(-1, keepdims=True)
    vivid = grey + (picture - grey) * 1.45
    tiles = vivid * (glaze + shine)[..., None]
    mortar = ((y == 0) | (x == 0))[..., None]
    return to_pixels(np.where(mortar, 0.25 * tiles + 26, tiles))


def low_poly(pixels: Pixels) -> Pixels:
    """Flat triangles, large ones where the picture is calm and small ones where it has much to say."""
    height, width = (-(-side // _FACET) * _FACET for side in pixels.shape[:2])
    padded = np.pad(pixels, ((0, height - pixels.shape[0]), (0, width - pixels.shape[1]), (0, 0)), mode="edge")
    large, small = _facets(padded, _FACET), _facets(padded, _FACET // 2)
    missed = _cells(np.square(large - padded).mean(-1, keepdims=True).repeat(3, -1), _FACET)
    rough = (missed > _MISSED).repeat(_FACET, axis=0).repeat(_FACET, axis=1)
    whole = np.where(rough, small, large)[: pixels.shape[0], : pixels.shape[1]]
    grey = whole.mean(-1, keepdims=True)
    return to_pixels((grey + (whole - grey) * 1.35 - 128) * 1.15 + 132)


def _facets(picture: Pixels, size: int) -> Plane:
    """Every square cut along the diagonal that parts its colours best: float32 [H, W, 3]."""
    height, width = picture.shape[:2]
    squares = picture.reshape(height // size, size, width // size, size, 3).swapaxes(1, 2).astype(np.float32)
    y, x = np.mgrid[:size, :size]
    made, errors = [], []
    for mask in ((y >= x).astype(np.float32), (y + x >= size).astype(np.float32)):
        painted = sum(
            part[..., None] * np.einsum("abyxc,yx->abc", squares, part)[:, :, None, None] / part.sum()
            for part in (mask, 1 - mask)
        )
        made.append(painted)
        errors.append(np.square(painted - squares).sum((2, 3, 4)))
    cut = np.where((errors[0] <= errors[1])[..., None, None, None], made[0], made[1])
    return np.asarray(cut.swapaxes(1, 2).reshape(height, width, 3), np.float32)


def blueprint(pixels: Pixels) -> Pixels:
    """A technical drawing: white lines and a ruled grid on blue paper."""
    tone = luminance(smooth(pixels, times=1, reach=5))
    lines = 1 - ink(tone, sigma=1.3, sharpness=22.0, threshold=0.965)
    shade = np.clip(blur(tone, 2.0) - 0.45, 0, 1) * 0.42
    rows, columns = np.mgrid[: tone.shape[0], : tone.shape[1]]
    ruled = np.where((rows % 16 == 0) | (columns % 16 == 0), 0.2, 0.0)
    return to_pixels(mix(_BLUE_PAPER, _CHALK_WHITE, np.clip(np.maximum(lines * 0.95, shade + ruled), 0, 1)))


def _cells(pixels: Pixels | Plane, size: int) -> Plane:
    """The mean colour of every square, float32 [H / size, W / size, 3]."""
    height, width = (side // size for side in pixels.shape[:2])
    whole = pixels[: height * size, : width * size].astype(np.float32)
    return np.asarray(whole.reshape(height, size, width, size, 3).mean((1, 3)), np.float32)


def _enlarged(cells: Plane, size: int, shape: tuple[int, ...]) -> Pixels:
    return to_pixels(cells.repeat(size, axis=0).repeat(size, axis=1)[: shape[0], : shape[1]])


def _grain(shape: tuple[int, ...]) -> Plane:
    """Fine noise in [-1, 1] that repeats every 16 pixels."""
    return tiled(np.random.default_rng(11).uniform(-1, 1, (16, 16)), shape)
