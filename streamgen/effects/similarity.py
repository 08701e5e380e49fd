"""The stochastic similarity filter (StreamDiffusion, Kodaira et al. 2023, section 3.5): frames that show nothing new
are mostly not computed. It saves power; it does not make pictures steadier.

Deviation: the two frames are compared on the host, on a few hundred pixels, while the device is still busy with others.
Nothing waits for the device, and nothing sleeps.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamgen.frames import Pixels

__all__ = ["SimilarityFilter", "Thumbnail", "Verdict", "thumbnail"]

Thumbnail = NDArray[np.int16]
"""int16 [16, 16, 3]: means of blocks of a frame, which camera noise hardly moves."""

_SIDE = 16
_SAMPLES = 4


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one frame.

    Args:
        skipped: it need not be computed.
        small: what to compare the next ones with, once this one has been computed.
        owed: how many frames behind it have to be computed whatever they show.
    """

    skipped: bool
    small: Thumbnail | None = None
    owed: int = 0


class SimilarityFilter:
    """The filter of one session.

    Ask ``judge`` before computing a frame and ``note`` its verdict afterwards: a frame that failed must not make the
    next one look like old news.
    """

    def __init__(self) -> None:
        self._seen: Thumbnail | None = None
        self._owed = 0
        self._chance = random.Random(0)

    def judge(self, pixels: Pixels, threshold: float, *, changing: bool, depth: int) -> Verdict:
        """Whether to leave a frame out.

        The nearer it is to the last one computed, the likelier: with certainty when nothing at all has changed, never
        from ``threshold`` on, which is a share of the full range of brightness.

        Args:
            pixels: uint8 [H, W, 3].
            threshold: 0 computes everything.
            changing: the picture moves by itself, as in a transition.
            depth: frames until one is done: as many are computed behind each that is new, or it would never be shown.
        """
        if threshold <= 0:
            return Verdict(False)
        small = thumbnail(pixels)
        if changing:
            return Verdict(False, small, depth)  # one more than the pipeline needs: the end of the change is new too
        if self._is_new(small, threshold):
            return Verdict(False, small, depth - 1)
        return Verdict(False, small, self._owed - 1) if self._owed else Verdict(True)

    def note(self, verdict: Verdict) -> None:
        """The frame has been computed."""
        self._seen, self._owed = verdict.small, verdict.owed

    def forget(self) -> None:
        """Compute the next frame: the picture changes, whatever the frame does."""
        self._seen = None

    def _is_new(self, small: Thumbnail, threshold: float) -> bool:
        if self._seen is None:
            return True
        difference = float(np.abs(small - self._seen).mean()) / 255
        return self._chance.random() >= 1 - difference / threshold


def thumbnail(pixels: Pixels) -> Thumbnail:
    """Means over a sparse grid of uint8 [H, W, 3] pixels, [16, 16, 3]."""
    height, width = pixels.shape[:2]
    rows = np.linspace(0, height - 1, _SIDE * _SAMPLES).round().astype(int)
    columns = np.linspace(0, width - 1, _SIDE * _SAMPLES).round().astype(int)
    sparse = pixels[rows[:, None], columns].astype(np.int32).reshape(_SIDE, _SAMPLES, _SIDE, _SAMPLES, 3)
    small: Thumbnail = sparse.mean((1, 3)).round().astype(np.int16)
    return small
