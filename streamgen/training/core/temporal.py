"""How steady a film is: what moves that did not move in front of the camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from streamgen.training.data import Pixels

__all__ = ["Motion", "Wobble", "flicker", "mixed", "motions", "sensor_noise", "wobble"]

_SENSOR_NOISE = 0.02
"""Standard deviation, of pictures in [-1, 1]."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Motion:
    """Where each pixel of a frame was in the frame before.

    Args:
        places: float32 [H, W, 2], column and row there.
        seen: bool [H, W], whether it was to be seen there.
    """

    places: Floats
    seen: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Wobble:
    """Difference of each picture to the one before it, moved as the scene moved, where the scene could be seen in both.

    Args:
        mean: of the absolute differences, 0 to 1.
        square: of the squared differences, 0 to 1, as in Lai et al. 2018 ("Learning blind video temporal consistency").
    """

    mean: float
    square: float


def motions(frames: Sequence[Pixels]) -> list[Motion]:
    """Of every frame after the first, by DIS optical flow (Kroeger et al. 2016) of frames uint8 [H, W, 3].

    A pixel was seen where the flow there and the flow back cancel (Sundaram et al. 2010) and stay in the picture.
    """
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8) for frame in frames]
    return [_motion(flow, before, after) for before, after in pairwise(grey)]


def wobble(pictures: Sequence[Pixels], moved: Sequence[Motion]) -> Wobble:
    """Of pictures uint8 [H, W, 3] of frames whose motion is known: one more than motions.

    A pair of which no pixel was to be seen in both, as at a cut, says nothing; where all are such, nothing wobbles.
    """
    means, squares = [], []
    for (before, after), motion in zip(pairwise(pictures), moved, strict=True):
        difference = (after.astype(np.float32) - _fetched(before, motion.places))[motion.seen] / 255
        if not difference.size:
            continue
        means.append(float(np.abs(difference).mean()))
        squares.append(float(np.square(difference).mean()))
    return Wobble(float(np.mean(means)), float(np.mean(squares))) if means else Wobble(0.0, 0.0)


def sensor_noise(scene: Pixels, draws: int) -> list[Pixels]:
    """What a camera sees of a scene uint8 [H, W, 3] that stands still: so many frames, the same at every call."""
    random = np.random.default_rng(0)
    sigma = _SENSOR_NOISE * 127.5
    noisy = [scene + sigma * random.standard_normal(scene.shape, np.float32) for _ in range(draws)]
    return [np.clip(frame + 0.5, 0, 255).astype(np.uint8) for frame in noisy]


def flicker(pictures: Sequence[Pixels]) -> float:
    """Mean over pixels of the standard deviation over pictures uint8 [H, W, 3] of one still scene, 0 to 1."""
    return float(np.std(np.stack(pictures).astype(np.float32) / 255, axis=0).mean())


def mixed(plain: Sequence[Pixels], styled: Sequence[Pixels], share: float) -> list[Pixels]:
    """Pictures uint8 [H, W, 3] that are ``share`` of the styled ones and the rest of the plain ones."""
    return [
        np.asarray(cv2.addWeighted(a, 1 - share, b, share, 0), np.uint8) for a, b in zip(plain, styled, strict=True)
    ]


def _motion(flow: cv2.DISOpticalFlow, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> Motion:
    height, width = before.shape
    back, forth = (
        np.asarray(flow.calc(*pair, np.zeros((height, width, 2), np.float32)), np.float32)
        for pair in ((after, before), (before, after))
    )
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    places = np.stack([columns, rows], axis=-1) + back
    returned = _fetched(forth, places)
    lengths = np.square(back).sum(-1) + np.square(returned).sum(-1)
    cancels = np.square(back + returned).sum(-1) < 0.01 * lengths + 0.5
    inside = ((places >= 0) & (places <= [width - 1, height - 1])).all(-1)
    return Motion(places, np.asarray(cancels & inside))


def _fetched(values: Pixels | Floats, places: Floats) -> Floats:
    """What stands at the places [H, W, 2] of an array [H, W, C]."""
    columns, rows = (np.ascontiguousarray(places[..., axis]) for axis in (0, 1))
    moved = cv2.remap(values.astype(np.float32), columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float32)
