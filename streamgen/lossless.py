"""Lossless video: FFV1 in Matroska, RGB as it is, with or without alpha.

JPEGs as they came would be smaller, but what they decode to depends on the decoder's version, and frames that came as
video have none. FFV1 gives back the very bytes. Every frame is a keyframe and clusters are short, so a file that was
cut off, by a full disk or a killed process, can be read but for its last tenth of a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import IO, cast

import av
import numpy as np
from av.error import FFmpegError
from av.video.frame import VideoFrame

from streamgen.errors import MediaError
from streamgen.frames import Pixels
from streamgen.media import AudioPacket, Picture, Sink, reason_of

__all__ = ["LosslessSink", "LosslessWriter", "read_lossless"]

_DISCARD_CORRUPT = cast(int, av.container.Flags.discard_corrupt.value)
_TIME_BASE = Fraction(1, 1000)  # Matroska's own
_CODEC = {"level": "3", "coder": "rice", "context": "0", "slices": "4", "slicecrc": "1"}
_CONTAINER = {"cluster_time_limit": "100", "flush_packets": "1"}


class _Pipe:
    """A file that cannot be wound back, so that what was written once stays as it is."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        """All of it, or ``OSError``: half of it would leave a hole behind which nothing can be read."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]
        return len(data)


class LosslessWriter:
    """Writes pictures of one shape. Call ``close()`` when done.

    Args:
        file: unbuffered; stays open.
        shape: height, width and channels, 3 or 4.
    """

    def __init__(self, file: IO[bytes], shape: tuple[int, int, int]) -> None:
        height, width, channels = shape
        self._source, self._stored = ("rgb24", "bgr0") if channels == 3 else ("rgba", "bgra")
        self._pts = -1
        self._container = av.open(_Pipe(file), "w", format="matroska", container_options=_CONTAINER)
        self._video = self._container.add_stream("ffv1", options=_CODEC)
        self._video.width, self._video.height, self._video.pix_fmt = width, height, self._stored
        self._video.time_base = self._video.codec_context.time_base = _TIME_BASE
        self._video.codec_context.thread_count = 1  # the other cores compute
        self._container.start_encoding()

    def write(self, pixels: Pixels, time_s: float) -> None:
        """Append a picture.

        Raises:
            OSError: it cannot be written.
        """
        frame = VideoFrame.from_ndarray(pixels, format=self._source).reformat(format=self._stored)
        self._pts = max(round(time_s / _TIME_BASE), self._pts + 1)
        frame.pts, frame.time_base = self._pts, _TIME_BASE
        self._container.mux(self._video.encode(frame))

    def close(self) -> None:
        """Complete the file.

        Raises:
            OSError: it cannot be completed; what was written before can be read.
        """
        self._container.mux(self._video.encode(None))
        self._container.close()

    def abandon(self) -> None:
        """Let go of the file as it is."""
        with suppress(OSError, FFmpegError):
            self._container.close()


class LosslessSink(Sink):
    """A lossless video among the other sinks of ``media``.

    Args:
        path: of the file.
        shape: height, width and channels of its pictures.
    """

    def __init__(self, path: Path, shape: tuple[int, int, int]) -> None:
        super().__init__(path)
        self._writer = LosslessWriter(self._file, shape)

    def write_picture(self, picture: Picture) -> None:
        try:
            self._writer.write(picture.pixels, picture.time_s)
        except (OSError, FFmpegError) as error:
            raise self._failure(error) from None

    def write_audio(self, packet: AudioPacket) -> None:
        """Recordings are silent."""

    def _finish(self) -> None:
        self._writer.close()

    def __exit__(self, *_: object) -> None:
        self._writer.abandon()
        super().__exit__()


def read_lossless(path: Path) -> Iterator[Pixels]:
    """The pictures of a file, uint8 [H, W, 3 or 4], up to where it is whole.

    Raises:
        MediaError: ``cannot_read``.
    """
    try:
        with path.open("rb") as file, av.open(file, "r", format="matroska") as container:
            container.flags |= _DISCARD_CORRUPT
            video = container.streams.video[0]
            format = "rgba" if video.codec_context.pix_fmt == "bgra" else "rgb24"
            for frame in container.decode(video):
                if frame.is_corrupt:
                    return
                yield np.ascontiguousarray(frame.to_ndarray(format=format))
    except av.error.InvalidDataError:
        return  # cut off
    except (OSError, FFmpegError) as error:
        raise MediaError("cannot_read", f"cannot read {path}: {reason_of(error)}", field="recording") from None
    except IndexError:
        return  # cut off before it began
