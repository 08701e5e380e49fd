"""A UDP path on loopback that loses, delays and reorders packets and has a narrow place, the same way every time.

It is put into a connection by writing its ports into the candidates of offer and answer. RTP headers are in the clear,
so it can tell video packets, their retransmissions and their order although it cannot read them.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

__all__ = ["Counts", "Path", "Relay", "Rtp", "Shape", "rtp_of", "video_types"]

_ADDRESS = "127.0.0.1"
_CANDIDATE = re.compile(r"(a=candidate:\S+ \d+ (?:udp|UDP) \d+ )\S+ \d+( typ host.*)")


@dataclass(frozen=True, slots=True)
class Rtp:
    """What the header of an RTP packet tells."""

    payload_type: int
    sequence_number: int
    timestamp: int
    marker: bool


def rtp_of(data: bytes) -> Rtp | None:
    """The header of an RTP packet; None for RTCP, DTLS and STUN (RFC 7983, RFC 5761)."""
    if len(data) < 12 or not 128 <= data[0] < 192 or 192 <= data[1] < 224:
        return None
    return Rtp(data[1] & 0x7F, int.from_bytes(data[2:4], "big"), int.from_bytes(data[4:8], "big"), bool(data[1] & 0x80))


def video_types(sdp: str) -> tuple[frozenset[int], frozenset[int]]:
    """Payload types of video, and of its retransmissions, in an SDP."""
    named = re.findall(r"a=rtpmap:(\d+) (\w+)/90000", sdp)
    repeats = frozenset(int(number) for number, name in named if name.lower() == "rtx")
    return frozenset(int(number) for number, _ in named) - repeats, repeats


@dataclass(frozen=True, slots=True)
class Shape:
    """What one direction does to packets.

    Args:
        loss: the share that is lost, 0 to 1.
        jitter_s: each packet is held for a random time up to this, so they overtake each other.
        bits_per_second: of the narrow place; 0 for none.
        buffer_bytes: what may wait before it; more is lost.
        pace_bits_per_second: space packets out to this rate before anything else, as a pacer in the sender would.
        drops: tells of single packets whether to lose them.
        open: False loses everything.
    """

    loss: float = 0.0
    jitter_s: float = 0.0
    bits_per_second: float = 0.0
    buffer_bytes: int = 30_000
    pace_bits_per_second: float = 0.0
    drops: Callable[[bytes], bool] | None = None
    open: bool = True


@dataclass(slots=True)
class Counts:
    """What went through one direction, or did not."""

    packets: int = 0
    bytes: int = 0
    lost: int = 0
    longest: dict[str, int] = field(default_factory=dict)
    """Bytes of the longest UDP payload, by what it carries."""


class Path:
    """One direction. ``shape`` may be replaced at any time; ``watch`` sees every packet and whether it gets through.

    Args:
        send: passes a packet on.
        seed: of everything random.
    """

    def __init__(self, send: Callable[[bytes], None], seed: int) -> None:
        self.shape = Shape()
        self.counts = Counts()
        self.watch: Callable[[bytes, bool], None] | None = None
        self._send = send
        self._random = random.Random(seed)
        self._paced_s = self._free_s = 0.0

    def take(self, data: bytes) -> None:
        """A packet came."""
        self.counts.packets += 1
        self.counts.bytes += len(data)
        kind = _kind(data)
        self.counts.longest[kind] = max(self.counts.longest.get(kind, 0), len(data))
        loop, shape = asyncio.get_running_loop(), self.shape
        if not shape.pace_bits_per_second:
            return self._enter(data)
        now_s = loop.time()
        self._paced_s = max(now_s, self._paced_s)
        if self._paced_s > now_s:
            loop.call_at(self._paced_s, self._enter, data)
        else:
            self._enter(data)
        self._paced_s += len(data) * 8 / shape.pace_bits_per_second

    def _enter(self, data: bytes) -> None:
        leaves_s = self._leaves_s(len(data))
        lost = leaves_s is None or self._is_lost(data)
        if self.watch is not None:
            self.watch(data, not lost)
        if lost or leaves_s is None:
            self.counts.lost += 1
            return
        loop = asyncio.get_running_loop()
        held_s = leaves_s + self._random.random() * self.shape.jitter_s
        if held_s > loop.time():
            loop.call_at(held_s, self._send, data)
        else:
            self._send(data)

    def _leaves_s(self, size: int) -> float | None:
        """When it has passed the narrow place; None when the buffer before that is full."""
        now_s, shape = asyncio.get_running_loop().time(), self.shape
        if not shape.bits_per_second:
            return now_s
        self._free_s = max(now_s, self._free_s)
        if (self._free_s - now_s) * shape.bits_per_second / 8 + size > shape.buffer_bytes:
            return None
        self._free_s += size * 8 / shape.bits_per_second
        return self._free_s

    def _is_lost(self, data: bytes) -> bool:
        shape = self.shape
        if not shape.open or (shape.drops is not None and shape.drops(data)):
            return True
        return shape.loss > 0 and self._random.random() < shape.loss


class Relay:
    """Stands between the end that offers and the end that answers. Call ``close()`` when done.

    ``async with Relay() as relay``: give the answering end ``relay.offer(sdp)`` and the offering end
    ``relay.answer(sdp)``. ``up`` leads from the offering end to the other, ``down`` back.
    """

    def __init__(self, seed: int = 1) -> None:
        self._near = _End()
        self._far = _End()
        self.up = Path(self._far.send, seed)
        self.down = Path(self._near.send, seed + 1)

    async def __aenter__(self) -> Relay:
        loop = asyncio.get_running_loop()
        for end, path in ((self._near, self.up), (self._far, self.down)):
            end.taken = path.take
            await loop.create_datagram_endpoint(lambda end=end: end, local_addr=(_ADDRESS, 0))  # type: ignore[misc]
        return self

    async def __aexit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let nothing through any more."""
        self._near.close()
        self._far.close()

    def offer(self, sdp: str) -> str:
        """The offer for the answering end."""
        return self._through(sdp, self._near, self._far)

    def answer(self, sdp: str) -> str:
        """The answer for the offering end."""
        return self._through(sdp, self._far, self._near)

    def shape(self, shape: Shape, way: Literal["up", "down", "both"] = "both") -> None:
        """Put a shape in force."""
        for name, path in (("up", self.up), ("down", self.down)):
            if way in (name, "both"):
                path.shape = replace(shape)

    @staticmethod
    def _through(sdp: str, behind: _End, before: _End) -> str:
        """Write the port of one end into the candidates, and learn from them where packets of the other go.

        Only the first candidate of each section stays: everything goes through this one path.
        """
        lines, open_ = [], True
        for line in sdp.replace("\r\n", "\n").split("\n"):
            if line.startswith("m="):
                open_ = True
            if not line.startswith("a=candidate:"):
                lines.append(line)
                continue
            found = _CANDIDATE.fullmatch(line.strip())
            fields = line.split(" ")
            if not open_ or found is None or fields[4] != _ADDRESS:
                continue
            open_ = False
            behind.peer = (_ADDRESS, int(fields[5]))
            lines.append(f"{found[1]}{_ADDRESS} {before.port}{found[2]}")
        return "\r\n".join(lines)


class _End(asyncio.DatagramProtocol):
    """A socket that one end of the connection takes for the other. It answers whoever wrote last."""

    def __init__(self) -> None:
        self.taken: Callable[[bytes], None] = lambda data: None
        self.peer: tuple[str, int] | None = None
        self._transport: Any = None

    @property
    def port(self) -> int:
        return int(self._transport.get_extra_info("sockname")[1])

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.peer = addr
        self.taken(data)

    def send(self, data: bytes) -> None:
        if self.peer is not None and not self._transport.is_closing():
            self._transport.sendto(data, self.peer)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def _kind(data: bytes) -> str:
    if rtp_of(data) is not None:
        return "rtp"
    first = data[0] if data else 0
    return "rtcp" if 128 <= first < 192 else "dtls" if 20 <= first < 64 else "stun"
