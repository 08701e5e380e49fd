"""What the embedded model learns: its styles in the order of the weights file, and who teaches each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["PAINTINGS", "STYLES", "Style"]

PAINTINGS: dict[str, str] = {
    "ukiyo-e": "10_katsushika_hokusai_viewing_sunset",
    "renoir": "18_pierre_auguste_renoir_girls_at_the_piano",
    "kandinsky": "19_wassily_kandinsky_composition_viii",
}
"""Styles taught by networks of our own, and how the file name of the painting that taught them begins."""


@dataclass(frozen=True, slots=True)
class Style:
    """One style of the embedded model.

    Args:
        name: what a prompt calls it; stored in the weights file.
        teacher: `classical` (image processing), `multistyle` (the Magenta network) or `painter` (our own network).
        key: the function's name, the network's style number, or a key of `PAINTINGS`.
        share: how often it is drawn, relative to the others; more for what is learned slowly.
        anchored: its grid belongs to the screen and does not move with the scene.
    """

    name: str
    teacher: Literal["classical", "multistyle", "painter"]
    key: str
    share: float = 1.0
    anchored: bool = False

    @property
    def crisp(self) -> bool:
        """Whether its lines and flat cells follow from the source to the pixel."""
        return self.teacher == "classical"


STYLES = (
    Style("pencil", "classical", "pencil", share=0.5),
    Style("charcoal", "classical", "charcoal", share=0.5, anchored=True),
    Style("ink", "classical", "ink_wash", share=0.7),
    Style("engraving", "classical", "engraving", share=1.2, anchored=True),
    Style("comic", "classical", "comic", share=4.0),
    Style("neon", "classical", "neon", share=1.1),
    Style("watercolor", "classical", "watercolor", share=4.0, anchored=True),
    Style("poster", "classical", "poster", share=1.3),
    Style("oil", "classical", "oil", share=4.0),
    Style("halftone", "classical", "halftone", share=0.8, anchored=True),
    Style("risograph", "classical", "risograph", share=1.2, anchored=True),
    Style("pixel art", "classical", "pixel_art", share=2.0, anchored=True),
    Style("low poly", "classical", "low_poly", share=4.0, anchored=True),
    Style("mosaic", "classical", "mosaic", share=1.6, anchored=True),
    Style("blueprint", "classical", "blueprint", share=0.8, anchored=True),
    Style("van gogh", "multistyle", "19", share=1.2),
    Style("great wave", "multistyle", "24", share=0.6),
    Style("etching", "multistyle", "11", share=0.6),
    Style("pastel", "multistyle", "12", share=0.6),
    Style("expressionist", "multistyle", "13", share=0.8),
    Style("stained glass", "multistyle", "15", share=1.0),
    Style("ukiyo-e", "painter", "ukiyo-e", share=0.8),
    Style("renoir", "painter", "renoir", share=0.8),
    Style("kandinsky", "painter", "kandinsky", share=0.8),
)
