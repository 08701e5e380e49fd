"""Would it help to space a keyframe's packets out? A narrow place with a small buffer in front of a receiver, with a
pacer or without."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from streamgen.bench.figures import spread
from streamgen.bench.webrtc_peer import Codec, Eye, MendedCamera, connected_pair, longest_gap_ms, on_loopback
from streamgen.bench.webrtc_relay import Relay, Shape, rtp_of, video_types
from streamgen.frames import Pixels
from streamgen.server.webrtc.encoders import Bitrate

__all__ = ["measure_pacing"]

_KEYFRAME_EVERY_S = 1.0


class _Camera(MendedCamera):
    """Has a keyframe made of a picture now and then, and knows under which timestamps they left."""

    def __init__(self, side: int, fps: float, bitrate: Bitrate) -> None:
        super().__init__(side, fps, bitrate)
        self.sender: Any = None
        self.keyframes: set[int] = set()
        self._every = round(_KEYFRAME_EVERY_S * fps)
        self._chosen: set[int] = set()

    async def recv(self) -> Any:
        number, pixels = await super().recv()
        if self.sender is not None and number % self._every == 0:
            self.sender._send_keyframe()  # looked at when this picture is encoded
            self._chosen.add(number)
        return number, pixels

    def on_sending(self, item: tuple[int, Pixels], rtp_timestamp: int) -> None:
        if item[0] in self._chosen:
            self.keyframes.add(rtp_timestamp)


@dataclass(slots=True)
class _Frame:
    """Packets of one frame at the narrow place."""

    packets: int = 0
    bytes: int = 0
    lost: int = 0


@dataclass(slots=True)
class _Tally:
    """Counts video packets by frame. For ``Path.watch``."""

    video: frozenset[int]
    frames: dict[int, _Frame] = field(default_factory=dict)

    def __call__(self, data: bytes, through: bool) -> None:
        packet = rtp_of(data)
        if packet is None or packet.payload_type not in self.video:
            return
        frame = self.frames.setdefault(packet.timestamp, _Frame())
        frame.packets += 1
        frame.bytes += len(data)
        frame.lost += not through


def measure_pacing(
    codec: Codec,
    side: int,
    fps: float,
    seconds: float,
    mends: Sequence[str],
    bottleneck_mbps: float,
    buffer_bytes: int,
    video_kbps: int,
    pace: float,
) -> dict[str, Any]:
    """A keyframe every second through the narrow place.

    Args:
        video_kbps: what the encoder may spend; less than passes.
        pace: times that is how fast packets are let out; 0 for as fast as they come.
    """
    on_loopback(mends)

    async def run() -> dict[str, Any]:
        async with Relay() as relay:
            camera = _Camera(side, fps, Bitrate(ceiling=video_kbps * 1000, floor=video_kbps * 1000))
            sender, receiver, track = await connected_pair(camera, codec, relay)
            eye = Eye(camera)
            watching = asyncio.create_task(eye.watch(track))
            await eye.sees(30)
            tally = _Tally(video_types(sender.localDescription.sdp)[0])
            relay.up.watch = tally
            relay.up.shape = Shape(
                bits_per_second=bottleneck_mbps * 1e6,
                buffer_bytes=buffer_bytes,
                pace_bits_per_second=pace * video_kbps * 1000,
            )
            camera.sender = sender.getTransceivers()[0].sender
            began_s = time.perf_counter()
            await asyncio.sleep(seconds)
            latencies_ms = eye.latencies_ms(began_s)
            freeze_ms = longest_gap_ms(eye.seen, began_s, time.perf_counter())
            watching.cancel()
            await sender.close()
            await receiver.close()
        large = [frame for timestamp, frame in tally.frames.items() if timestamp in camera.keyframes]
        small = [frame for timestamp, frame in tally.frames.items() if timestamp not in camera.keyframes]
        return {
            "codec": codec,
            "size": f"{side}x{side}",
            "video_kbps": video_kbps,
            "bottleneck_mbps": bottleneck_mbps,
            "buffer_kb": buffer_bytes / 1000,
            "paced_at_times_the_bitrate": pace,
            "keyframes": len(large),
            "keyframe_kb": round(sum(frame.bytes for frame in large) / max(1, len(large)) / 1000, 1),
            "keyframe_packets_lost_percent": _percent(large),
            "other_packets_lost_percent": _percent(small),
            "latency_ms": spread(latencies_ms),
            "longest_freeze_ms": round(freeze_ms, 1),
        }

    return asyncio.run(run())


def _percent(frames: Sequence[_Frame]) -> float:
    packets = sum(frame.packets for frame in frames)
    return round(100 * sum(frame.lost for frame in frames) / packets, 1) if packets else 0.0
