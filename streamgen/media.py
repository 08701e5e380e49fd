"""Video and picture files: decoded frames in, encoded frames out, sound carried across.

::

    with MediaSource(path) as source, open_sink(out, source, width, height) as sink:
        for item in source.items():
            if isinstance(item, Picture):
                sink.write_picture(replace(item, pixels=...))
            else:
                sink.write_audio(item)
        sink.commit()

A sink writes to a hidden file beside its target and renames it in ``commit()``; left without ``commit()`` it removes
that file, so no half-written output is ever seen. Files are opened by this module and never by FFmpeg's own protocols:
a name such as ``http://...`` or ``concat:...`` is a file name and nothing else.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO, Literal, Protocol, Self, TypeAlias, cast

import av
import numpy as np
import simplejpeg
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from streamgen.colours import tag_bt709, to_yuv
from streamgen.errors import MediaError
from streamgen.frames import Pixels

__all__ = [
    "IMAGE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "AudioPacket",
    "MediaSource",
    "Picture",
    "Sink",
    "Source",
    "open_sink",
    "reason_of",
]

AudioPacket: TypeAlias = "Packet[AudioStream]"

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")

_FAST_H264 = {"preset": "veryfast", "crf": "18", "bf": "0"}
_FAST_VP9 = {"deadline": "realtime", "cpu-used": "8", "row-mt": "1", "crf": "30", "lag-in-frames": "0"}
# Suffix to container format, video codec with options, and the audio codec for sound the container cannot hold.
# No B-frames: decoding order is display order, so no container has to shift the frame times to fit them in.
_VIDEO_FORMATS: dict[str, tuple[str, str, dict[str, str], str]] = {
    ".mp4": ("mp4", "libx264", _FAST_H264, "aac"),
    ".m4v": ("mp4", "libx264", _FAST_H264, "aac"),
    ".mov": ("mov", "libx264", _FAST_H264, "aac"),
    ".mkv": ("matroska", "libx264", _FAST_H264, "aac"),
    ".webm": ("webm", "libvpx-vp9", _FAST_VP9, "libopus"),
}
VIDEO_SUFFIXES = tuple(_VIDEO_FORMATS)


@dataclass(frozen=True, slots=True)
class Picture:
    """One decoded frame, upright.

    Args:
        pixels: uint8 [H, W, 3] RGB.
        pts: when it is shown, in units of ``time_base``; strictly increasing within a source.
        time_base: seconds per unit.
    """

    pixels: Pixels
    pts: int
    time_base: Fraction

    @property
    def time_s(self) -> float:
        """When it is shown, in seconds."""
        return float(self.pts * self.time_base)


class _Nameless:
    """A file without its name: by the name ``x%03d.png`` FFmpeg would look for a sequence of other files."""

    def __init__(self, file: IO[bytes]) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


class MediaSource:
    """A video or picture file, decoded. Use as a context manager.

    Attributes:
        kind: ``image`` or ``video``.
        width: of the upright picture, pixels.
        height: of the upright picture, pixels.
        frame_rate: average, None when the file does not say.
        frames: how many there are as far as the file says; None when it does not.
        damaged: packets that could not be decoded so far; they are skipped.

    Raises:
        MediaError: ``cannot_read`` when the file cannot be opened, ``not_media`` when it holds no picture.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damaged = 0
        self._pts = -(2**62)
        try:
            self._file: IO[bytes] = path.open("rb")
        except OSError as error:
            raise MediaError("cannot_read", f"cannot read {path}: {reason_of(error)}", field="input") from None
        try:
            self._container = av.open(_Nameless(self._file), "r")
            self._video = self._find_video()
            self._decoding = self._decode()
            self._head = self._read_first()
        except (FFmpegError, OSError, MediaError) as error:
            self.close()
            reason = error.message if isinstance(error, MediaError) else "it is no video or picture"
            raise MediaError("not_media", f"cannot read {path}: {reason}", field="input") from None
        first = cast(Picture, self._head[-1])
        self.height, self.width = first.pixels.shape[:2]
        self.kind: Literal["image", "video"] = "image" if self._is_still() else "video"
        self.frame_rate = self._video.average_rate or None
        self.frames = 1 if self.kind == "image" else self._video.frames or self._estimate_frames()

    @property
    def audio(self) -> tuple[AudioStream, ...]:
        """The sound tracks; their packets come out of ``items``."""
        return tuple(self._container.streams.audio)

    @property
    def time_base(self) -> Fraction:
        """Seconds per unit of ``Picture.pts``."""
        return self._video.time_base or Fraction(1, 90_000)

    def items(self) -> Iterator[Picture | AudioPacket]:
        """Pictures and packets of sound in the order of the file. Can be walked once."""
        yield from self._head
        self._head = []
        yield from self._decoding

    def close(self) -> None:
        """Close the file. Packets that came from it must not be used any more."""
        container: InputContainer | None = getattr(self, "_container", None)
        if container is not None:
            container.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _is_still(self) -> bool:
        """FFmpeg calls picture formats "..._pipe", but for AVIF, which is an MP4 file by another brand."""
        name, brand = self._container.format.name, self._container.metadata.get("major_brand")
        return name.endswith("_pipe") or name == "ico" or brand in ("avif", "heic", "mif1")

    def _find_video(self) -> VideoStream:
        for stream in self._container.streams.video:
            if not stream.disposition & Disposition.attached_pic:  # the cover of a music file is no video
                stream.thread_type = "AUTO"
                return stream
        raise MediaError("not_media", "it holds no video and no picture")

    def _read_first(self) -> list[Picture | AudioPacket]:
        head: list[Picture | AudioPacket] = []
        for item in self._decoding:
            head.append(item)
            if isinstance(item, Picture):
                return head
        raise MediaError("not_media", "none of its pictures can be decoded")

    def _decode(self) -> Iterator[Picture | AudioPacket]:
        for packet in self._container.demux(self._video, *self._container.streams.audio):
            if packet.stream is not self._video:
                if packet.dts is not None:  # the packet that ends a stream is empty
                    yield cast(AudioPacket, packet)
                continue
            try:
                frames = packet.decode()
            except FFmpegError:
                self.damaged += 1
                continue
            for frame in frames:
                yield self._picture(cast(VideoFrame, frame))

    def _picture(self, frame: VideoFrame) -> Picture:
        step = 1 / (self._video.average_rate * self.time_base) if self._video.average_rate else Fraction(1)
        pts = frame.pts if frame.pts is not None else max(self._pts, 0) + max(1, round(step))
        self._pts = max(pts, self._pts + 1)
        pixels = frame.to_ndarray(format="rgb24")
        upright = np.rot90(pixels, round(frame.rotation / 90)) if frame.rotation else pixels
        return Picture(np.ascontiguousarray(upright), self._pts, self.time_base)

    def _estimate_frames(self) -> int | None:
        if self._video.average_rate is None:
            return None
        if self._video.duration is not None:
            seconds = float(self._video.duration * self.time_base)
        elif self._container.duration is not None:
            seconds = self._container.duration / av.time_base
        else:
            return None
        return max(1, round(seconds * self._video.average_rate))


