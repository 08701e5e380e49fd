"""Pairs to learn from: a picture, and the same at half the size.

Large pictures are photos, paintings, what the classical teachers draw of photos at their full size, and what the core
paints.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from streamgen.config import ModelSpec
from streamgen.models.base import Model
from streamgen.models.tiny import TinyModel
from streamgen.settings import StreamSettings
from streamgen.training.core.teachers import CLASSICAL
from streamgen.training.data import Photos, Pixels, read_picture, to_pixels, to_tensor

__all__ = ["Gallery", "Painter", "drawn", "halve"]

_SHARES = {"photo": 0.5, "drawn": 0.2, "painted": 0.25, "painting": 0.05}
_CELL = 32
_SHRUNK_SHARE = 0.35
_MOST_SHRUNK = 1.7


class Painter:
    """The core at its default settings: one step from pure noise.

    Args:
        model: the embedded model.
    """

    def __init__(self, model: Model) -> None:
        self._model = model

    @classmethod
    def embedded(cls) -> Painter:
        """With the packaged weights. Raises `WeightsError` when they cannot be read."""
        return cls(TinyModel.load(ModelSpec()))

    @property
    def styles(self) -> tuple[str, ...]:
        return self._model.styles

    @torch.inference_mode()
    def paint(self, photo: Pixels, style: str, seed: int) -> Pixels:
        """`photo` uint8 [H, W, 3] in a style, at the same size; H and W multiples of 32."""
        model, source = self._model, to_tensor([photo])
        t = torch.full((1,), model.schedule.timesteps(1, 1.0)[0])
        noise = torch.randn(source.shape, generator=torch.Generator().manual_seed(seed))
        prompt = model.encode_prompt(style, model.loras) | model.live_conditioning(StreamSettings())
        cond = {name: value[None] for name, value in prompt.items()} | model.source_conditioning(source, source)
        picture: Pixels = to_pixels(model.denoise(model.schedule.start(source, noise, t), t, cond))[0]
        return picture


class Gallery:
    """A changing selection of large pictures.

    Args:
        data: folder with photos.csv, photos/ and paintings/.
        painter: paints those in the styles of the core.
        side: of a crop, pixels; even.
        random: draws the first selection.
        held: pictures at hand, from which crops are drawn; one of them is replaced for each batch.
    """

    def __init__(self, data: Path, painter: Painter, side: int, random: np.random.Generator, held: int = 256) -> None:
        """Raises `ConfigError` when there are no photos of split train."""
        self._side = side
        self._photos = Photos(data, "train")
        self._paintings = sorted((data / "paintings").glob("*.webp"))
        self._painter = painter
        self._pictures = [self._hang(random) for _ in range(held)]

    def draw(self, random: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
        """`count` crops with their small versions: [B, 3, side / 2, side / 2] and [B, 3, side, side] in [0, 1]."""
        self._pictures[random.integers(len(self._pictures))] = self._hang(random)
        crops = [self._crop(random) for _ in range(count)]
        large = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float().div(255)
        return halve(large), large

    def _hang(self, random: np.random.Generator) -> Pixels:
        """One picture of a kind drawn by its share, uint8 [H, W, 3]."""
        kinds: dict[str, Callable[[np.random.Generator], Pixels]] = {
            "photo": self._photo,
            "drawn": self._drawn,
            "painted": self._painted,
            "painting": self._painting if self._paintings else self._photo,
        }
        kind = random.choice(list(_SHARES), p=list(_SHARES.values()))
        return kinds[kind](random)

    def _photo(self, random: np.random.Generator) -> Pixels:
        """As it is, or somewhat smaller, which hides the marks of its compression."""
        picture = read_picture(self._photos.files[random.integers(len(self._photos.files))])
        if random.random() < _SHRUNK_SHARE:
            picture = self._shrunk(picture, random.uniform(1.0, _MOST_SHRUNK))
        return picture

    def _painting(self, random: np.random.Generator) -> Pixels:
        painting = read_picture(self._paintings[random.integers(len(self._paintings))])
        return self._shrunk(painting, random.uniform(1.0, _MOST_SHRUNK))

    def _drawn(self, random: np.random.Generator) -> Pixels:
        picture = read_picture(self._photos.files[random.integers(len(self._photos.files))])
        return drawn(picture, str(random.choice(list(CLASSICAL))))

    def _painted(self, random: np.random.Generator) -> Pixels:
        style = str(random.choice(self._painter.styles))
        return self._painter.paint(self._photos.draw(random), style, int(random.integers(2**31)))

    def _shrunk(self, picture: Pixels, factor: float) -> Pixels:
        """Smaller by `factor`, but no smaller than a crop."""
        height, width = picture.shape[:2]
        factor = max(1.0, min(factor, min(height, width) / self._side))
        size = round(width / factor), round(height / factor)
        return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)

    def _crop(self, random: np.random.Generator) -> Pixels:
        """A crop of a random picture, turned and mirrored at random."""
        side = self._side
        picture = self._pictures[random.integers(len(self._pictures))]
        height, width = picture.shape[:2]
        top, left = int(random.integers(height - side + 1)), int(random.integers(width - side + 1))
        crop = np.rot90(picture[top : top + side, left : left + side], k=int(random.integers(4)))
        return np.ascontiguousarray(crop[:, ::-1] if random.random() < 0.5 else crop)


def drawn(photo: Pixels, style: str) -> Pixels:
    """What a classical teacher makes of a photo uint8 [H, W, 3]: as large, but for what is over a multiple of 32."""
    height, width = (length // _CELL * _CELL for length in photo.shape[:2])
    return CLASSICAL[style](np.ascontiguousarray(photo[:height, :width]))


def halve(pictures: Tensor) -> Tensor:
    """Half the size by antialiased bicubic scaling (Keys 1981, a = -0.5), as the field asks it, rounded to 8 bits.

    [B, 3, H, W] in [0, 1] to [B, 3, H / 2, W / 2].
    """
    small = F.interpolate(pictures, scale_factor=0.5, mode="bicubic", antialias=True)
    return small.clamp(0, 1).mul(255).round().div(255)
