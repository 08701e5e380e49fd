"""One WebRTC connection: media to and from a session, and the dialogue on its data channel."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack

from streamgen.errors import ProtocolError, StreamgenError
from streamgen.protocol import Bye, Close, Hello, Ping, Welcome
from streamgen.server.access import Grant
from streamgen.server.dialogue import Dialogue
from streamgen.server.house import House
from streamgen.server.outbox import Delivery, End
from streamgen.server.webrtc.aiortc_shim import (
    keep_encoded,
    offered_to_receive,
    prefer_codec,
    set_apart,
    signs_of_life,
)
from streamgen.server.webrtc.encoders import H264, Bitrate, VideoEncoder, Vp8
from streamgen.server.webrtc.ice import IceSetup
from streamgen.server.webrtc.offer import Offer
from streamgen.server.webrtc.tracks import OutputTrack, SoundTrack, VideoIntake

__all__ = ["CONNECT_TIMEOUT_S", "Peer"]

_LOG = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 15.0
_MAX_INBOX = 64
_HEARTBEAT_S = 1.0
_SILENCE_S = 3.0
_SILENCE_WITHOUT_CHANNEL_S = 12.0
"""A viewer of a session that rests has nothing to say but the checks of its connection, every few seconds."""
_BINARY_PART_BYTES = 16 * 1024
"""Every implementation of data channels carries messages of this size."""


class Peer:
    """One connection, from its offer on. ``on_closed`` is called once it is over, whatever ended it.

    Args:
        name: unguessable, as whoever knows it may end the connection.
        grant: what the client may do.
        hardware_h264: the hardware encoder to use; empty for none.
    """

    def __init__(
        self,
        name: str,
        house: House,
        grant: Grant,
        ice: IceSetup,
        on_closed: Callable[[Peer], None],
        hardware_h264: str = "",
    ) -> None:
        self.name = name
        self.dialogue = Dialogue(house)
        self.dialogue.admit(grant)
        self.ufrags: frozenset[str] = frozenset()
        self.connection = RTCPeerConnection(ice.configuration(time.time()))
        self._house = house
        self._hardware = hardware_h264
        self._on_closed = on_closed
        self._outbox = self.dialogue.outbox
        self._channel: Any = None
        self._inbox: asyncio.Queue[str] = asyncio.Queue(_MAX_INBOX)
        self._channel_open = asyncio.Event()
        self._connected = asyncio.Event()
        self._video: tuple[MediaStreamTrack, Any] | None = None  # received, with its receiver
        self._output: OutputTrack | None = None
        self._sound: SoundTrack | None = None
        self._bitrate = Bitrate()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing: asyncio.Task[None] | None = None
        self.connection.on("track", self._on_track)
        self.connection.on("datachannel", self._on_channel)
        self.connection.on("connectionstatechange", self._on_state)

    async def answer(self, offer: Offer, hello: Hello | None) -> tuple[str, Welcome | None]:
        """Answer an offer; the connection is being made from then on.

        Args:
            hello: what the client says first; without one it is awaited on the data channel.

        Returns:
            The answer's SDP, and the welcome when there was a hello.

        Raises:
            ProtocolError: ``bad_sdp``.
            StreamgenError: why the hello cannot be granted.
        """
        self.ufrags = offer.ufrags
        await self._negotiate(self.connection.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer")))
        if hello is None and not offer.has_channel:
            hello = Hello()
        welcome = None if hello is None else await self.dialogue.hello(hello)
        if hello is None:
            self.dialogue.expect_hello()
        self._add_output()
        await self._negotiate(self._describe())
        self._start(self._watch(offer.has_channel))
        self._start(self._send_all(offer.has_channel))
        if welcome is not None:
            self._take_in()
        return self.connection.localDescription.sdp, welcome

    async def _describe(self) -> None:
        await self.connection.setLocalDescription(await self.connection.createAnswer())

    async def _negotiate(self, step: Coroutine[Any, Any, None]) -> None:
        """Raises:
        ProtocolError: ``bad_sdp``.
        """
        try:
            await step
        except Exception as error:  # the transport edge: aiortc raises whatever its parser trips over
            raise ProtocolError("bad_sdp", f"the offer cannot be understood: {error!r}"[:200], field="sdp") from None

    def close(self) -> asyncio.Task[None]:
        """End the connection; a second call is the first one's."""
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close())
        return self._closing

    # --------------------------------------------------------------------------------------------------------- media

    def _on_track(self, track: MediaStreamTrack) -> None:
        transceivers = self.connection.getTransceivers()
        receiver = next(t.receiver for t in transceivers if t.receiver.track is track)
        if track.kind == "video" and self._video is None:
            self._video = (track, receiver)
        elif track.kind == "audio" and self._sound is None:
            keep_encoded(track)
            self._sound = SoundTrack(track, self._sound_delay_s, self._house.clock)
            self._start(self._sound.fill())

    def _add_output(self) -> None:
        """Send video back where the offer takes any, and sound in a stream of its own, so that the browser does not
        hold the picture for it."""
        for transceiver in self.connection.getTransceivers():
            if not offered_to_receive(transceiver):
                continue
            if transceiver.kind == "video" and self._output is None:
                self._output = OutputTrack(self._outbox, self._make_encoder, self._house.clock, self._fail)
                transceiver.sender.replaceTrack(self._output)
                transceiver.direction = _both(transceiver.direction)
                session = self.dialogue.session
                prefer_codec(transceiver, "auto" if session is None else session.settings.video_codec)
            elif transceiver.kind == "audio" and self._sound is not None:
                transceiver.sender.replaceTrack(self._sound)
                set_apart(transceiver.sender, "sound")
                transceiver.direction = _both(transceiver.direction)

    def _make_encoder(self, codec: Any) -> VideoEncoder:
        if codec.name == "H264":
            return H264(self._bitrate, self._house.clock, self._hardware)
        return Vp8(self._bitrate, self._house.clock)

    def _take_in(self) -> None:
        """Begin to take pictures in, once it is known for whom."""
        session, video = self.dialogue.session, self._video
        if session is not None and video is not None and self.dialogue.role == "publish":
            self._video = None
            intake = VideoIntake(*video, session, self._outbox, self._house.pool, self._house.clock)
            self._start(intake.run())

    def _sound_delay_s(self) -> float:
        session = self.dialogue.session
        if session is None or self._output is None or not session.settings.audio_sync:
            return 0.0
        return self._output.delay_s

    # ------------------------------------------------------------------------------------------------------ dialogue

    def _on_channel(self, channel: Any) -> None:
        if self._channel is not None:
            channel.close()
            return
        self._channel = channel
        channel.on("message", self._on_message)
        self._start(self._obey_all())
        self._channel_open.set()

    def _on_message(self, data: str | bytes) -> None:
        if self._outbox.ended:
            return
        if not isinstance(data, str):
            self.dialogue.refuse(ProtocolError("unexpected_binary", "frames travel as video on this transport"))
        elif self._inbox.full():
            self._outbox.end(Close.SLOW, f"more than {_MAX_INBOX} messages at once")
        else:
            self._inbox.put_nowait(data)

    async def _obey_all(self) -> None:
        """One message after the other."""
        while True:
            await self.dialogue.on_text(await self._inbox.get())
            self._take_in()

    async def _send_all(self, has_channel: bool) -> None:
        """Messages to the channel, where there is one, and pictures to the encoder."""
        await self._connected.wait()
        if has_channel:
            await self._channel_open.wait()
        while not isinstance(item := await self._outbox.next(), End):
            if isinstance(item, Delivery):
                self._show(item)
            elif self._channel is not None:
                self._say(item)
        if self._channel is not None and not item.said:
            self._say(Bye(reason=item.reason, code=item.code).dump())
        self.close()

    def _show(self, delivery: Delivery) -> None:
        if self._output is None:
            self._outbox.acknowledged(delivery.seq)
            return
        session = self.dialogue.session
        if session is not None:
            self._bitrate.ceiling = session.settings.video_bitrate_kbps * 1000
        self._output.put(delivery)

    def _say(self, message: str | bytes) -> None:
        if self._channel.readyState != "open":
            return
        if isinstance(message, str):
            self._channel.send(message)
            return
        for at in range(0, len(message), _BINARY_PART_BYTES):
            self._channel.send(message[at : at + _BINARY_PART_BYTES])

    # ---------------------------------------------------------------------------------------------------- life, death

    def _on_state(self) -> None:
        state = self.connection.connectionState
        if state == "connected":
            self._connected.set()
        elif state in ("failed", "closed"):
            self.close()

    async def _watch(self, has_channel: bool) -> None:
        """End a connection that is never made, or falls silent. Whatever arrives is life: even a client that knows no
        heartbeat acknowledges ours, and reports on the video it gets."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self._connected.wait()
        except TimeoutError:
            _LOG.info("a WebRTC connection was not made within %.0f s", CONNECT_TIMEOUT_S)
            self.close()
            return
        received, heard_s, beat = -1, self._house.clock(), 0
        silence_s = _SILENCE_S if has_channel else _SILENCE_WITHOUT_CHANNEL_S
        while self._house.clock() - heard_s < silence_s:
            if has_channel and self._channel_open.is_set():
                self._outbox.tell(Ping(id=str(beat)))
                beat += 1
            await asyncio.sleep(_HEARTBEAT_S)
            now = signs_of_life(self.connection)
            if now != received:
                received, heard_s = now, self._house.clock()
        _LOG.info("a WebRTC connection fell silent")
        self.close()

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """The transport edge: a defect here must not leave a client connected to nothing."""
        _LOG.error("a WebRTC connection failed", exc_info=error)
        self.close()

    async def _close(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        self._outbox.end(Close.NORMAL, "closed")
        self.dialogue.close()
        if self._output is not None:
            self._output.stop()
        try:
            await self.connection.close()
        except (StreamgenError, ConnectionError, AttributeError) as error:
            # An attribute of None: of an offer understood in part, aiortc closes transports that it never made.
            _LOG.debug("closing a WebRTC connection: %s", error)
        finally:
            self._on_closed(self)


def _both(direction: str) -> str:
    return "sendrecv" if direction in ("recvonly", "sendrecv") else "sendonly"
