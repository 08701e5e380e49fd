"""Everything that says what a style looks like, behind one call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from streamgen.training.core import classical, printed
from streamgen.training.core.image_ops import Pixels
from streamgen.training.core.multistyle import MultiStyle
from streamgen.training.core.painters import Painters
from streamgen.training.core.recipe import Style
from streamgen.training.data import to_pixels, to_tensor
from streamgen.training.files import digest, write_whole

__all__ = ["CLASSICAL", "Teachers"]

CLASSICAL: dict[str, Callable[[Pixels], Pixels]] = {
    name: getattr(module, name) for module in (classical, printed) for name in module.__all__
}


class Teachers:
    """The teachers of every style in `STYLES`.

    Args:
        data: folder with `teachers/multistyle26.npz`. Raises `FileNotFoundError` when it is missing.
        painters: file of the networks taught by paintings; while there is none, their styles are not `known`.
        bank: folder where pictures by networks are kept, because they cost far more than reading them again; by what
            is in the network's file, so that another network of that name begins anew.
    """

    def __init__(self, data: Path, painters: Path, bank: Path | None = None) -> None:
        multistyle = data / "teachers" / "multistyle26.npz"
        self._network = MultiStyle(multistyle)
        self._painters = Painters.load(painters) if painters.is_file() else None
        self._kept: dict[str, Path] = {}
        if bank is not None:
            files = {"multistyle": multistyle, "painter": painters}
            self._kept = {teacher: bank / digest(file) for teacher, file in files.items() if file.is_file()}
            for folder in self._kept.values():
                folder.mkdir(parents=True, exist_ok=True)

    def known(self, style: Style) -> bool:
        """Whether there is a teacher of the style."""
        return style.teacher != "painter" or self._painters is not None

    def picture(self, photo: Pixels, style: Style, name: str | None = None) -> Pixels:
        """The teacher's rendering, uint8 [H, W, 3], of a photo of that shape.

        Args:
            photo: the picture.
            style: in which style.
            name: of the photo, the same for the same pixels always; what has one may be read from the bank.
        """
        if style.teacher == "classical":
            return CLASSICAL[style.key](photo)
        if style.teacher not in self._kept or name is None:
            return self._paint(photo, style)
        file = self._kept[style.teacher] / f"{style.key}-{name}.npy"
        if file.is_file():
            return np.asarray(np.load(file), np.uint8)
        picture = self._paint(photo, style)
        write_whole(file, lambda opened: np.save(opened, picture))
        return picture

    def _paint(self, photo: Pixels, style: Style) -> Pixels:
        source = to_tensor([photo])
        if style.teacher == "multistyle":
            return np.asarray(to_pixels(self._network(source, int(style.key)))[0], np.uint8)
        assert self._painters is not None
        return np.asarray(to_pixels(self._painters(source, style.key))[0], np.uint8)
