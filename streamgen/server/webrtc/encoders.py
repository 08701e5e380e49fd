"""Video encoders for WebRTC: RGB in, RTP payloads out, at a bitrate that follows the network between bounds.

aiortc's own assume 30 frames a second, run x264 at its default preset (five times the time) and start at 0.5 to 1 Mb/s
whatever the size. Its packetisers are used as they are.
"""

from __future__ import annotations

import logging
import random
import time
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
from aiortc.codecs.base import Encoder
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import Vp8Encoder
from av.video.frame import PictureType

from streamgen.frames import Pixels

__all__ = ["CLOCK_RATE", "H264", "Bitrate", "VideoEncoder", "VideoPicture", "Vp8", "default_bitrate", "hardware_h264"]

_LOG = logging.getLogger(__name__)

CLOCK_RATE = 90_000
_TIME_BASE = Fraction(1, CLOCK_RATE)
_BITS_PER_PIXEL = 0.25
"""At 30 frames a second. Stylised pictures are brushwork from edge to edge: twice what a camera's picture needs."""
_MIN_BPS, _MAX_BPS = 150_000, 20_000_000
_FLOOR_BPS = 1_000_000
_REBUILD_S = 2.0
_REBUILD_CHANGE = 0.15
"""A new bitrate means a new encoder and with it a keyframe, so small changes and quick ones wait."""
_CONGESTED = 1.1
_NOMINAL_FPS = 30
_FPS_BOUNDS = (8.0, 60.0)
"""Slower streams than this are not given larger frames still: one must not take a second to travel."""
_GOP = 3000
_PRESETS = ((512 * 512, "veryfast"), (1280 * 720, "superfast"))
_FASTEST = "ultrafast"


def default_bitrate(width: int, height: int) -> int:
    """Bits per second that suit a size."""
    return int(min(_MAX_BPS, max(_FLOOR_BPS, width * height * _NOMINAL_FPS * _BITS_PER_PIXEL)))


@dataclass(slots=True)
class Bitrate:
    """What a sender may spend, in bits per second.

    Args:
        ceiling: at most; 0 for what suits the size.
        floor: at least, whatever the network says.
    """

    ceiling: int = 0
    floor: int = _MIN_BPS

    def bounded(self, wanted: float, width: int, height: int) -> int:
        """``wanted`` within the bounds, for a picture of that size."""
        ceiling = self.ceiling or default_bitrate(width, height)
        return int(max(min(self.floor, ceiling), min(wanted, ceiling)))


@dataclass(frozen=True, slots=True)
class VideoPicture:
    """One picture to encode: uint8 [H, W, 3] RGB with even sides, and its time on the 90 kHz clock."""

    pixels: Pixels
    timestamp: int


class VideoEncoder(Encoder):
    """Encodes pictures of any size; another size, or a bitrate that is off by much, begins a new stream.

    Not thread-safe: one picture at a time.

    Args:
        bitrate: the bounds; the caller may move them.
        clock: monotonic seconds.
    """

    def __init__(self, bitrate: Bitrate, clock: Callable[[], float] = time.monotonic) -> None:
        self.bitrate = bitrate
        self._clock = clock
        self._wanted_bps = float("inf")
        self._codec: Any = None
        self._spent_bps = 0
        self._sent_bps = 0.0
        self._built_s = 0.0
        self._interval = CLOCK_RATE / _NOMINAL_FPS
        self._timestamp: int | None = None

    @property
    def target_bitrate(self) -> float:
        """Bits per second the network is thought to carry; within the bounds is what the encoder is told."""
        return self._wanted_bps

    @target_bitrate.setter
    def target_bitrate(self, bits_per_second: float) -> None:
        # A receiver's estimate is never far above what it gets. While a still picture needs little, a low estimate says
        # nothing of the network, and following it would leave no bits for when the picture moves.
        if bits_per_second > self._wanted_bps or bits_per_second < self._sent_bps * _CONGESTED:
            self._wanted_bps = bits_per_second

    @property
    def bits_per_second(self) -> int:
        """What the encoder aims at; 0 before the first picture."""
        return self._spent_bps

    def report_loss(self, fraction: float) -> None:
        """Follow a receiver report: back off when over a tenth of the packets is lost, creep up when hardly any."""
        if self._spent_bps and fraction > 0.1:
            self._wanted_bps = self._spent_bps * (1 - fraction / 2)
        elif fraction < 0.02 and self._wanted_bps < float("inf"):
            self._wanted_bps *= 1.08

    def encode(self, frame: VideoPicture, force_keyframe: bool = False) -> tuple[list[bytes], int]:  # type: ignore[override]
        """RTP payloads of one picture, and its timestamp."""
        height, width = frame.pixels.shape[:2]
        self._follow(frame.timestamp)
        self._fit(width, height)
        picture: Any = av.VideoFrame.from_ndarray(frame.pixels, format="rgb24").reformat(format="yuv420p")
        picture.pts, picture.time_base = frame.timestamp, _TIME_BASE
        picture.pict_type = PictureType.I if force_keyframe else PictureType.NONE
        data = self._encode(picture)
        self._sent_bps += (8 * len(data) * CLOCK_RATE / self._interval - self._sent_bps) * 0.05
        return self._packetise(data), frame.timestamp

    def pack(self, packet: Any) -> tuple[list[bytes], int]:
        raise NotImplementedError("pictures are encoded here")

    def _encode(self, picture: Any) -> bytes:
        return b"".join(bytes(packet) for packet in self._codec.encode(picture))

    def _follow(self, timestamp: int) -> None:
        """Learn how fast the pictures come."""
        if self._timestamp is not None:
            low, high = _FPS_BOUNDS
            interval = min(CLOCK_RATE / low, max(CLOCK_RATE / high, timestamp - self._timestamp))
            self._interval += (interval - self._interval) * 0.1
        self._timestamp = timestamp

    def _fit(self, width: int, height: int) -> None:
        wanted = self.bitrate.bounded(self._wanted_bps, width, height)
        nominal = self._nominal(wanted)
        codec = self._codec
        if codec is not None and (codec.width, codec.height) == (width, height):
            off = abs(nominal - codec.bit_rate) / codec.bit_rate
            if off <= _REBUILD_CHANGE or self._clock() - self._built_s < _REBUILD_S:
                return
        self._codec, self._built_s = self._build(width, height, nominal), self._clock()
        self._spent_bps = wanted

    def _nominal(self, bits_per_second: int) -> int:
        """What to tell an encoder that spends per frame, at the rate it is built for, whatever their times."""
        return round(bits_per_second * _NOMINAL_FPS * self._interval / CLOCK_RATE)

    @abstractmethod
    def _build(self, width: int, height: int, bits_per_second: int) -> Any:
        """A codec context."""

    @abstractmethod
    def _packetise(self, data: bytes) -> list[bytes]:
        """RTP payloads of one encoded picture."""


