"""Where people are seen: photos and clips of the data folder, and which of them nobody may train on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from streamgen.errors import ConfigError
from streamgen.training.data import Photos, Pixels

__all__ = ["HELD_OUT", "clips", "empty_photos", "face_photos", "frames", "other_photos"]

HELD_OUT = ("asl_book", "asl_hungry", "asl_night", "asl_want", "prev_head-pose-face-detection-male")
"""Clips that are only judged by. The man of `asl_hungry` and `asl_want` is in no other clip."""

_EMPTY = ("bud_", "gc_", "c101_")
# Pictures of these kinds have people in them now and then: the player, the one under the umbrella, the passer-by.
_PEOPLED = (
    "c101_BACKGROUND_Google",
    "c101_accordion",
    "c101_buddha",
    "c101_cellphone",
    "c101_electric_guitar",
    "c101_headphone",
    "c101_helicopter",
    "c101_mandolin",
    "c101_saxophone",
    "c101_soccer_ball",
    "c101_umbrella",
    "c101_wheelchair",
)


def clips(data: Path, *, held_out: bool) -> list[Path]:
    """The clips to train on, or those held out. Raises `ConfigError` when there are none."""
    found = sorted(path for path in (data / "clips").glob("*") if (path.stem in HELD_OUT) == held_out)
    if not found:
        raise ConfigError("data_missing", f"no clips in {data / 'clips'}", field="data")
    return found


def frames(clip: Path) -> Iterator[Pixels]:
    """The frames of a clip in order: uint8 [H, W, 3] RGB."""
    capture = cv2.VideoCapture(str(clip))
    try:
        while True:
            there, frame = capture.read()
            if not there:
                return
            yield np.ascontiguousarray(frame[..., ::-1])
    finally:
        capture.release()


def face_photos(data: Path, split: str) -> list[Path]:
    """Photos of one person each, of `train` or `val`. Raises `ConfigError` when there are none."""
    found = [path for path in Photos(data, split).files if path.name.startswith("face_")]
    if not found:
        raise ConfigError("data_missing", f"no photos of faces of split {split!r} in {data}", field="data")
    return found


def other_photos(data: Path) -> list[Path]:
    """Training photos that are not of one person each: clothes, animals, buildings, things, and now and then people."""
    return [path for path in Photos(data, "train").files if not path.name.startswith("face_")]


def empty_photos(data: Path) -> list[Path]:
    """Training photos with nobody in them: wallpapers, animals, buildings, things."""
    return [
        path
        for path in Photos(data, "train").files
        if path.name.startswith(_EMPTY) and not path.name.startswith(_PEOPLED)
    ]
