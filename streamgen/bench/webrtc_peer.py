"""Ends of WebRTC connections that measure: a camera whose pictures carry numbers, and an eye that knows them again."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Any, Literal

import av
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from streamgen.bench.pictures import moving_pictures
from streamgen.bench.webrtc_mark import BITS, read_mark, stamp_mark
from streamgen.bench.webrtc_relay import Relay
from streamgen.errors import ProtocolError
from streamgen.frames import Pixels
from streamgen.server.webrtc import ice
from streamgen.server.webrtc.aiortc_shim import SendingTrack, install
from streamgen.server.webrtc.encoders import H264, Bitrate, VideoEncoder, VideoPicture, Vp8

__all__ = [
    "Camera",
    "Codec",
    "Eye",
    "MendedCamera",
    "Sighting",
    "camera_for",
    "connect_to_server",
    "connected_pair",
    "longest_gap_ms",
    "offer",
    "on_loopback",
    "post",
]

Codec = Literal["vp8", "h264"]
CLOCK_RATE = 90_000
CONNECT_S = 15.0
_PICTURES = 24


def on_loopback(mends: Iterable[str]) -> None:
    """Set this process up: 127.0.0.1 alone, and these mends of aiortc."""
    install(mends)
    ice.use(ice.IceSetup(addresses=("127.0.0.1",)))


# -------------------------------------------------------------------------------------------------------------- cameras


class _Shutter:
    """Gives the next picture's number when its time has come. One whose moment has passed is left out."""

    def __init__(self, fps: float) -> None:
        self._fps = fps
        self._began_s: float | None = None
        self._ticks = 0

    async def next(self) -> int:
        now_s = time.perf_counter()
        if self._began_s is None:
            self._began_s = now_s
        self._ticks = max(self._ticks + 1, int((now_s - self._began_s) * self._fps))
        await asyncio.sleep(max(0.0, self._began_s + self._ticks / self._fps - now_s))
        return self._ticks


class Camera(MediaStreamTrack):
    """For aiortc's own encoders.

    Args:
        side: width and height in pixels.

    ``sent`` holds when each picture was handed over, by its number: ``time.perf_counter`` seconds.
    """

    kind = "video"

    def __init__(self, side: int, fps: float) -> None:
        super().__init__()
        self.sent: dict[int, float] = {}
        self._shutter = _Shutter(fps)
        self._fps = fps
        self._planes = [_planes(picture) for picture in moving_pictures(side, side, _PICTURES)]
        self._side = side

    async def recv(self) -> Any:
        number = await self._shutter.next()
        planes = self._planes[number % _PICTURES].copy()
        stamp_mark(planes[: self._side], number)
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts, frame.time_base = round(number * CLOCK_RATE / self._fps), Fraction(1, CLOCK_RATE)
        self.sent[number & _MASK] = time.perf_counter()
        return frame


class MendedCamera(SendingTrack):
    """For our encoders; needs the mend ``sending``. Else as ``Camera``."""

    def __init__(self, side: int, fps: float, bitrate: Bitrate | None = None) -> None:
        super().__init__(self._make_encoder)
        self.sent: dict[int, float] = {}
        self.encode_ms: list[float] = []
        self._bitrate = bitrate or Bitrate()
        self._shutter = _Shutter(fps)
        self._fps = fps
        self._pictures = moving_pictures(side, side, _PICTURES)

    async def recv(self) -> Any:
        number = await self._shutter.next()
        pixels = self._pictures[number % _PICTURES].copy()
        stamp_mark(pixels, number)
        self.sent[number & _MASK] = time.perf_counter()
        return number, pixels

    def prepare(self, item: tuple[int, Pixels]) -> VideoPicture:
        number, pixels = item
        return VideoPicture(pixels, round(number * CLOCK_RATE / self._fps))

    def on_encoded(self, item: Any, encode_ms: float) -> None:
        self.encode_ms.append(encode_ms)

    def on_failed(self, error: Exception) -> None:
        self.stop()

    def on_sending(self, item: Any, rtp_timestamp: int) -> None:
        pass

    def _make_encoder(self, codec: Any) -> VideoEncoder:
        return H264(self._bitrate) if codec.name == "H264" else Vp8(self._bitrate)


def camera_for(mends: Iterable[str], side: int, fps: float) -> Camera | MendedCamera:
    """The one that goes with these mends."""
    return MendedCamera(side, fps) if "sending" in mends else Camera(side, fps)


def _planes(picture: Pixels) -> Any:
    """uint8 [H * 3 / 2, W]: luma above the two chroma planes."""
    return av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p").to_ndarray()


_MASK = (1 << BITS) - 1


# ------------------------------------------------------------------------------------------------------------- watching


@dataclass(frozen=True, slots=True)
class Sighting:
    """A picture came out of the decoder for the first time.

    Args:
        at_s: ``time.perf_counter``.
        latency_ms: since the camera handed it over.
    """

    number: int
    at_s: float
    latency_ms: float


