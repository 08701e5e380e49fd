"""Packets to frames."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from streamgen.server.webrtc.jitter import (
    KEYFRAME_PATIENCE_S,
    PATIENCE_S,
    NackSchedule,
    VideoJitterBuffer,
    is_keyframe,
)

VP8_KEY = b"\x10\x00\x00\x9d\x01\x2a\x00\x01\x00\x01"
VP8_DELTA = b"\x11\x00\x00abc"
H264_KEY = b"\x00\x00\x00\x01\x67sps\x00\x00\x00\x01\x65idr"
H264_DELTA = b"\x00\x00\x00\x01\x41slice"


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class Packet:
    sequence_number: int
    timestamp: int
    marker: int = 0
    _data: bytes = VP8_DELTA


def received(buffer: VideoJitterBuffer, *packets: Packet) -> tuple[list[int], bool]:
    """Timestamps of the frames that came out, and whether a keyframe was asked for."""
    out, lost = [], False
    for packet in packets:
        flag, frame = buffer.add(packet)
        lost |= flag
        if frame is not None:
            out += [frame.timestamp, *(later.timestamp for later in frame.following)]
    return out, lost


def test_a_frame_leaves_with_its_marker() -> None:
    buffer = VideoJitterBuffer()
    assert received(buffer, Packet(1, 10), Packet(2, 10)) == ([], False)
    assert received(buffer, Packet(3, 10, 1)) == ([10], False)


def test_its_packets_are_joined_in_order() -> None:
    buffer = VideoJitterBuffer()
    buffer.add(Packet(1, 10, 0, b"a"))
    buffer.add(Packet(3, 10, 1, b"c"))
    _, frame = buffer.add(Packet(2, 10, 0, b"b"))
    assert frame is not None and frame.data == b"abc"


def test_without_markers_the_next_timestamp_ends_a_frame() -> None:
    buffer = VideoJitterBuffer()
    assert received(buffer, Packet(1, 10), Packet(2, 10), Packet(3, 20), Packet(4, 30)) == ([10, 20], False)


def test_markers_that_come_too_early_are_found_out() -> None:
    buffer = VideoJitterBuffer()
    frames = [Packet(4 * frame + part, frame, 1, bytes([part])) for frame in range(3) for part in range(4)]
    whole = [frame for packet in frames for _, frame in [buffer.add(packet)] if frame is not None]
    assert [(frame.timestamp, frame.data) for frame in whole][-1] == (1, bytes([0, 1, 2, 3]))


def test_frames_that_a_late_packet_completes_come_out_together() -> None:
    buffer = VideoJitterBuffer()
    assert received(buffer, Packet(1, 10, 1), Packet(3, 30, 1), Packet(4, 40, 1)) == ([10], False)
    assert received(buffer, Packet(2, 20, 1)) == ([20, 30, 40], False)


def test_sequence_numbers_and_timestamps_wrap() -> None:
    buffer = VideoJitterBuffer()
    packets = [Packet((65534 + n) & 0xFFFF, (0xFFFFFFF0 + 8 * n) & 0xFFFFFFFF, 1) for n in range(5)]
    assert received(buffer, *packets)[0] == [packet.timestamp for packet in packets]


def test_a_duplicate_or_late_packet_changes_nothing() -> None:
    buffer = VideoJitterBuffer()
    assert received(buffer, Packet(5, 10, 1), Packet(5, 10, 1), Packet(4, 9, 1), Packet(6, 20, 1)) == ([10, 20], False)


def test_a_sender_that_begins_anew_is_followed() -> None:
    buffer = VideoJitterBuffer()
    assert received(buffer, Packet(20_000, 10, 1), Packet(100, 20, 1), Packet(101, 30, 1))[0] == [10, 20, 30]


@pytest.mark.parametrize(("delta", "key"), [(VP8_DELTA, VP8_KEY), (H264_DELTA, H264_KEY)], ids=["VP8", "H264"])
def test_a_lost_packet_is_given_up_and_a_keyframe_asked_for(delta: bytes, key: bytes) -> None:
    clock = Clock()
    buffer = VideoJitterBuffer(clock=clock)
    assert received(buffer, Packet(1, 10, 1, key), Packet(3, 30, 1, delta)) == ([10], False)
    clock.now_s += PATIENCE_S + 0.01
    assert received(buffer, Packet(4, 40, 1, delta)) == ([], True)
    assert received(buffer, Packet(5, 50, 1, delta), Packet(6, 60, 1, key), Packet(7, 70, 1, delta)) == (
        [60, 70],
        False,
    )


def test_a_sender_that_sends_no_keyframe_is_taken_as_it_comes() -> None:
    clock = Clock()
    buffer = VideoJitterBuffer(clock=clock)
    received(buffer, Packet(1, 10, 1), Packet(3, 30, 1))
    clock.now_s += PATIENCE_S + 0.01
    assert received(buffer, Packet(4, 40, 1)) == ([], True)
    clock.now_s += KEYFRAME_PATIENCE_S + 0.01
    assert received(buffer, Packet(5, 50, 1))[0] == [50]


def test_a_keyframe_that_does_not_come_is_asked_for_again() -> None:
    clock = Clock()
    buffer = VideoJitterBuffer(clock=clock)
    received(buffer, Packet(1, 10, 1), Packet(3, 30, 1))
    clock.now_s += PATIENCE_S + 0.01
    asked = []
    for number in range(4, 8):
        asked.append(received(buffer, Packet(number, 10 * number, 1))[1])
        clock.now_s += 0.11
    assert asked == [True, False, True, False]


def test_what_waits_is_bounded() -> None:
    buffer = VideoJitterBuffer(capacity=8, clock=Clock())
    received(buffer, Packet(1, 10, 1))
    _, lost = received(buffer, *(Packet(number, number * 10, 1) for number in range(3, 12)))
    assert lost


def test_a_missing_packet_is_asked_for_until_it_comes() -> None:
    clock = Clock()
    nacks = NackSchedule(clock)
    assert not nacks.add(Packet(1, 10))
    assert nacks.add(Packet(4, 10)) and nacks.missing == [2, 3]
    assert not nacks.add(Packet(5, 10))
    clock.now_s += 0.031
    assert nacks.add(Packet(6, 10)) and nacks.missing == [2, 3]
    nacks.add(Packet(2, 10))
    clock.now_s += 0.031
    assert nacks.add(Packet(7, 10)) and nacks.missing == [3]


def test_it_is_not_asked_for_when_it_would_come_too_late() -> None:
    clock = Clock()
    nacks = NackSchedule(clock)
    nacks.add(Packet(1, 10))
    nacks.add(Packet(3, 10))
    clock.now_s += PATIENCE_S + 0.01
    assert not nacks.add(Packet(4, 10))


def test_missing_packets_are_counted_over_the_wrap_and_not_over_a_new_beginning() -> None:
    nacks = NackSchedule(Clock())
    nacks.add(Packet(65534, 10))
    assert nacks.add(Packet(1, 10)) and nacks.missing == [65535, 0]
    assert not nacks.add(Packet(20_000, 10))


@pytest.mark.parametrize(
    ("data", "key"),
    [
        (VP8_KEY, True),
        (VP8_DELTA, False),
        (H264_KEY, True),
        (H264_DELTA, False),
        (b"\x00\x00\x00\x01\x09\x10\x00\x00\x01\x65", True),
        (b"", False),
        (b"\x00", False),
        (b"\x00\x00\x00\x01", False),
    ],
)
def test_keyframes_are_told_from_others(data: bytes, key: bool) -> None:
    assert is_keyframe(data) is key
