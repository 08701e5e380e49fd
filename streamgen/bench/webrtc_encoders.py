"""What a frame costs to encode, what it looks like for the bits, and whether the bits are those asked for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, cast

import av
import numpy as np
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import Vp8Encoder

from streamgen.bench.figures import spread
from streamgen.bench.pictures import moving_pictures
from streamgen.frames import Pixels
from streamgen.server.webrtc.encoders import H264, Bitrate, VideoPicture, Vp8

__all__ = ["SIZES", "measure_encoders"]

SIZES = ((256, 256), (512, 512), (1280, 720))
_CLOCK_RATE = 90_000
_PICTURES = 24
_WARM_FRAMES = 90


class _Stock:
    """aiortc's own encoder."""

    def __init__(self, codec: str) -> None:
        self._encoder = H264Encoder() if codec == "h264" else Vp8Encoder()

    @property
    def target_bps(self) -> int:
        return int(self._encoder.target_bitrate)

    def encode(self, pixels: Pixels, timestamp: int) -> list[bytes]:
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts, frame.time_base = timestamp, Fraction(1, _CLOCK_RATE)
        return self._encoder.encode(frame)[0]


class _Ours:
    """The server's. Its clock is that of the pictures, so that it adapts as it would at their rate."""

    def __init__(self, codec: str) -> None:
        self._now_s = 0.0
        self._encoder = (H264 if codec == "h264" else Vp8)(Bitrate(), lambda: self._now_s)

    @property
    def target_bps(self) -> int:
        return self._encoder.bits_per_second

    def encode(self, pixels: Pixels, timestamp: int) -> list[bytes]:
        self._now_s = timestamp / _CLOCK_RATE
        return self._encoder.encode(VideoPicture(pixels, timestamp))[0]


def measure_encoders(ours: bool, sizes: Sequence[tuple[int, int]], fps: float, frames: int) -> dict[str, Any]:
    """Encode moving pictures from RGB to RTP payloads, one after the other. ``cpu_ms`` is the time that all threads of
    the process together spent on a frame; unlike ``encode_ms`` it does not change with what else the machine does.

    Args:
        ours: the server's encoders; else aiortc's.
        fps: what the frames' timestamps say.
        frames: of each codec and size, after as many that do not count as it takes an encoder to settle.
    """
    rows = [_encoded(ours, codec, *size, fps, frames) for size in sizes for codec in ("h264", "vp8")]
    return {"rows": rows}


def _encoded(ours: bool, codec: str, width: int, height: int, fps: float, frames: int) -> dict[str, Any]:
    pictures = moving_pictures(width, height, _PICTURES)
    encoder = _Ours(codec) if ours else _Stock(codec)
    decoder = av.CodecContext.create("h264" if codec == "h264" else "libvpx", "r")
    times_ms, cpu_ms, sizes, likeness = [], [], [], []
    for number in range(_WARM_FRAMES + frames):
        picture = pictures[number % _PICTURES]
        began_s, cpu_s = time.perf_counter(), time.process_time()
        payloads = encoder.encode(picture, round(number * _CLOCK_RATE / fps))
        times_ms.append((time.perf_counter() - began_s) * 1000)
        cpu_ms.append((time.process_time() - cpu_s) * 1000)
        sizes.append(sum(map(len, payloads)))
        for decoded in decoder.decode(av.Packet(_bitstream(codec, payloads))):
            likeness.append(_psnr(picture, cast(Pixels, decoded.to_ndarray(format="rgb24"))))
    return {
        "codec": codec,
        "size": f"{width}x{height}",
        "fps": fps,
        "encode_ms": spread(times_ms[_WARM_FRAMES:]),
        "cpu_ms": spread(cpu_ms[_WARM_FRAMES:]),
        "target_kbps": round(encoder.target_bps / 1000),
        "used_kbps": round(sum(sizes[_WARM_FRAMES:]) * 8 * fps / frames / 1000),
        "first_frame_kb": round(sizes[0] / 1000, 1),
        "psnr_db": round(float(np.mean(likeness[_WARM_FRAMES:])), 1) if len(likeness) > _WARM_FRAMES else None,
    }


def _bitstream(codec: str, payloads: Sequence[bytes]) -> bytes:
    """The frame that RTP payloads carry."""
    from aiortc.codecs.h264 import h264_depayload
    from aiortc.codecs.vpx import vp8_depayload

    depayload = h264_depayload if codec == "h264" else vp8_depayload
    return b"".join(map(depayload, payloads))


def _psnr(original: Pixels, decoded: Pixels) -> float:
    """Decibels over all three channels; 60 where they are the same."""
    error = float(((original.astype(np.int16) - decoded) ** 2).mean())
    return 60.0 if error == 0 else float(10 * np.log10(255**2 / error))
