"""Everything that says what a style looks like, behind one call."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from streamgen.training.core.classical import CLASSICAL
from streamgen.training.core.multistyle import MultiStyle
from streamgen.training.core.recipe import Style
from streamgen.training.data import Pixels, to_tensor

__all__ = ["Teachers"]


class Teachers:
    """The teachers of every style in `STYLES`."""

    def __init__(self, data: Path) -> None:
        """Read the network from the data folder. Raises `FileNotFoundError` when it is missing."""
        self._network = MultiStyle(data / "teachers" / "multistyle26.npz")

    def picture(self, photo: Pixels, style: Style) -> Tensor:
        """The teacher's rendering [3, H, W] in [-1, 1] of a photo uint8 [H, W, 3]."""
        if style.teacher == "classical":
            return to_tensor([CLASSICAL[style.key](photo)])[0]
        return self._network(to_tensor([photo]), int(style.key))[0]
