"""The process that writes one connection or file.

A process, because FFmpeg's calls that open and close a connection hold Python's interpreter lock, and one to a server
that does not answer takes minutes: in a thread it would stop the whole server meanwhile, and could not be ended.

It is told one thing at a time and answers each, so that the newest picture always waits at the other end:

==================  ===========================  =============================================
told                then                         answered once
==================  ===========================  =============================================
at the start        imports its libraries        it listens
``Job``             opens                        it is open
``Show``            encodes and writes           it is written
``None``, or end    closes                       it is complete
==================  ===========================  =============================================

The answer is None, or a sentence that says what went wrong; after that one the process ends.
"""

from __future__ import annotations

import signal
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from multiprocessing.connection import Connection
from typing import Any, Self, cast

import av
import numpy as np
from av.error import FFmpegError
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from streamgen.colours import tag_bt709, to_yuv
from streamgen.frames import Pixels
from streamgen.media import reason_of
from streamgen.server.publish_target import Job

__all__ = ["Show", "run_stream"]

_TIME_BASE = Fraction(1, 1000)
_KEYFRAME_S = 1.0
_ONE_THREAD_PIXELS = 640 * 640  # which 30 frames a second leave half a core; the other cores compute the pictures
_NOMINAL_FPS = 30  # for the encoder's budget; the frames carry their real times


@dataclass(frozen=True, slots=True)
class Show:
    """A picture and its time.

    Args:
        time_s: monotonic seconds.
        pixels: uint8 [H, W, 3]; None for the last picture once more.
    """

    time_s: float
    pixels: Pixels | None = None


def run_stream(orders: Connection) -> None:
    """Entry point of the process. Ends when told to, when it cannot go on, or when the server is gone."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # they reach the whole group; the server says when to stop
    try:
        orders.send(None)
        job: Job | None = _next(orders)
        if job is not None:
            _write(orders, job)
    except (OSError, FFmpegError) as error:
        with suppress(OSError):  # the server is gone
            orders.send(reason_of(error))


def _write(orders: Connection, job: Job) -> None:
    with _Stream(job) as stream:
        orders.send(None)
        show: Show | None
        while (show := _next(orders)) is not None:
            stream.show(show)
            orders.send(None)
    orders.send(None)


def _next(orders: Connection) -> Any:
    """What is told next; None for the end, and when the server is gone."""
    try:
        return orders.recv()
    except EOFError:
        return None


class _Stream:
    """An encoder and a muxer. Use as a context manager; leaving it completes the file."""

    def __init__(self, job: Job) -> None:
        self._size = job.width, job.height
        self._frame: VideoFrame | None = None
        self._began_s = self._key_s = 0.0
        self._pts = -1
        self._container = av.open(job.url, "w", format=job.container, container_options=job.muxer)
        self._video = cast(VideoStream, self._container.add_stream(job.codec, _NOMINAL_FPS, options=job.encoder))
        self._video.width, self._video.height = self._size
        self._video.pix_fmt = "yuv420p"
        context = self._video.codec_context
        self._video.time_base = context.time_base = _TIME_BASE
        context.thread_count = 1 if job.width * job.height <= _ONE_THREAD_PIXELS else 2
        context.gop_size = 1 << 16  # keyframes come by the clock
        tag_bt709(self._video)
        self._container.start_encoding()

    def show(self, show: Show) -> None:
        """Write a picture, of whatever size."""
        if show.pixels is not None:
            self._frame = to_yuv(_letterboxed(show.pixels, *self._size))
        frame = self._frame
        assert frame is not None, "the first picture cannot be the last one once more"
        due = self._pts < 0 or show.time_s - self._key_s >= _KEYFRAME_S
        if self._pts < 0:
            self._began_s = show.time_s
        if due:
            self._key_s = show.time_s
        self._pts = max(round((show.time_s - self._began_s) / _TIME_BASE), self._pts + 1)
        frame.pts, frame.time_base = self._pts, _TIME_BASE
        frame.pict_type = PictureType.I if due else PictureType.NONE
        self._container.mux(self._video.encode(frame))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._container.mux(self._video.encode(None))
            self._container.close()
        except (OSError, FFmpegError):
            if kind is None:
                raise


def _letterboxed(pixels: Pixels, width: int, height: int) -> Pixels:
    """Fit uint8 [H, W, 3] into ``width`` x ``height``, black around it."""
    real_height, real_width = pixels.shape[:2]
    if (real_width, real_height) == (width, height):
        return pixels
    scale = min(width / real_width, height / real_height)
    inner_width, inner_height = max(1, round(real_width * scale)), max(1, round(real_height * scale))
    inner = VideoFrame.from_ndarray(pixels, format="rgb24").reformat(inner_width, inner_height)
    x, y = (width - inner_width) // 2, (height - inner_height) // 2
    canvas = np.zeros((height, width, 3), np.uint8)
    canvas[y : y + inner_height, x : x + inner_width] = inner.to_ndarray(format="rgb24")
    return canvas
