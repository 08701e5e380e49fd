"""Packets of a video stream to whole encoded frames, sans I/O: what arrives in order leaves at once.

A frame is complete with the packet that carries the RTP marker, so it need not wait for the next frame's first packet:
at 30 frames a second that is 33 ms less. A sender whose markers are wrong is found out, and its frames are then told
apart by their timestamps alone.

A packet that stays away for ``PATIENCE_S`` is given up. The frames after it build on one that is missing, so none is
delivered before the next keyframe, which the caller is told to ask for, again and again, as that may be lost too; a
sender that sends none within
``KEYFRAME_PATIENCE_S`` (OBS answers no such request) is taken as it comes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["PATIENCE_S", "EncodedFrame", "NackSchedule", "VideoJitterBuffer", "is_keyframe"]

PATIENCE_S = 0.15
"""How long a missing packet is waited for: five requests, most of which can be answered in time. With 5% loss and 50 ms
of jitter, 0.1 s gives a packet up every ten seconds, 0.15 s one in five minutes."""
KEYFRAME_PATIENCE_S = 0.5
_ASK_AGAIN_S = 0.2
"""Between two requests for a keyframe."""
_REPEAT_S = 0.03
"""Between two requests for the same packet."""
_MAX_MISSING = 256
_RESTART = 3000
"""A sequence number so far behind is no late packet, but a sender that began anew."""


class Packet(Protocol):
    """What is looked at of an RTP packet."""

    sequence_number: int
    timestamp: int
    marker: int
    _data: bytes  # the payload without its payload descriptor, as aiortc leaves it


@dataclass(slots=True)
class EncodedFrame:
    """One encoded frame, and those that became complete with it.

    Args:
        data: the bitstream.
        timestamp: RTP, 90 kHz.
        following: later frames, in order.
    """

    data: bytes
    timestamp: int
    following: list[EncodedFrame] = field(default_factory=list)


class VideoJitterBuffer:
    """Call ``add`` for every packet.

    Args:
        capacity: packets at most; more are given up.
        clock: monotonic seconds.
    """

    def __init__(self, capacity: int = 512, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._capacity = capacity
        self._clock = clock
        self._packets: dict[int, Packet] = {}  # by sequence number, counted on beyond 16 bits
        self._next: int | None = None
        self._highest = 0
        self._missing: tuple[int, float] | None = None  # the first gap, and since when
        self._keyframe_wanted_s: float | None = None
        self._asked_s = float("-inf")
        self._last_timestamp: int | None = None
        self._last_by_marker = False
        self._trust_marker = True

    def add(self, packet: Packet) -> tuple[bool, EncodedFrame | None]:
        """Take a packet in.

        Returns:
            Whether a keyframe should be asked for, and the frame that is complete now, if one is.
        """
        number = self._unwrap(packet.sequence_number)
        if number is None:
            return False, None
        self._packets[number] = packet
        self._highest = max(self._highest, number)
        frames = list(self._complete())
        if self._give_up():
            frames += self._complete()
        wanted = [frame for frame in frames if self._is_wanted(frame)]
        ask = self._ask()
        if not wanted:
            return ask, None
        first, *wanted[0].following = wanted
        return ask, first

    def _unwrap(self, sequence_number: int) -> int | None:
        """The packet's place in an endless count; None for one that comes too late."""
        if self._next is None:
            self._next = self._highest = sequence_number
            return sequence_number
        step = (sequence_number - self._highest) & 0xFFFF
        number = self._highest + (step if step < 0x8000 else step - 0x10000)
        if number >= self._next:
            return number
        if self._next - number > _RESTART:
            self._packets.clear()
            self._next = self._highest = number
            self._missing = None
            return number
        return None

    def _complete(self) -> Iterator[EncodedFrame]:
        """Take whole frames off the front."""
        assert self._next is not None
        at = start = self._next
        while (packet := self._packets.get(at)) is not None:
            self._doubt_marker(packet, at)
            if at > start and packet.timestamp != self._packets[start].timestamp:
                yield self._take(start, at, by_marker=False)
                start = at
            at += 1
            if self._trust_marker and packet.marker:
                yield self._take(start, at, by_marker=True)
                start = at

    def _doubt_marker(self, packet: Packet, at: int) -> None:
        """More packets of a frame that its marker called complete: its markers mean nothing."""
        if at == self._next and self._last_by_marker and packet.timestamp == self._last_timestamp:
            self._trust_marker = False

    def _take(self, start: int, end: int, *, by_marker: bool) -> EncodedFrame:
        packets = [self._packets.pop(number) for number in range(start, end)]
        self._next = end
        self._missing = None
        self._last_timestamp, self._last_by_marker = packets[0].timestamp, by_marker
        return EncodedFrame(b"".join(packet._data for packet in packets), packets[0].timestamp)

    def _give_up(self) -> bool:
        """Step over the first gap when it is too old or too much waits behind it; True when one was."""
        gap = self._first_gap()
        if gap is None:
            self._missing = None
            return False
        now_s = self._clock()
        if self._missing is None or self._missing[0] != gap:
            self._missing = (gap, now_s)
        if now_s - self._missing[1] < PATIENCE_S and len(self._packets) < self._capacity:
            return False
        behind = min(number for number in self._packets if number > gap)
        for number in [number for number in self._packets if number < behind]:
            del self._packets[number]
        self._next, self._missing, self._last_timestamp = behind, None, None
        if self._keyframe_wanted_s is None:
            self._keyframe_wanted_s = now_s
        return True

    def _first_gap(self) -> int | None:
        at = self._next
        assert at is not None
        while at in self._packets:
            at += 1
        return at if at < self._highest else None

    def _ask(self) -> bool:
        """Whether to ask for a keyframe now."""
        now_s = self._clock()
        if self._keyframe_wanted_s is None or now_s - self._asked_s < _ASK_AGAIN_S:
            return False
        self._asked_s = now_s
        return True

    def _is_wanted(self, frame: EncodedFrame) -> bool:
        if self._keyframe_wanted_s is None:
            return True
        if is_keyframe(frame.data) or self._clock() - self._keyframe_wanted_s > KEYFRAME_PATIENCE_S:
            self._keyframe_wanted_s = None
            return True
        return False


