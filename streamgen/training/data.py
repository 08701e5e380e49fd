"""Photos to learn on: read from the data folder, cropped, augmented."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from streamgen.errors import ConfigError

__all__ = ["SIZE", "Photos", "augmented", "centre_crop", "read_picture", "to_pixels", "to_tensor"]

SIZE = 256
_FACE_WEIGHT = 2.0

Pixels = NDArray[np.uint8]


class Photos:
    """The photos of one split of `photos.csv` (columns `file` and `split`; files lie in `photos/`).

    Files whose name starts with `face` are drawn twice as often: people point cameras at people.
    """

    def __init__(self, data: Path, split: str) -> None:
        """List the split. Raises `ConfigError` when the folder holds no such photos."""
        table = data / "photos.csv"
        if not table.is_file():
            raise ConfigError("data_missing", f"no photos.csv in {data}", field="data")
        with table.open(newline="", encoding="utf-8") as rows:
            names = [row["file"] for row in csv.DictReader(rows) if row["split"] == split]
        self.files = [data / "photos" / name for name in names]
        if not self.files:
            raise ConfigError("data_missing", f"no photos of split {split!r} in {table}", field="data")
        weights = np.array([_FACE_WEIGHT if name.startswith("face") else 1.0 for name in names])
        self._chances = weights / weights.sum()

    def draw(self, random: np.random.Generator) -> Pixels:
        """One augmented crop: uint8 [256, 256, 3] RGB."""
        picture = read_picture(self.files[random.choice(len(self.files), p=self._chances)])
        return augmented(picture, random)

    def draw_of_few(self, random: np.random.Generator, count: int) -> tuple[Pixels, str]:
        """One of ``count`` crops that are always the same, and its name, for teachers whose pictures are kept."""
        which = int(random.integers(count))
        return self.draw(np.random.default_rng(which)), f"{which:05d}"


def read_picture(path: Path) -> Pixels:
    """Decode a file to uint8 [H, W, 3] RGB."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def augmented(picture: Pixels, random: np.random.Generator) -> Pixels:
    """A crop of a picture, perhaps mirrored and in other light: uint8 [256, 256, 3]."""
    return _relight(_crop(picture, random), random)


def centre_crop(picture: Pixels, size: int = SIZE) -> Pixels:
    """The largest centred square, resized to uint8 [size, size, 3]."""
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return _resize(picture[top : top + side, left : left + side], size)


def to_tensor(pictures: list[Pixels]) -> Tensor:
    """uint8 [H, W, 3] each to float32 [B, 3, H, W] in [-1, 1]."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_pixels(images: Tensor) -> Pixels:
    """float [B, 3, H, W], clamped to [-1, 1], to uint8 [B, H, W, 3]."""
    return np.asarray(((images.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy())


def _crop(picture: Pixels, random: np.random.Generator) -> Pixels:
    height, width = picture.shape[:2]
    side = int(min(height, width) * random.uniform(0.6, 1.0))
    top, left = int(random.integers(height - side + 1)), int(random.integers(width - side + 1))
    square = _resize(picture[top : top + side, left : left + side], SIZE)
    return square[:, ::-1].copy() if random.random() < 0.5 else square


def _relight(picture: Pixels, random: np.random.Generator) -> Pixels:
    """Exposure, contrast and white balance of other rooms and cameras, for half of the pictures."""
    if random.random() < 0.5:
        return picture
    light = (picture.astype(np.float32) / 255) ** random.uniform(0.75, 1.4)
    light = (light - 0.5) * random.uniform(0.75, 1.15) + 0.5 + random.uniform(-0.08, 0.08)
    light = light * random.uniform(0.9, 1.1, 3).astype(np.float32)
    return np.clip(light * 255 + 0.5, 0, 255).astype(np.uint8)


def _resize(picture: Pixels, size: int) -> Pixels:
    method = cv2.INTER_AREA if picture.shape[0] > size else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (size, size), interpolation=method), np.uint8)
