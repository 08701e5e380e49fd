"""Contact sheets: photos down, styles across."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

__all__ = ["save_sheet"]


def save_sheet(path: Path, rows: list[list[NDArray[np.uint8]]], titles: list[str]) -> None:
    """Write pictures uint8 [H, W, 3], all of one size, as one PNG with a title over each column.

    Raises `OSError` when the file cannot be written.
    """
    sheet = Image.fromarray(np.concatenate([np.concatenate(row, axis=1) for row in rows]))
    draw = ImageDraw.Draw(sheet)
    width = rows[0][0].shape[1]
    for column, title in enumerate(titles):
        draw.rectangle((column * width, 0, column * width + 7 * len(title) + 6, 13), fill=(0, 0, 0))
        draw.text((column * width + 3, 1), title, fill=(255, 255, 255))
    partial = path.with_suffix(".partial.png")
    sheet.save(partial)
    partial.replace(path)