class NackSchedule:
    """Which missing packets to ask for, and when again. aiortc's ``NackGenerator`` asks for each one once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._highest: int | None = None
        self._missing: dict[int, tuple[float, float]] = {}  # since when, and asked for when
        self.missing: list[int] = []
        """Sequence numbers to ask for now."""

    def add(self, packet: Packet) -> bool:
        """Take note of a packet; True when ``missing`` should be asked for."""
        number, now_s = packet.sequence_number, self._clock()
        if self._highest is None:
            self._highest = number
            return False
        step = (number - self._highest) & 0xFFFF
        if 0 < step < 0x8000:
            if step > _MAX_MISSING:
                self._missing.clear()  # the sender began anew, or all is lost
            else:
                for late in range(1, step):
                    self._missing[(self._highest + late) & 0xFFFF] = (now_s, float("-inf"))
            self._highest = number
        else:
            self._missing.pop(number, None)
        self.missing = self._due(now_s)
        return bool(self.missing)

    def _due(self, now_s: float) -> list[int]:
        for number in [number for number, (since_s, _) in self._missing.items() if now_s - since_s > PATIENCE_S]:
            del self._missing[number]
        due = [number for number, (_, asked_s) in self._missing.items() if now_s - asked_s >= _REPEAT_S]
        for number in due:
            self._missing[number] = (self._missing[number][0], now_s)
        return due


def is_keyframe(data: bytes) -> bool:
    """Whether a VP8 or H264 (Annex B) frame can be decoded without any before it."""
    if not data.startswith(b"\x00\x00\x00\x01"):
        return len(data) >= 6 and not data[0] & 1 and data[3:6] == b"\x9d\x01\x2a"
    at = 0
    while (at := data.find(b"\x00\x00\x01", at)) >= 0 and at + 3 < len(data):
        if data[at + 3] & 0x1F in (5, 7):  # an IDR slice, or the parameters before one
            return True
        at += 3
    return False
