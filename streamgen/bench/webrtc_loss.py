"""Packets that are lost or late on their way to the server and back: how long the picture stands still, and how soon it
is as fresh as before."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from streamgen.bench.figures import spread
from streamgen.bench.webrtc_latency import publishing
from streamgen.bench.webrtc_peer import Codec, Eye, camera_for, connected_pair, longest_gap_ms, on_loopback
from streamgen.bench.webrtc_relay import Relay, Shape, rtp_of, video_types
from streamgen.bench.webrtc_server import identity_server

__all__ = ["Thief", "measure_bad_path", "measure_pair_loss", "measure_single_losses"]

_SETTLE_S = 1.0
_CALM_S = 4.0
_FRESH_PICTURES = 5


class Thief:
    """Takes one video packet away when told to, and so many of its retransmissions. For ``Shape.drops``.

    Args:
        sdp: an offer or an answer, for the payload types.
    """

    def __init__(self, sdp: str) -> None:
        self._video, self._repeats = video_types(sdp)
        self._armed = False
        self._last = False
        self._left = 0.0
        self._number: int | None = None
        self.taken_s: float | None = None

    def arm(self, repeats: float, *, last: bool) -> None:
        """Take the next packet that ends a frame (``last``) or the next that does not, and ``repeats`` repetitions."""
        self._armed, self._left, self._last, self._number, self.taken_s = True, repeats, last, None, None

    def disarm(self) -> None:
        """Take nothing more."""
        self._armed, self._number = False, None

    def __call__(self, data: bytes) -> bool:
        packet = rtp_of(data)
        if packet is None:
            return False
        again = packet.payload_type in self._repeats or packet.sequence_number == self._number
        if self._number is not None and again:
            self._left -= 1
            return self._left >= 0
        if self._armed and packet.payload_type in self._video and packet.marker == self._last:
            self._armed, self._number, self.taken_s = False, packet.sequence_number, time.perf_counter()
            return True
        return False


async def _steal(thief: Thief, eye: Eye, repeats: float, last: bool, window_s: float) -> float:
    """Take one packet; the longest time without a new picture around that, milliseconds."""
    thief.arm(repeats, last=last)
    began_s = time.perf_counter()
    await asyncio.sleep(window_s)
    thief.disarm()
    if thief.taken_s is None:
        return 0.0  # every frame fits into one packet
    return longest_gap_ms(eye.seen, began_s - _SETTLE_S / 2, time.perf_counter())


def measure_single_losses(
    codec: Codec, side: int, fps: float, times: int, server_mends: Sequence[str], mends: Sequence[str], window_s: float
) -> dict[str, Any]:
    """One packet and its first retransmission lost, and one and all its retransmissions, each way."""
    on_loopback(mends)

    async def run(port: int) -> dict[str, Any]:
        freezes: dict[str, list[float]] = {}
        async with Relay() as relay:
            camera = camera_for(mends, side, fps)
            async with publishing(port, camera, side, codec, relay) as (eye, answer, _):
                await asyncio.sleep(_SETTLE_S)
                for way, path in (("to_the_server", relay.up), ("from_the_server", relay.down)):
                    thief = Thief(answer["sdp"])
                    path.shape = Shape(drops=thief)
                    for name, repeats in (("packet_and_retransmission", 1), ("packet_for_good", 1e9)):
                        for index in range(times):
                            freeze_ms = await _steal(thief, eye, repeats, index % 2 == 0, window_s)
                            freezes.setdefault(f"{name}_{way}", []).append(round(freeze_ms, 1))
                    path.shape = Shape()
        return {"codec": codec, "size": f"{side}x{side}", "freezes_ms": freezes, "longest_ms": _longest(freezes)}

    with identity_server(tuple(server_mends)) as server:
        return asyncio.run(run(server.port))


def measure_pair_loss(fps: float, times: int, mends: Sequence[str], window_s: float) -> dict[str, Any]:
    """The same between two plain peers, with aiortc's own encoder whatever is mended."""
    on_loopback(mends)
    side = 256

    async def run() -> dict[str, Any]:
        freezes: dict[str, list[float]] = {}
        async with Relay() as relay:
            camera = camera_for((), side, fps)
            sender, receiver, track = await connected_pair(camera, "vp8", relay)
            eye = Eye(camera)
            watching = asyncio.create_task(eye.watch(track))
            await eye.sees(30)
            thief = Thief(sender.localDescription.sdp)
            relay.up.shape = Shape(drops=thief)
            for name, repeats in (("packet", 0), ("packet_and_retransmission", 1), ("packet_for_good", 1e9)):
                for index in range(times):
                    freeze_ms = await _steal(thief, eye, repeats, index % 2 == 0, window_s)
                    freezes.setdefault(name, []).append(round(freeze_ms, 1))
            watching.cancel()
            await sender.close()
            await receiver.close()
        return {"fps": fps, "size": f"{side}x{side}", "freezes_ms": freezes, "longest_ms": _longest(freezes)}

    return asyncio.run(run())


