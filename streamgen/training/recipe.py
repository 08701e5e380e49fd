"""What the embedded model learns: its styles in the order of the weights file, and who teaches each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["STYLES", "Style"]


@dataclass(frozen=True, slots=True)
class Style:
    """One style of the embedded model.

    Args:
        name: what a prompt calls it; stored in the weights file.
        teacher: `classical` (image processing), `multistyle` (the Magenta network) or `painting` (no teacher network,
            one picture and a perceptual loss).
        key: the function's name, the network's style number, or the painting's file name without its suffix.
    """

    name: str
    teacher: Literal["classical", "multistyle", "painting"]
    key: str


STYLES = (
    Style("pencil", "classical", "pencil"),
    Style("comic", "classical", "comic"),
    Style("neon", "classical", "neon"),
    Style("watercolor", "classical", "watercolor"),
    Style("poster", "classical", "poster"),
    Style("van gogh", "multistyle", "19"),
    Style("great wave", "multistyle", "24"),
    Style("etching", "multistyle", "11"),
    Style("pastel", "multistyle", "12"),
    Style("expressionist", "multistyle", "13"),
    Style("kandinsky", "painting", "19_wassily_kandinsky_composition_viii_1923"),
)
