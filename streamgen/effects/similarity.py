"""The stochastic similarity filter (StreamDiffusion, Kodaira et al. 2023, section 3.5): frames that show nothing new
are mostly not computed. It saves power; it does not make pictures steadier.

Deviation: the two frames are compared on the host, on a few hundred pixels, while the device is still busy with others.
Nothing waits for the device, and nothing sleeps.
"""

from __future__ import annotations

import random

import numpy as np
from numpy.typing import NDArray

from streamgen.frames import Pixels

__all__ = ["Thumbnail", "is_skipped", "thumbnail"]

Thumbnail = NDArray[np.int16]
"""int16 [16, 16, 3]: means of blocks of a frame, which camera noise hardly moves."""

_SIDE = 16
_SAMPLES = 4


def thumbnail(pixels: Pixels) -> Thumbnail:
    """Means over a sparse grid of uint8 [H, W, 3] pixels, [16, 16, 3]."""
    height, width = pixels.shape[:2]
    rows = np.linspace(0, height - 1, _SIDE * _SAMPLES).round().astype(int)
    columns = np.linspace(0, width - 1, _SIDE * _SAMPLES).round().astype(int)
    sparse = pixels[rows[:, None], columns].astype(np.int32).reshape(_SIDE, _SAMPLES, _SIDE, _SAMPLES, 3)
    small: Thumbnail = sparse.mean((1, 3)).round().astype(np.int16)
    return small


def is_skipped(now: Thumbnail, seen: Thumbnail | None, threshold: float, chance: random.Random) -> bool:
    """Whether to leave a frame out.

    The nearer it is to the last one computed, the likelier: with certainty when nothing at all has changed, never from
    ``threshold`` on, which is a share of the full range of brightness.
    """
    if seen is None or threshold <= 0:
        return False
    difference = float(np.abs(now - seen).mean()) / 255
    return chance.random() < 1 - difference / threshold
