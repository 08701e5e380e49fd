"""A number written into a picture in bars that survive any codec, so that a frame is known again where it comes out."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["BITS", "mark_height", "read_mark", "stamp_mark"]

BITS = 16
_DARK, _BRIGHT = 16, 235


def mark_height(height: int) -> int:
    """Rows of one line of bars in a picture so high."""
    return max(8, height // 16)


def stamp_mark(picture: np.ndarray, number: int) -> None:
    """Write the lower 16 bits of ``number`` into the picture's top: a line of bars, and one of their opposites.

    Args:
        picture: uint8 [H, W] luma or [H, W, 3] RGB; changed in place.
        number: lowest bit on the left.
    """
    high, wide = mark_height(picture.shape[0]), picture.shape[1] // BITS
    for bit in range(BITS):
        at = slice(bit * wide, (bit + 1) * wide)
        set_ = number >> bit & 1
        picture[:high, at] = _BRIGHT if set_ else _DARK
        picture[high : 2 * high, at] = _DARK if set_ else _BRIGHT


def read_mark(picture: Any) -> int | None:
    """The number in a decoded picture; None where the two lines contradict each other.

    Args:
        picture: an ``av.VideoFrame`` whose first plane is luma.
    """
    plane = picture.planes[0]
    luma = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:, : picture.width]
    high, wide = mark_height(picture.height), picture.width // BITS
    number = 0
    for bit in range(BITS):
        at = slice(bit * wide + wide // 4, (bit + 1) * wide - wide // 4)
        middle = slice(high // 4, high - high // 4)
        difference = int(luma[:high][middle, at].mean()) - int(luma[high : 2 * high][middle, at].mean())
        if abs(difference) < (_BRIGHT - _DARK) // 3:
            return None
        number |= (difference > 0) << bit
    return number