class Sink(ABC):
    """Where stylised pictures go. Use as a context manager and call ``commit()`` when everything was written.

    Raises:
        MediaError: ``cannot_write`` when the output or the file beside it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._part = path.with_name(f".{path.stem}.{os.getpid()}.part")
        if path.is_dir():
            raise MediaError("cannot_write", f"cannot write {path}: it is a folder", field="output")
        try:
            self._file: IO[bytes] = self._part.open("w+b")
        except OSError as error:
            raise MediaError("cannot_write", f"cannot write {path}: {reason_of(error)}", field="output") from None

    @abstractmethod
    def write_picture(self, picture: Picture) -> None:
        """Append one picture of the size the sink was opened with."""

    @abstractmethod
    def write_audio(self, packet: AudioPacket) -> None:
        """Append one packet of the source's sound."""

    @abstractmethod
    def _finish(self) -> None: ...

    def commit(self) -> None:
        """Finish the file and put it in its place, replacing one of that name."""
        try:
            self._finish()
            self._file.close()
            os.replace(self._part, self.path)
        except (OSError, FFmpegError) as error:
            raise self._failure(error) from None

    def _failure(self, error: OSError | FFmpegError) -> MediaError:
        return MediaError("cannot_write", f"cannot write {self.path}: {reason_of(error)}", field="output")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._part.unlink(missing_ok=True)


class _ImageSink(Sink):
    """One picture, encoded as the suffix says."""

    def write_picture(self, picture: Picture) -> None:
        try:
            self._file.write(_encode_image(picture.pixels, self.path.suffix.lower()))
        except OSError as error:
            raise self._failure(error) from None

    def write_audio(self, packet: AudioPacket) -> None:
        """Pictures are silent."""

    def _finish(self) -> None:
        self._file.flush()


