"""Files of a training run: whole or not there, and known by what is in them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

__all__ = ["digest", "write_whole"]


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Have ``write`` fill a file, and put it in the place of what was there only when it is complete.

    Raises `OSError` when that cannot be done.
    """
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as file:
        write(file)
    partial.replace(path)


def digest(path: Path) -> str:
    """12 hexadecimal digits that are the same for the same content. Raises `OSError` when it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]
