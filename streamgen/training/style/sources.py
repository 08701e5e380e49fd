"""Pictures to learn a style on: the user's own, or made ones, because nothing that a camera took is in the package."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from PIL import Image

from streamgen.errors import ConfigError
from streamgen.training.data import SIZE, Pixels, augmented, centre_crop
from streamgen.training.style.painting_file import LONGEST_SHAPE, MOST_PIXELS, eight_bits, readable_formats
from streamgen.training.style.scenes import scene

__all__ = ["Folder", "Scenes", "Sources"]

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
_MADE = 128
_MOST = 500
_SMALLEST = 64
_KEPT = 512


class Sources(Protocol):
    """Where pictures come from."""

    def draw(self, random: np.random.Generator) -> Pixels:
        """One to learn on: uint8 [256, 256, 3]."""

    def shown(self, count: int) -> list[Pixels]:
        """The ones that previews show, always the same: uint8 [256, 256, 3] each."""


class Scenes:
    """Crops of 128 made pictures, which are made when they are first drawn."""

    def __init__(self) -> None:
        self._made: dict[int, Pixels] = {}

    def draw(self, random: np.random.Generator) -> Pixels:
        return augmented(self._scene(int(random.integers(_MADE))), random)

    def shown(self, count: int) -> list[Pixels]:
        return [self._scene(seed) for seed in range(count)]

    def _scene(self, seed: int) -> Pixels:
        if seed not in self._made:
            self._made[seed] = scene(np.random.default_rng(seed))
        return self._made[seed]


class Folder:
    """Pictures of a folder and the folders in it, crops of which are drawn.

    At most 500 of them, evenly out of all, are kept in memory.
    """

    def __init__(self, folder: Path) -> None:
        """Read them. Raises `ConfigError` ``photos_missing`` when none can be read."""
        files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
        read = [_read(path) for path in files[:: -(-len(files) // _MOST) or 1]]
        self._pictures = [picture for picture in read if picture is not None]
        if not self._pictures:
            known = ", ".join(sorted(suffix[1:] for suffix in _SUFFIXES))
            raise ConfigError("photos_missing", f"no picture in {folder} can be read ({known})", field="photos")

    def draw(self, random: np.random.Generator) -> Pixels:
        return augmented(self._pictures[random.integers(len(self._pictures))], random)

    def shown(self, count: int) -> list[Pixels]:
        every = max(1, len(self._pictures) // count)
        return [centre_crop(picture, SIZE) for picture in self._pictures[::every][:count]]


def _read(path: Path) -> Pixels | None:
    """The picture, no larger than crops need; None where there is none, or none of a useful size."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what they warn of is checked below
            with Image.open(path, formats=readable_formats()) as image:
                if not _useful(*image.size):
                    return None
                picture = np.asarray(eight_bits(image).convert("RGB"), np.uint8)
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError):
        return None
    height, width = picture.shape[:2]
    share = _KEPT / min(height, width)
    if share >= 1:
        return picture
    size = (round(width * share), round(height * share))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _useful(width: int, height: int) -> bool:
    shorter, longer = sorted((width, height))
    return shorter >= _SMALLEST and longer <= LONGEST_SHAPE * shorter and width * height <= MOST_PIXELS
