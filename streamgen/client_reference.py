"""The reference picture of the Python SDK: made small enough for a text message, and kept for the next session."""

from __future__ import annotations

import asyncio
import base64
import logging
import math
from collections.abc import Awaitable, Callable

import numpy as np

from streamgen.client_link import Link
from streamgen.codec import REFERENCE_SIDES, check_type, encode
from streamgen.errors import CodecError, StreamgenError
from streamgen.frames import Pixels
from streamgen.protocol import MAX_TEXT_CHARACTERS, Reference, Referenced
from streamgen.wire import Codec

__all__ = ["ReferenceKeeper", "encode_reference", "shrink"]

_LOG = logging.getLogger("streamgen.client")

_MAX_CHARACTERS = MAX_TEXT_CHARACTERS - 1024
"""Leaves room for the rest of the message."""
_SIDES = (512, 384, 256, 192)
"""Of the longer side, in turn until the picture is small enough; image encoders look at 224 to 336 pixels."""
_QUALITIES = (90, 75, 60)


class ReferenceKeeper:
    """What a stream knows of its reference picture. The server keeps it as long as the session; this, for one after."""

    def __init__(self) -> None:
        self._image: str | None = None
        self._asking = 0

    async def ask(self, pixels: Pixels | None, ask: Callable[[Reference], Awaitable[Referenced]]) -> None:
        """Have another picture put in force, or none. Raises as ``encode_reference`` and ``ask``."""
        image = None if pixels is None else await asyncio.to_thread(encode_reference, pixels)
        self._asking += 1
        try:
            await ask(Reference(image=image))
        finally:
            self._asking -= 1
        self._image = image

    async def ask_again(self, link: Link) -> None:
        """Tell a new connection of the picture in force, if its session knows of none and is not just told of another.

        The server may refuse it now, because it was started with another model: the stream goes on without.
        """
        if self._image is None or self._asking or link.welcome.resumed:
            return
        try:
            await link.ask(Reference(image=self._image), Referenced)
        except StreamgenError as error:
            if error.code != "superseded":
                _LOG.warning("the reference picture is lost: %s", error.message)


def encode_reference(pixels: Pixels) -> str:
    """The picture as a JPEG in base64, as large and as good as a text message takes.

    Args:
        pixels: uint8 [H, W, 3] RGB, of any size from 16x16.

    Raises:
        CodecError: ``bad_pixels`` or ``bad_image``.
    """
    check_type(pixels)
    height, width = pixels.shape[:2]
    if min(height, width) < REFERENCE_SIDES[0]:
        fact = f"a reference picture has sides of {REFERENCE_SIDES[0]} pixels or more, got {width}x{height}"
        raise CodecError("bad_image", fact, field="image")
    for side in _SIDES:
        small = shrink(pixels, side)
        for quality in _QUALITIES:
            image = base64.b64encode(encode(small, Codec.JPEG, quality)).decode("ascii")
            if len(image) <= _MAX_CHARACTERS:
                return image
    return image  # so small that it fits in any case


def shrink(pixels: Pixels, side: int) -> Pixels:
    """The picture with its longer side at most ``side``, by area means; a very long one is squeezed rather than made
    thinner than a reference picture may be."""
    scale = min(1.0, side / max(pixels.shape[:2]))
    height, width = (min(size, max(REFERENCE_SIDES[0], round(size * scale))) for size in pixels.shape[:2])
    rows = _area_means(pixels, height)
    columns = _area_means(rows.swapaxes(0, 1), width)
    return columns.swapaxes(0, 1).round().astype(np.uint8)


def _area_means(values: np.ndarray, count: int) -> np.ndarray:
    """``count`` means [count, ...] of equal parts of the first axis; parts may end inside a pixel."""
    length = len(values)
    if count == length:
        return values
    means = np.empty((count, *values.shape[1:]), np.float32)
    for index in range(count):
        start, end = index * length / count, (index + 1) * length / count
        first, last = math.floor(start), min(math.ceil(end), length)
        pixels = np.arange(first, last)
        weights = np.minimum(pixels + 1, end) - np.maximum(pixels, start)
        means[index] = np.tensordot((weights / weights.sum()).astype(np.float32), values[first:last], axes=1)
    return means
