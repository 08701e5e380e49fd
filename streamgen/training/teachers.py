"""Everything that says what a style looks like, behind one call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import torch
from torch import Tensor

from streamgen.training.classical import CLASSICAL
from streamgen.training.data import Pixels, read_picture, to_tensor
from streamgen.training.losses import Taps, grams
from streamgen.training.multistyle import MultiStyle
from streamgen.training.recipe import STYLES, Style

__all__ = ["Teachers"]

_PAINTING_HEIGHT = 320


class Teachers:
    """The teachers of every style in `STYLES`, read from the data folder."""

    def __init__(self, data: Path, features: Callable[[Tensor], Taps]) -> None:
        """Read the network and the paintings, whose Gram matrices are of `features`.

        Raises `FileNotFoundError` when one is missing.
        """
        self._network = MultiStyle(data / "teachers" / "multistyle26.npz")
        self._grams = {
            style.name: _painting_grams(data / "paintings" / f"{style.key}.webp", features)
            for style in STYLES
            if style.teacher == "painting"
        }

    def picture(self, photo: Pixels, style: Style) -> Tensor | None:
        """The teacher's rendering [3, H, W] in [-1, 1] of a photo uint8 [H, W, 3]; None for painting styles."""
        if style.teacher == "classical":
            return to_tensor([CLASSICAL[style.key](photo)])[0]
        if style.teacher == "multistyle":
            return self._network(to_tensor([photo]), int(style.key))[0]
        return None

    def grams(self, style: Style) -> Taps:
        """Gram matrices [1, C, C] of a painting style, by tap. Raises `KeyError` for other styles."""
        return self._grams[style.name]


def _painting_grams(path: Path, features: Callable[[Tensor], Taps]) -> Taps:
    painting = read_picture(path)
    height, width = painting.shape[:2]
    size = (round(width * _PAINTING_HEIGHT / height), _PAINTING_HEIGHT)
    image = to_tensor([cv2.resize(painting, size, interpolation=cv2.INTER_AREA)])  # type: ignore[list-item]
    with torch.no_grad():
        return grams(features(image))