class H264(VideoEncoder):
    """x264 in its quickest reasonable setting for the size, or a hardware encoder."""

    def __init__(self, bitrate: Bitrate, clock: Callable[[], float] = time.monotonic, hardware: str = "") -> None:
        super().__init__(bitrate, clock)
        self._name = hardware or "libx264"

    def _build(self, width: int, height: int, bits_per_second: int) -> Any:
        codec = _context(self._name, width, height, bits_per_second)
        # A quarter of a second of buffer: a keyframe may be large, but not so large that it delays what follows.
        limits = {"maxrate": str(bits_per_second), "bufsize": str(bits_per_second // 4), "bf": "0"}
        if self._name != "libx264":
            codec.options = {**limits, "preset": "p1", "tune": "ull", "zerolatency": "1", "forced-idr": "1"}
            return codec
        preset = next((preset for pixels, preset in _PRESETS if width * height <= pixels), _FASTEST)
        codec.profile = "Baseline"
        codec.options = {
            **limits,
            "preset": preset,
            "tune": "zerolatency",
            "forced-idr": "1",
            # What swscale makes. Unsaid, a browser may take it for HDTV's colours.
            "x264-params": "range=tv:colorprim=smpte170m:transfer=smpte170m:colormatrix=smpte170m",
        }
        return codec

    def _encode(self, picture: Any) -> bytes:
        try:
            return super()._encode(picture)
        except av.FFmpegError as error:
            if self._name == "libx264":
                raise
            # A card has few encoding sessions, and other programs use them too.
            _LOG.warning("%s failed (%s): this connection goes on with x264", self._name, error)
            self._name = "libx264"
            self._codec = self._build(picture.width, picture.height, self._codec.bit_rate)
            return super()._encode(picture)

    def _packetise(self, data: bytes) -> list[bytes]:
        return H264Encoder._packetize(H264Encoder._split_bitstream(data))


class Vp8(VideoEncoder):
    """libvpx in real-time mode at a constant bitrate."""

    def __init__(self, bitrate: Bitrate, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(bitrate, clock)
        self._picture_id = random.getrandbits(15)

    def _nominal(self, bits_per_second: int) -> int:
        return bits_per_second  # libvpx goes by the times of the pictures

    def _build(self, width: int, height: int, bits_per_second: int) -> Any:
        codec = _context("libvpx", width, height, bits_per_second)
        codec.qmin, codec.qmax = 2, 56
        codec.options = {
            "deadline": "realtime",
            "cpu-used": "-6" if width * height <= 640 * 480 else "-8",
            "lag-in-frames": "0",
            "minrate": str(bits_per_second),
            "maxrate": str(bits_per_second),
            "bufsize": str(bits_per_second // 2),
            "undershoot-pct": "100",
            "overshoot-pct": "15",
            "max-intra-rate": "600",
            "static-thresh": "1",
        }
        return codec

    def _packetise(self, data: bytes) -> list[bytes]:
        payloads = Vp8Encoder._packetize(data, self._picture_id)
        self._picture_id = (self._picture_id + 1) & 0x7FFF
        return payloads


def _context(name: str, width: int, height: int, bits_per_second: int) -> Any:
    codec: Any = av.CodecContext.create(name, "w")
    codec.width, codec.height = width, height
    codec.bit_rate = bits_per_second
    codec.pix_fmt = "yuv420p"
    codec.time_base, codec.framerate = _TIME_BASE, Fraction(_NOMINAL_FPS, 1)
    codec.gop_size = _GOP  # keyframes are made when they are asked for
    codec.thread_count = 1 if width * height <= 640 * 480 else 2
    return codec


def hardware_h264() -> str:
    """The name of a hardware H264 encoder that opens and encodes here; empty for none. ffmpeg lists ``h264_nvenc`` on
    machines without any GPU, so only trying it tells."""
    try:
        codec = _context("h264_nvenc", 256, 256, 1_000_000)
        picture = av.VideoFrame(256, 256, "yuv420p")
        picture.pts = 0
        codec.encode(picture)
    except (av.FFmpegError, ValueError):
        return ""
    return "h264_nvenc"
