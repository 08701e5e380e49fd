"""The picture that a style is learned from, or what is wrong with it."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from streamgen.errors import MediaError
from streamgen.training.data import Pixels
from streamgen.training.painting import PAINTING_HEIGHT

__all__ = ["LONGEST_SHAPE", "MOST_PIXELS", "eight_bits", "height_for", "read_painting", "readable_formats"]

MOST_PIXELS = 100_000_000
"""Larger pictures are not decoded."""
LONGEST_SHAPE = 6
"""How many times as long as wide a picture may be."""

_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM")
_SHORTEST = 128
_USEFUL = 2048
_SAMPLED = 512
_FLAT = 2.0


def read_painting(path: Path) -> Pixels:
    """Decode a picture, upright, on white where it is transparent: uint8 [H, W, 3].

    The shorter side has at most 2,048 pixels: more would not be looked at.

    Raises:
        MediaError: ``picture_missing``, ``picture_unreadable``, ``picture_too_small``, ``picture_too_large``,
            ``picture_too_long`` or ``picture_flat``; the field is ``painting``.
    """
    if not path.is_file():
        raise _error("picture_missing", f"no picture at {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what they warn of is checked below
            with Image.open(path, formats=readable_formats()) as image:
                _check_size(path, *image.size)
                image.draft("RGB", (_USEFUL, _USEFUL))
                picture = _flattened(eight_bits(ImageOps.exif_transpose(image)))
    except Image.DecompressionBombError as error:
        raise _error("picture_too_large", f"{path} has more than {MOST_PIXELS:,} pixels: make it smaller") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # all of these are Pillow's words for a broken file
        raise _error("picture_unreadable", f"{path} is no picture that can be read here: {error}") from error
    step = -(-min(picture.shape[:2]) // _SAMPLED)
    if picture[::step, ::step].std(axis=(0, 1)).max() < _FLAT:
        raise _error("picture_flat", f"{path} has one colour only: there is no style in it")
    return picture


def readable_formats() -> tuple[str, ...]:
    """What Pillow may read here. It knows more formats, and runs other programs for some of them."""
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def eight_bits(image: Image.Image) -> Image.Image:
    """A grey picture of 16 bits in 8, for Pillow would make all that is not almost black white; others as they are.

    Raises:
        ValueError: it has more bits than 16, or floating-point numbers, of which nothing says how bright they are.
    """
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers")
    if not image.mode.startswith("I"):
        return image
    deep = np.asarray(image)
    if deep.min() < 0 or deep.max() > 0xFFFF:
        raise ValueError("its pixels have more than 16 bits")
    shallow = (deep >> 8).astype(np.uint8)
    if "transparency" in image.info:
        shallow[deep == image.info["transparency"]] = 255
    return Image.fromarray(shallow)


def height_for(painting: Pixels, scale: float) -> int:
    """How high to look at a painting uint8 [H, W, 3], in pixels: its area is that of a 4:3 one of `PAINTING_HEIGHT`.

    By height alone, the strokes of a tall picture would come out much finer than those of a wide one.
    """
    height, width = painting.shape[:2]
    return round(PAINTING_HEIGHT * scale * math.sqrt(4 / 3 * height / width))


def _check_size(path: Path, width: int, height: int) -> None:
    size = f"{path} has {width}x{height} pixels"
    if width * height > MOST_PIXELS:
        raise _error("picture_too_large", f"{size}: more than {MOST_PIXELS:,} are refused, make it smaller")
    if min(width, height) < _SHORTEST:
        raise _error("picture_too_small", f"{size}: strokes need at least {_SHORTEST} on the shorter side")
    if max(width, height) > LONGEST_SHAPE * min(width, height):
        raise _error("picture_too_long", f"{size}: more than {LONGEST_SHAPE} times as long as wide, cut a part out")


def _flattened(image: Image.Image) -> Pixels:
    shorter = min(image.size)
    if shorter > _USEFUL:
        size = (round(side * _USEFUL / shorter) for side in image.size)
        image = image.resize((next(size), next(size)), Image.Resampling.LANCZOS, reducing_gap=2.0)
    if "A" in image.getbands() or "transparency" in image.info:
        seen = image.convert("RGBA")
        image = Image.new("RGBA", seen.size, "white")
        image.alpha_composite(seen)
    return np.asarray(image.convert("RGB"), np.uint8)


def _error(code: str, message: str) -> MediaError:
    return MediaError(code, message, field="painting")
