"""A real aiortc peer that does exactly what a test tells it."""

from __future__ import annotations

import asyncio
import json
from fractions import Fraction
from typing import Any

import av
import httpx
import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from tests.server.conftest import TIMEOUT_S, Running

__all__ = ["Flat", "RtcPeer", "Tone"]


class Flat(MediaStreamTrack):
    """Pictures of one colour, fifty a second."""

    kind = "video"

    def __init__(self, colour: tuple[int, int, int] = (90, 90, 90), side: int = 64) -> None:
        super().__init__()
        self._pixels = np.full((side, side, 3), colour, np.uint8)
        self._count = 0

    async def recv(self) -> Any:
        if self.readyState != "live":
            raise MediaStreamError
        await asyncio.sleep(0.02)  # the beat of a camera; nothing waits for it
        frame = av.VideoFrame.from_ndarray(self._pixels, format="rgb24").reformat(format="yuv420p")
        frame.pts, frame.time_base = self._count * 1800, Fraction(1, 90_000)
        self._count += 1
        return frame


class Tone(MediaStreamTrack):
    """Opus packets whose bytes tell their number."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    async def recv(self) -> Any:
        await asyncio.sleep(0.02)
        packet = av.Packet(b"\xfc" + self._count.to_bytes(4, "big"))
        packet.pts, packet.time_base = self._count * 960, Fraction(1, 48_000)
        self._count += 1
        return packet


class RtcPeer:
    """One connection to a server under test. Call ``close()`` when done.

    Args:
        video: sent, None to only receive.
        channel: whether to open a data channel.
    """

    def __init__(
        self,
        server: Running,
        video: MediaStreamTrack | None = None,
        *,
        audio: MediaStreamTrack | None = None,
        channel: bool = True,
        direction: str | None = None,
    ) -> None:
        self.server = server
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.messages: asyncio.Queue[Any] = asyncio.Queue()
        self.location = ""
        self.channel: Any = self.connection.createDataChannel("streamgen.v1") if channel else None
        if channel:
            self.channel.on("message", self.messages.put_nowait)
        direction = direction or ("recvonly" if video is None else "sendrecv")
        self.video = self.connection.addTransceiver(video or "video", direction)
        self.audio = None if audio is None else self.connection.addTransceiver(audio, "sendrecv")

    async def offer(self) -> str:
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return str(self.connection.localDescription.sdp)

    async def accept(self, answer: str) -> None:
        await self.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def post(self, hello: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
        """The offer's answer, not accepted yet."""
        body: dict[str, Any] = {"type": "offer", "sdp": await self.offer()}
        if hello is not None:
            body["hello"] = {"type": "hello", **hello}
        async with httpx.AsyncClient(base_url=self.server.http, timeout=TIMEOUT_S) as http:
            answer = await http.post("/webrtc/offer", json=body, headers=headers)
        self.location = answer.headers.get("location", "")
        return answer

    async def connect(self, hello: dict[str, Any] | None = None) -> dict[str, Any]:
        """Connect, and wait until the data channel is open; returns what was answered."""
        answer = await self.post(hello)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        await self.accept(body["sdp"])
        if self.channel is not None:
            await self.opened()
        return body

    async def opened(self) -> None:
        if self.channel.readyState != "open":
            is_open = asyncio.Event()
            self.channel.on("open", is_open.set)
            async with asyncio.timeout(TIMEOUT_S):
                await is_open.wait()

    def say(self, type: str, **fields: Any) -> None:
        self.channel.send(json.dumps({"type": type, **fields}))

    async def hear(self, *types: str) -> dict[str, Any]:
        """The next message of one of these types; everything before it is skipped."""
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                data = await self.messages.get()
                if isinstance(data, str) and (message := json.loads(data))["type"] in types:
                    return dict(message)

    async def see(self) -> np.ndarray:
        """The next picture, uint8 [H, W, 3]."""
        async with asyncio.timeout(TIMEOUT_S):
            frame: Any = await self.video.receiver.track.recv()
        return np.asarray(frame.to_ndarray(format="rgb24"))

    async def close(self) -> None:
        await self.connection.close()
