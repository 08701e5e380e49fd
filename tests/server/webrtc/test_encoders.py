"""Pictures to RTP payloads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av
import numpy as np
import pytest
from aiortc.codecs import h264_depayload, vp8_depayload

from streamgen.server.webrtc.encoders import (
    CLOCK_RATE,
    H264,
    Bitrate,
    VideoEncoder,
    VideoPicture,
    Vp8,
    default_bitrate,
    hardware_h264,
)
from streamgen.server.webrtc.jitter import is_keyframe

DECODERS: dict[type[VideoEncoder], tuple[str, Any]] = {
    H264: ("h264", h264_depayload),
    Vp8: ("libvpx", vp8_depayload),
}


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(params=DECODERS, ids=lambda kind: kind.__name__)
def kind(request: pytest.FixtureRequest) -> type[VideoEncoder]:
    return request.param  # type: ignore[no-any-return]


def patches(width: int = 256, height: int = 192) -> np.ndarray:
    """Flat colours, which a codec has no excuse for changing."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2] = (200, 60, 40)
    pixels[:, width // 2 :] = (30, 90, 220)
    return pixels


def noise(seed: int, side: int = 256) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


def bitstream(encoder: VideoEncoder, payloads: list[bytes]) -> bytes:
    return b"".join(map(DECODERS[type(encoder)][1], payloads))


def decoded(encoder: VideoEncoder, pictures: Iterator[list[bytes]]) -> list[np.ndarray]:
    decoder: Any = av.CodecContext.create(DECODERS[type(encoder)][0], "r")
    decoder.thread_type = "SLICE"
    return [
        frame.to_ndarray(format="rgb24")
        for payloads in pictures
        for frame in decoder.decode(av.Packet(bitstream(encoder, payloads)))
    ]


def test_every_picture_comes_out_at_once_and_in_its_colours(kind: type[VideoEncoder]) -> None:
    encoder = kind(Bitrate())
    pictures = (encoder.encode(VideoPicture(patches(), 3000 * n))[0] for n in range(5))
    shown = decoded(encoder, pictures)
    assert len(shown) == 5
    for x in (64, 192):
        assert np.abs(shown[-1][96, x].astype(int) - patches()[96, x]).max() <= 6


def test_payloads_fit_into_packets_and_keep_their_time(kind: type[VideoEncoder]) -> None:
    payloads, timestamp = kind(Bitrate()).encode(VideoPicture(noise(0), 123_456))
    assert timestamp == 123_456
    assert len(payloads) > 3 and max(map(len, payloads)) <= 1300


def test_a_keyframe_comes_first_and_when_asked_for(kind: type[VideoEncoder]) -> None:
    encoder = kind(Bitrate())
    keys = [
        is_keyframe(bitstream(encoder, encoder.encode(VideoPicture(noise(n), 3000 * n), force_keyframe=n == 3)[0]))
        for n in range(5)
    ]
    assert keys == [True, False, False, True, False]


def test_another_size_begins_with_a_keyframe(kind: type[VideoEncoder]) -> None:
    encoder = kind(Bitrate())
    encoder.encode(VideoPicture(patches(256, 256), 0))
    payloads, _ = encoder.encode(VideoPicture(patches(320, 192), 3000))
    assert is_keyframe(bitstream(encoder, payloads))


@pytest.mark.parametrize("fps", [30, 12])
def test_the_bitrate_is_kept_at_any_frame_rate(kind: type[VideoEncoder], fps: int) -> None:
    clock = Clock()
    encoder = kind(Bitrate(ceiling=800_000), clock)
    sizes = []
    for n in range(8 * fps):
        clock.now_s = n / fps
        still = noise(n // fps)  # every second another: hard, but not as hard as noise that never rests
        payloads, _ = encoder.encode(VideoPicture(still, n * CLOCK_RATE // fps))
        sizes.append(sum(map(len, payloads)))
    spent = sum(sizes[4 * fps :]) * 8 / 4
    assert 300_000 < spent < 1_100_000


def test_a_lower_bitrate_is_taken_up_but_not_at_every_wish(kind: type[VideoEncoder]) -> None:
    clock = Clock()
    encoder = kind(Bitrate(ceiling=2_000_000), clock)
    for n in range(40):
        encoder.encode(VideoPicture(noise(n), 3000 * n))
    assert encoder.bits_per_second == 2_000_000
    encoder.target_bitrate = 500_000
    encoder.encode(VideoPicture(noise(40), 120_000))
    assert encoder.bits_per_second == 2_000_000
    clock.now_s = 2.1
    encoder.encode(VideoPicture(noise(41), 123_000))
    assert encoder.bits_per_second == 500_000


def test_a_low_estimate_while_little_is_sent_says_nothing_of_the_network(kind: type[VideoEncoder]) -> None:
    clock = Clock()
    encoder = kind(Bitrate(ceiling=2_000_000), clock)
    for n in range(40):
        encoder.encode(VideoPicture(patches(), 3000 * n))
    encoder.target_bitrate = 200_000
    clock.now_s = 2.1
    encoder.encode(VideoPicture(patches(), 120_000))
    assert encoder.bits_per_second == 2_000_000


def test_the_bounds_hold_whatever_the_network_says() -> None:
    bounds = Bitrate(ceiling=1_000_000, floor=200_000)
    assert bounds.bounded(9e9, 512, 512) == 1_000_000
    assert bounds.bounded(10.0, 512, 512) == 200_000
    assert Bitrate(ceiling=50_000).bounded(9e9, 512, 512) == 50_000
    assert Bitrate().bounded(float("inf"), 512, 512) == default_bitrate(512, 512)


def test_heavy_loss_lowers_the_bitrate_and_a_clean_line_raises_it_again(kind: type[VideoEncoder]) -> None:
    encoder = kind(Bitrate(ceiling=1_000_000))
    encoder.encode(VideoPicture(patches(), 0))
    encoder.report_loss(0.3)
    assert encoder.target_bitrate == pytest.approx(850_000)
    encoder.report_loss(0.05)
    assert encoder.target_bitrate == pytest.approx(850_000)
    encoder.report_loss(0.0)
    assert encoder.target_bitrate > 850_000


def test_no_hardware_encoder_is_no_error() -> None:
    assert hardware_h264() in ("", "h264_nvenc")


def test_a_hardware_encoder_that_fails_is_replaced(caplog: pytest.LogCaptureFixture) -> None:
    if hardware_h264():
        pytest.skip("there is one that works")
    encoder = H264(Bitrate(), hardware="h264_nvenc")
    payloads, _ = encoder.encode(VideoPicture(patches(), 0))
    assert is_keyframe(bitstream(encoder, payloads))
    assert "goes on with x264" in caplog.text
