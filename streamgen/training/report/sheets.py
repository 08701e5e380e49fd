"""Contact sheets: JPEG files with a caption to every picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from streamgen.training.core.held_out import View
from streamgen.training.core.recipe import Style
from streamgen.training.core.scores import STRENGTHS, Renderings
from streamgen.training.data import Pixels, to_pixels

__all__ = ["CoreSheets", "encoded", "grid"]

_LETTERS = 16
_GAP = 6
_BACKGROUND, _INK = (16, 18, 22), (224, 228, 234)
_QUALITIES = (90, 85, 80, 75, 70, 65, 60, 50, 40)
_OVERVIEW_COLUMNS = 5
_MOST_ROWS = 6
_HALF = STRENGTHS.index(0.5)

Captioned = tuple[str, Pixels]


class CoreSheets:
    """The core's sheets: one for each style, and for each view one of all styles.

    Args:
        folder: they are written to ``folder/sheets``.
        views: what was stylised; the first few are shown.
    """

    def __init__(self, folder: Path, views: Sequence[View]) -> None:
        self._folder = folder
        self._views = views[:_MOST_ROWS]
        self._styles: dict[str, str] = {}
        self._by_view: list[list[Captioned]] = [[("source", view.pixels)] for view in self._views]
        (folder / "sheets").mkdir(parents=True, exist_ok=True)

    def add(self, style: Style, teacher: Tensor | None, made: Renderings) -> None:
        """Write the sheet of a style. Raises `OSError` when that cannot be done."""
        count = len(self._views)
        columns: dict[str, Tensor | None] = {
            "teacher": teacher,
            "1 step": made.one_step,
            "4 steps": made.four_steps,
            f"strength {STRENGTHS[_HALF]}": made.by_strength[_HALF],
            "another seed": made.other_seed,
        }
        shown = {title: to_pixels(pictures[:count]) for title, pictures in columns.items() if pictures is not None}
        rows = [
            (view.kind, view.pixels, [(title, pictures[index]) for title, pictures in shown.items()])
            for index, view in enumerate(self._views)
        ]
        captioned = [cell for kind, pixels, made_of_it in rows for cell in ((kind, pixels), *made_of_it)]
        self._styles[style.name] = self._write(f"style-{_slug(style.name)}", captioned, 1 + len(shown))
        for cells, picture in zip(self._by_view, shown["1 step"], strict=True):
            cells.append((style.name, picture))

    def finish(self) -> dict[str, dict[str, str]]:
        """Write the sheets of all styles; return every sheet's path in the folder: ``views`` by kind, ``styles``."""
        views = {
            view.kind: self._write(f"view-{_slug(view.kind)}", cells, _OVERVIEW_COLUMNS)
            for view, cells in zip(self._views, self._by_view, strict=True)
        }
        return {"views": views, "styles": self._styles}

    def _write(self, name: str, pictures: Sequence[Captioned], columns: int) -> str:
        path = f"sheets/{name}.jpg"
        grid(pictures, columns).save(self._folder / path, quality=_QUALITIES[0])
        return path


def grid(pictures: Sequence[Captioned], columns: int, letters: int = _LETTERS) -> Image.Image:
    """Pictures uint8 [H, W, 3], all of one size, in rows, each with its title below; ``letters`` pixels high."""
    height, width = pictures[0][1].shape[:2]
    across, down = width + _GAP, height + letters + 2 * _GAP
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * across - _GAP, rows * down), _BACKGROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(letters)
    for index, (title, pixels) in enumerate(pictures):
        x, y = index % columns * across, index // columns * down
        sheet.paste(Image.fromarray(pixels), (x, y))
        draw.text((x + _GAP, y + height + _GAP // 2), title, font=font, fill=_INK)
    return sheet


def encoded(sheet: Image.Image, most_bytes: int) -> bytes:
    """As JPEG at the best quality that keeps to ``most_bytes``, or else the lowest there is."""
    data = b""
    for quality in _QUALITIES:
        buffer = io.BytesIO()
        sheet.save(buffer, "JPEG", quality=quality, optimize=True, progressive=True)
        data = buffer.getvalue()
        if len(data) <= most_bytes:
            break
    return data


def _slug(name: str) -> str:
    return "-".join("".join(letter if letter.isalnum() else " " for letter in name).split())
