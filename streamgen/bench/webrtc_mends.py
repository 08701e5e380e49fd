"""What single mends of aiortc are worth: two plain peers in one process, with and without."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from streamgen.bench.figures import spread
from streamgen.bench.webrtc_latency import measure_direct
from streamgen.bench.webrtc_loss import measure_pair_loss
from streamgen.bench.webrtc_peer import CONNECT_S, Eye, camera_for, connected_pair, on_loopback
from streamgen.bench.webrtc_relay import Relay

__all__ = ["measure_channel", "measure_loop", "measure_queues", "measure_receiving"]

_SIDE = 256
_FPS = 30.0
_SLOW_DECODING_S = 0.08
_MESSAGE_BYTES = 16 * 1024


def measure_receiving(mends: Sequence[str], seconds: float, times: int, window_s: float) -> dict[str, Any]:
    """Send-to-receive latency at 30 and 15 fps, and the freezes that lost packets leave."""
    rows = [measure_direct("vp8", _SIDE, fps, seconds, mends) for fps in (30.0, 15.0)]
    return {"latency": rows, "loss": measure_pair_loss(_FPS, times, mends, window_s)}


def measure_queues(mends: Sequence[str], seconds: float, slow_seconds: float) -> dict[str, Any]:
    """What waits in a receiver after ``seconds`` of a program that takes no pictures, and after ``slow_seconds`` of a
    decoder that needs longer than a frame lasts."""
    on_loopback(mends)
    return {
        "pictures_nobody_took": {"seconds": seconds, **asyncio.run(_waiting(seconds, slow=False))},
        "slow_decoder": {"seconds": slow_seconds, **asyncio.run(_waiting(slow_seconds, slow=True))},
    }


async def _waiting(seconds: float, *, slow: bool) -> dict[str, Any]:
    camera = camera_for((), _SIDE, _FPS)
    sender, receiver, track = await connected_pair(camera, "vp8")
    restore = _slow_down() if slow else lambda: None
    eye = Eye(camera)
    watching = asyncio.create_task(eye.watch(track)) if slow else None
    if not slow:
        async with asyncio.timeout(CONNECT_S):
            await track.recv()
    began_s = time.perf_counter()
    await asyncio.sleep(seconds)
    inside: Any = receiver.getTransceivers()[0].receiver
    row: dict[str, Any] = {
        "pictures": track._queue.qsize(),
        "encoded_frames": inside._RTCRtpReceiver__decoder_queue.qsize(),
    }
    if watching is not None:
        newest_ms = eye.latencies_ms(began_s)[-1:]
        row["newest_picture_is_old_ms"] = round(newest_ms[0], 1) if newest_ms else None
        watching.cancel()
    restore()
    await sender.close()
    await receiver.close()
    return row


def _slow_down() -> Any:
    """Have every VP8 frame take longer to decode; returns what undoes it."""
    from aiortc.codecs.vpx import Vp8Decoder

    decoder: Any = Vp8Decoder
    decode = decoder.decode

    def slowly(self: Any, frame: Any) -> Any:
        time.sleep(_SLOW_DECODING_S)
        return decode(self, frame)

    decoder.decode = slowly
    return lambda: setattr(decoder, "decode", decode)


def measure_loop(mends: Sequence[str], side: int, seconds: float, busy_threads: int) -> dict[str, Any]:
    """How late the event loop is while it sends video, and how old pictures get while other work fills the executor
    that asyncio shares out.

    Args:
        busy_threads: that sleep in that executor, all the time.
    """
    on_loopback(mends)

    async def run() -> dict[str, Any]:
        camera = camera_for(mends, side, _FPS)
        sender, receiver, track = await connected_pair(camera, "h264")
        eye = Eye(camera)
        watching = asyncio.create_task(eye.watch(track))
        await eye.sees(30)
        began_s = time.perf_counter()
        late_ms = await _lateness(seconds)
        calm_ms = eye.latencies_ms(began_s)
        loop = asyncio.get_running_loop()
        ends_s = time.perf_counter() + seconds
        busy = [loop.run_in_executor(None, _keep_busy, ends_s) for _ in range(busy_threads)]
        began_s = time.perf_counter()
        await asyncio.wait(busy)
        crowded_ms = eye.latencies_ms(began_s)
        watching.cancel()
        await sender.close()
        await receiver.close()
        return {
            "size": f"{side}x{side}",
            "loop_late_ms": spread(late_ms),
            "loop_late_most_ms": round(max(late_ms), 1),
            "latency_ms": spread(calm_ms),
            "latency_with_a_full_executor_ms": spread(crowded_ms),
            "fps_with_a_full_executor": round(len(crowded_ms) / seconds, 1),
        }

    return asyncio.run(run())


async def _lateness(seconds: float, beat_s: float = 0.005) -> list[float]:
    late_ms = []
    ends_s = time.perf_counter() + seconds
    while (began_s := time.perf_counter()) < ends_s:
        await asyncio.sleep(beat_s)
        late_ms.append((time.perf_counter() - began_s - beat_s) * 1000)
    return late_ms


def _keep_busy(ends_s: float) -> None:
    """What a database query or a file does to a thread."""
    time.sleep(max(0.0, ends_s - time.perf_counter()))


def measure_channel(mends: Sequence[str], messages: int) -> dict[str, Any]:
    """The longest datagrams of a connection that carries video and large messages."""
    on_loopback(mends)

    async def run() -> dict[str, Any]:
        async with Relay() as relay:
            sender = RTCPeerConnection(RTCConfiguration(iceServers=[]))
            receiver = RTCPeerConnection(RTCConfiguration(iceServers=[]))
            channel = sender.createDataChannel("streamgen.v1")
            opened, arrived, came = asyncio.Event(), asyncio.Event(), []
            channel.on("open", opened.set)

            def took(message: bytes) -> None:
                came.append(len(message))
                if len(came) == messages:
                    arrived.set()

            receiver.on("datachannel", lambda incoming: incoming.on("message", took))
            sender.addTrack(camera_for(mends, 512, _FPS))
            await sender.setLocalDescription(await sender.createOffer())
            offered = relay.offer(sender.localDescription.sdp)
            await receiver.setRemoteDescription(RTCSessionDescription(offered, "offer"))
            await receiver.setLocalDescription(await receiver.createAnswer())
            answered = relay.answer(receiver.localDescription.sdp)
            await sender.setRemoteDescription(RTCSessionDescription(answered, "answer"))
            async with asyncio.timeout(CONNECT_S):
                await opened.wait()
                relay.up.counts.longest.clear()  # handshakes have longer ones
                for _ in range(messages):
                    channel.send(bytes(_MESSAGE_BYTES))
                await arrived.wait()
            while relay.up.counts.longest.get("rtp", 0) == 0:
                await asyncio.sleep(0.05)
            longest = relay.up.counts.longest
            await sender.close()
            await receiver.close()
            return {"message_bytes": _MESSAGE_BYTES, "largest_datagram_bytes": {**longest}}

    return asyncio.run(run())