def measure_bad_path(
    codec: Codec,
    side: int,
    fps: float,
    seconds: float,
    mends: Sequence[str],
    way: Literal["up", "down", "both"] = "both",
    loss: float = 0.05,
    jitter_ms: float = 50.0,
) -> dict[str, Any]:
    """Loss and jitter with reordering for ``seconds``, then a clean path again.

    Args:
        way: ``up`` to the server, ``down`` from it.
    """
    on_loopback(mends)

    async def run(port: int) -> dict[str, Any]:
        async with Relay() as relay:
            camera = camera_for(mends, side, fps)
            async with publishing(port, camera, side, codec, relay) as (eye, _, _):
                began_s = time.perf_counter()
                before_kbps = await _kbps(relay, _CALM_S)
                before_ms = eye.latencies_ms(began_s)
                relay.shape(Shape(loss=loss, jitter_s=jitter_ms / 1000), way)
                bad_s = time.perf_counter()
                during_kbps = await _kbps(relay, seconds)
                relay.shape(Shape(), way)
                good_s = time.perf_counter()
                after_kbps = await _kbps(relay, _CALM_S)
        during_ms = eye.latencies_ms(bad_s, good_s)
        return {
            "codec": codec,
            "size": f"{side}x{side}",
            "way": way,
            "seconds": seconds,
            "loss_percent": loss * 100,
            "jitter_ms": jitter_ms,
            "packets": relay.up.counts.packets + relay.down.counts.packets,
            "lost": relay.up.counts.lost + relay.down.counts.lost,
            "before_ms": spread(before_ms),
            "during_ms": spread(during_ms),
            "fps_during": round(len(during_ms) / seconds, 1),
            "gaps_ms": _gaps(eye, bad_s, good_s),
            "longest_freeze_ms": round(longest_gap_ms(eye.seen, bad_s, good_s), 1),
            "freezes_over_500_ms": _freezes(eye, bad_s, good_s, 500),
            "normal_again_after_s": _recovery_s(eye, good_s, before_ms),
            "kbps": {"before": before_kbps, "during": during_kbps, "after": after_kbps},
            "unreadable": eye.unreadable,
        }

    with identity_server() as server:
        return asyncio.run(run(server.port))


async def _kbps(relay: Relay, seconds: float) -> dict[str, int]:
    """What goes through each way meanwhile, repetitions included."""
    before = relay.up.counts.bytes, relay.down.counts.bytes
    await asyncio.sleep(seconds)
    after = relay.up.counts.bytes, relay.down.counts.bytes
    return {way: round((after[at] - before[at]) * 8 / seconds / 1000) for at, way in enumerate(("up", "down"))}


def _freezes(eye: Eye, from_s: float, to_s: float, limit_ms: float) -> int:
    """How often no new picture came for so long."""
    times = [from_s, *(sighting.at_s for sighting in eye.seen if from_s < sighting.at_s < to_s), to_s]
    return sum((after - before) * 1000 > limit_ms for before, after in pairwise(times))


def _gaps(eye: Eye, from_s: float, to_s: float) -> dict[str, float]:
    times = [sighting.at_s for sighting in eye.seen if from_s <= sighting.at_s < to_s]
    return spread([1000 * (after - before) for before, after in pairwise(times)])


def _recovery_s(eye: Eye, good_s: float, before_ms: Sequence[float]) -> float | None:
    """When five pictures in a row have been as fresh as before, within half of that; None for never."""
    limit_ms = 1.5 * float(np.percentile(before_ms, 95)) if before_ms else 0.0
    fresh = 0
    for sighting in eye.seen:
        if sighting.at_s < good_s:
            continue
        fresh = fresh + 1 if sighting.latency_ms <= limit_ms else 0
        if fresh == _FRESH_PICTURES:
            return round(sighting.at_s - good_s, 2)
    return None


def _longest(freezes: dict[str, list[float]]) -> float:
    return max((freeze for row in freezes.values() for freeze in row), default=0.0)
