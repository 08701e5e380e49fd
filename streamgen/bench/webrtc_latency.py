"""Through the server and back with an engine that does nothing: what WebRTC adds to a picture's age."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from streamgen.bench.figures import spread
from streamgen.bench.webrtc_peer import (
    Camera,
    Codec,
    Eye,
    MendedCamera,
    camera_for,
    connect_to_server,
    connected_pair,
    offer,
    on_loopback,
)
from streamgen.bench.webrtc_relay import Relay
from streamgen.bench.webrtc_server import identity_server

__all__ = ["measure_direct", "measure_through_server", "publishing"]

_WARM_PICTURES = 30


@asynccontextmanager
async def publishing(
    port: int,
    camera: Camera | MendedCamera,
    side: int,
    codec: Codec | None = None,
    relay: Relay | None = None,
    session: str | None = None,
) -> AsyncIterator[tuple[Eye, dict[str, Any], str]]:
    """A connection that publishes ``camera`` and looks at what comes back.

    Yields:
        The eye, the server's answer and the offer. The first pictures have been seen.
    """
    peer, video, channel = offer(camera, codec)
    eye = Eye(camera)
    hello = {"format": {"width": side, "height": side}, "settings": {"max_fps": 60}, "session": session}
    watching = None
    try:
        answer = await connect_to_server(peer, channel, port, hello, relay)
        watching = asyncio.create_task(eye.watch(video.receiver.track))
        await eye.sees(_WARM_PICTURES)
        yield eye, answer, peer.localDescription.sdp
    finally:
        if watching is not None:
            watching.cancel()
        await peer.close()


def measure_through_server(
    codec: Codec, side: int, fps: float, seconds: float, server_mends: Sequence[str], mends: Sequence[str]
) -> dict[str, Any]:
    """From a picture handed to one peer's encoder to the same picture out of its decoder, by way of the server.

    Args:
        server_mends: of the server's aiortc.
        mends: of the measuring peer's.
    """
    on_loopback(mends)

    async def run(port: int) -> dict[str, Any]:
        camera = camera_for(mends, side, fps)
        async with publishing(port, camera, side, codec) as (eye, _, _):
            began_s = time.perf_counter()
            sent = len(camera.sent)
            await asyncio.sleep(seconds)
            return _row(codec, side, seconds, eye, began_s, len(camera.sent) - sent)

    with identity_server(tuple(server_mends)) as server:
        return asyncio.run(run(server.port))


def measure_direct(codec: Codec, side: int, fps: float, seconds: float, mends: Sequence[str]) -> dict[str, Any]:
    """The same between two peers without a server, for comparison."""
    on_loopback(mends)

    async def run() -> dict[str, Any]:
        camera = camera_for(mends, side, fps)
        sender, receiver, track = await connected_pair(camera, codec)
        eye = Eye(camera)
        watching = asyncio.create_task(eye.watch(track))
        await eye.sees(_WARM_PICTURES)
        began_s = time.perf_counter()
        sent = len(camera.sent)
        await asyncio.sleep(seconds)
        row = _row(codec, side, seconds, eye, began_s, len(camera.sent) - sent)
        watching.cancel()
        await sender.close()
        await receiver.close()
        return row

    return asyncio.run(run())


def _row(codec: Codec, side: int, seconds: float, eye: Eye, began_s: float, sent: int) -> dict[str, Any]:
    latencies_ms = eye.latencies_ms(began_s)
    return {
        "codec": codec,
        "size": f"{side}x{side}",
        "fps_in": round(sent / seconds, 1),
        "fps_out": round(len(latencies_ms) / seconds, 1),
        "latency_ms": spread(latencies_ms),
    }