class Source(Protocol):
    """What a sink has to know of where its pictures come from; see ``MediaSource``."""

    path: Path
    kind: Literal["image", "video"]
    frame_rate: Fraction | None

    @property
    def time_base(self) -> Fraction: ...

    @property
    def audio(self) -> tuple[AudioStream, ...]: ...


class _VideoSink(Sink):
    """A video with the frame times and the sound of its source."""

    def __init__(self, path: Path, source: Source, width: int, height: int) -> None:
        super().__init__(path)
        container, codec, options, self._audio_codec = _VIDEO_FORMATS[path.suffix.lower()]
        try:
            self._container = av.open(self._file, "w", format=container)
            self._video = cast(VideoStream, self._container.add_stream(codec, source.frame_rate, options=options))
            self._video.width, self._video.height = width, height
            self._video.pix_fmt = "yuv420p"
            self._video.time_base = self._video.codec_context.time_base = source.time_base
            tag_bt709(self._video)
            self._audio = {stream.index: self._add_audio(stream) for stream in source.audio}
            self._container.start_encoding()
        except (OSError, FFmpegError) as error:
            super().__exit__()
            raise self._failure(error) from None

    def _add_audio(self, stream: AudioStream) -> tuple[AudioStream, bool]:
        """The output track for one of the source's, and whether its packets are copied as they are."""
        try:
            return self._container.add_stream_from_template(stream), True
        except ValueError:  # this container does not hold that codec
            rate = 48_000 if self._audio_codec == "libopus" else stream.rate
            track = cast(AudioStream, self._container.add_stream(self._audio_codec, rate))
            track.codec_context.layout = "mono" if stream.channels == 1 else "stereo"
            return track, False

    def write_picture(self, picture: Picture) -> None:
        frame = to_yuv(picture.pixels)
        frame.pts, frame.time_base = picture.pts, picture.time_base
        try:
            self._container.mux(self._video.encode(frame))
        except (OSError, FFmpegError) as error:
            raise self._failure(error) from None

    def write_audio(self, packet: AudioPacket) -> None:
        track, copied = self._audio[packet.stream.index]
        try:
            if copied:
                packet.stream = track
                self._container.mux(packet)
            else:
                for frame in packet.decode():
                    self._container.mux(track.encode(frame))
        except (OSError, FFmpegError) as error:
            raise self._failure(error) from None

    def _finish(self) -> None:
        self._container.mux(self._video.encode(None))
        for track, copied in self._audio.values():
            if not copied:
                self._container.mux(track.encode(None))
        self._container.close()

    def __exit__(self, *_: object) -> None:
        self._container.close()
        super().__exit__()


def open_sink(path: Path, source: Source, width: int, height: int) -> Sink:
    """Open ``path`` for what becomes of ``source``: a picture for a picture, a video for a video.

    Raises:
        MediaError: ``unknown_format`` for a suffix that is not supported or does not fit the source, ``same_file``
            when it is the source itself, ``cannot_write``.
    """
    suffix = path.suffix.lower()
    suffixes = IMAGE_SUFFIXES if source.kind == "image" else VIDEO_SUFFIXES
    if suffix not in suffixes:
        fact = f"{source.path} is {'a picture' if source.kind == 'image' else 'a video'}"
        raise MediaError(
            "unknown_format", f"{fact}, so the output must end in {', '.join(suffixes)}, got {path}", field="output"
        )
    if path.exists() and path.samefile(source.path):
        raise MediaError("same_file", f"input and output are the same file, {path}", field="output")
    return _ImageSink(path) if source.kind == "image" else _VideoSink(path, source, width, height)


def _encode_image(pixels: Pixels, suffix: str) -> bytes:
    if suffix in (".jpg", ".jpeg"):
        return cast(bytes, simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=95, colorsubsampling="444"))
    codec, format = {".png": ("png", "rgb24"), ".webp": ("libwebp", "bgra"), ".bmp": ("bmp", "bgr24")}[suffix]
    context = av.CodecContext.create(codec, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.height, context.width = pixels.shape[:2]
    context.pix_fmt, context.time_base = format, Fraction(1)
    context.options = {"quality": "95"} if suffix == ".webp" else {}
    frame = VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=format)
    frame.pts = 0
    return b"".join(bytes(packet) for packet in (*context.encode(frame), *context.encode(None)))


def reason_of(error: OSError | FFmpegError) -> str:
    """What the system says, without the name of what it was about, which may hold a password."""
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]
