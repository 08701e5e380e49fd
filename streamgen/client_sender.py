"""The frames of the Python SDK on their way out: the newest one waits, one is being sent."""

from __future__ import annotations

import asyncio
import operator
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from streamgen.client_link import Link
from streamgen.client_statistics import Counter
from streamgen.codec import check_pixels, encode
from streamgen.frames import Pixels
from streamgen.pacing import CLIENT_BURST, Pacer
from streamgen.wire import HEADER_BYTES, Codec, FrameHeader, Kind

__all__ = ["INLINE_PIXELS", "Sender"]

INLINE_PIXELS = 512 * 512
"""Up to here the JPEG codec takes half a millisecond, which is less than handing it to a thread costs under load."""
_QUALITY_STEP = 20
_LEAST_QUALITY = 15


@dataclass(frozen=True, slots=True)
class _Unsent:
    pixels: Pixels
    number: int
    captured_us: int


class Sender:
    """A one-place slot for the newest frame, over all connections of a stream.

    Args:
        quality: of JPEG.
        max_fps: the rate agreed with the server, read for every frame.
        counter: is told of frames that go out or are replaced.
    """

    def __init__(self, quality: int, max_fps: Callable[[], int], counter: Counter) -> None:
        self._quality = quality
        self._counter = counter
        self._max_fps = max_fps
        self._count = 0
        self._unsent: _Unsent | None = None
        self._filled = asyncio.Event()
        self._pacer = Pacer(CLIENT_BURST)

    def put(self, pixels: Pixels, captured_us: int | None) -> int:
        """Replace the frame that waits by a copy of this one; returns its number.

        Raises:
            CodecError: ``bad_pixels`` or ``frame_too_large``.
            TypeError: ``captured_us`` is no whole number.
        """
        check_pixels(pixels)
        number = self._count
        self._count += 1
        stamp = time.time_ns() // 1000 if captured_us is None else operator.index(captured_us)
        self._counter.replaced += self._unsent is not None
        self._unsent = _Unsent(np.array(pixels, order="C"), number, stamp)
        self._filled.set()
        return number

    async def run(self, link: Link) -> None:
        """Send the newest frame whenever the server and the agreed rate allow it, until cancelled.

        Raises:
            ConnectionClosed: the connection was lost.
        """
        while True:
            await link.credit()
            await self._wait_out_rate()
            frame = await self._take()
            self._pacer.admit(asyncio.get_running_loop().time(), self._max_fps())
            payload = await self._encode(frame.pixels, link.welcome.limits.max_message_bytes - HEADER_BYTES)
            height, width = frame.pixels.shape[:2]
            header = FrameHeader(Kind.INPUT, Codec.JPEG, width, height, seq=0, captured_us=frame.captured_us)
            await link.send_frame(header, payload, frame.number)
            self._counter.sent += 1

    async def _wait_out_rate(self) -> None:
        """The server drops what comes faster than agreed; waiting here keeps the newest frame instead."""
        clock = asyncio.get_running_loop().time
        while (wait_s := self._pacer.wait_s(clock(), self._max_fps())) > 0:
            await asyncio.sleep(wait_s)

    async def _take(self) -> _Unsent:
        while self._unsent is None:
            self._filled.clear()
            await self._filled.wait()
        frame, self._unsent = self._unsent, None
        return frame

    async def _encode(self, pixels: Pixels, max_bytes: int) -> bytes:
        if pixels.shape[0] * pixels.shape[1] <= INLINE_PIXELS:
            return _encode_within(pixels, self._quality, max_bytes)
        return await asyncio.to_thread(_encode_within, pixels, self._quality, max_bytes)


def _encode_within(pixels: Pixels, quality: int, max_bytes: int) -> bytes:
    """The server disconnects whoever sends more than it said; four megapixels of leaves and grass come to that."""
    payload = encode(pixels, Codec.JPEG, quality)
    while len(payload) > max_bytes and quality > _LEAST_QUALITY:
        quality = max(_LEAST_QUALITY, quality - _QUALITY_STEP)
        payload = encode(pixels, Codec.JPEG, quality)
    return payload
