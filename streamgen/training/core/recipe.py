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
        teacher: `classical` (image processing) or `multistyle` (the Magenta network).
        key: the function's name, or the network's style number.
        share: how often it is drawn, relative to the others; more for what is learned slowly.
    """

    name: str
    teacher: Literal["classical", "multistyle"]
    key: str
    share: float = 1.0


STYLES = (
    Style("pencil", "classical", "pencil"),
    Style("comic", "classical", "comic", share=3.0),
    Style("neon", "classical", "neon"),
    Style("watercolor", "classical", "watercolor", share=2.0),
    Style("poster", "classical", "poster"),
    Style("van gogh", "multistyle", "19", share=1.5),
    Style("great wave", "multistyle", "24"),
    Style("etching", "multistyle", "11"),
    Style("pastel", "multistyle", "12"),
    Style("expressionist", "multistyle", "13"),
    Style("stained glass", "multistyle", "15", share=1.5),
)