@dataclass(slots=True)
class Eye:
    """Takes every picture of a track, and knows when ``camera`` took it. Run ``watch`` in a task."""

    camera: Camera | MendedCamera
    seen: list[Sighting] = field(default_factory=list)
    unreadable: int = 0

    async def watch(self, track: MediaStreamTrack) -> None:
        """Until the track ends."""
        newest = -1
        with suppress(MediaStreamError):
            while True:
                picture = await track.recv()
                now_s = time.perf_counter()
                number = read_mark(picture)
                if number is None or number not in self.camera.sent:
                    self.unreadable += 1
                elif number != newest:
                    newest = number
                    self.seen.append(Sighting(number, now_s, (now_s - self.camera.sent[number]) * 1000))

    async def sees(self, count: int, limit_s: float = CONNECT_S) -> None:
        """Wait for ``count`` pictures in all."""
        async with asyncio.timeout(limit_s):
            while len(self.seen) < count:
                await asyncio.sleep(0.01)

    def latencies_ms(self, from_s: float, to_s: float = float("inf")) -> list[float]:
        """Of the pictures that came in this time."""
        return [sighting.latency_ms for sighting in self.seen if from_s <= sighting.at_s < to_s]


def longest_gap_ms(seen: Iterable[Sighting], from_s: float, to_s: float) -> float:
    """The longest time in which no new picture came."""
    times = [from_s, *(sighting.at_s for sighting in seen if from_s < sighting.at_s < to_s), to_s]
    return max(after - before for before, after in pairwise(times)) * 1000


# ----------------------------------------------------------------------------------------------------------- connecting


def offer(track: MediaStreamTrack | None, codec: Codec | None = None) -> tuple[RTCPeerConnection, Any, Any]:
    """A connection that is about to offer ``track`` both ways (None: video one way, to here) and a data channel.

    Returns:
        The connection, the video's transceiver, the channel.
    """
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    channel = peer.createDataChannel("streamgen.v1")
    video = peer.addTransceiver(track or "video", "sendrecv" if track else "recvonly")
    if codec is not None:
        known = RTCRtpSender.getCapabilities("video").codecs
        video.setCodecPreferences([c for c in known if c.name.lower() in (codec, "rtx")])
    return peer, video, channel


async def connect_to_server(
    peer: RTCPeerConnection, channel: Any, port: int, hello: dict[str, Any], relay: Relay | None = None
) -> dict[str, Any]:
    """Offer to a server and answer its pings.

    Returns:
        Its answer, with ``location`` in it.

    Raises:
        ProtocolError: ``offer_refused``.
    """

    @channel.on("message")  # type: ignore[untyped-decorator]
    def _(message: Any) -> None:
        said = json.loads(message) if isinstance(message, str) else {}
        if said.get("type") == "ping" and channel.readyState == "open":
            channel.send(json.dumps({"type": "pong", "id": said["id"]}))

    await peer.setLocalDescription(await peer.createOffer())
    sdp = peer.localDescription.sdp
    body = {"type": "offer", "sdp": relay.offer(sdp) if relay else sdp, "hello": {"type": "hello", **hello}}
    status, answer = await asyncio.to_thread(post, port, "/webrtc/offer", body)
    if status != 200:
        raise ProtocolError("offer_refused", f"the server refused the offer: {answer.get('message')}")
    sdp = relay.answer(answer["sdp"]) if relay else answer["sdp"]
    await peer.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
    return answer


async def connected_pair(
    track: MediaStreamTrack, codec: Codec | None = None, relay: Relay | None = None
) -> tuple[RTCPeerConnection, RTCPeerConnection, Any]:
    """Two plain peers in this process, the first one sending.

    Returns:
        Sender, receiver, and the receiver's track.
    """
    sender, video, _ = offer(track, codec)
    video.direction = "sendonly"
    receiver = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    await sender.setLocalDescription(await sender.createOffer())
    sdp = sender.localDescription.sdp
    await receiver.setRemoteDescription(RTCSessionDescription(relay.offer(sdp) if relay else sdp, "offer"))
    await receiver.setLocalDescription(await receiver.createAnswer())
    sdp = receiver.localDescription.sdp
    await sender.setRemoteDescription(RTCSessionDescription(relay.answer(sdp) if relay else sdp, "answer"))
    return sender, receiver, receiver.getTransceivers()[0].receiver.track


def post(port: int, path: str, body: dict[str, Any] | bytes, limit_s: float = 60.0) -> tuple[int, dict[str, Any]]:
    """POST JSON; status and the JSON that came back, with ``location`` in it where the server named one."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    url = f"http://127.0.0.1:{port}{path}"
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=limit_s) as response:
            return response.status, json.load(response) | {"location": response.headers.get("Location")}
    except urllib.error.HTTPError as error:
        text = error.read()
        try:
            return error.code, json.loads(text)
        except ValueError:
            return error.code, {"message": text.decode(errors="replace")[:200]}
