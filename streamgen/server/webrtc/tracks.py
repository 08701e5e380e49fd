"""Pictures and sound on their way through a WebRTC connection."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import av
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from streamgen.codec import flatten, pack_alpha
from streamgen.frames import Frame, Pixels
from streamgen.protocol import OutputSent
from streamgen.server.outbox import Delivery, Outbox
from streamgen.server.picture import CodecPool
from streamgen.server.session import Session
from streamgen.server.webrtc.aiortc_shim import SendingTrack, captured_us
from streamgen.server.webrtc.encoders import CLOCK_RATE, VideoEncoder, VideoPicture
from streamgen.settings import FrameFormat
from streamgen.wire import Flags

__all__ = ["OutputTrack", "SoundTrack", "VideoIntake"]

_MAX_SIDE = 2048
_MAX_SOUND_PACKETS = 250  # five seconds of usual ones


class OutputTrack(SendingTrack):
    """A session's outputs as video. One picture is being encoded; the newest of the others waits in the outbox.

    Args:
        outbox: of the viewer; it gets its credit back when a picture has been encoded.
        make_encoder: given aiortc's codec parameters.
        clock: monotonic seconds.
        on_failed: called when nothing more can be sent.
    """

    def __init__(
        self,
        outbox: Outbox,
        make_encoder: Callable[[Any], VideoEncoder],
        clock: Callable[[], float],
        on_failed: Callable[[Exception], None],
    ) -> None:
        super().__init__(make_encoder)
        self._on_failed = on_failed
        self._outbox = outbox
        self._clock = clock
        self._next: Delivery | None = None
        self._ready = asyncio.Event()
        self._began_s = clock()
        self._timestamp = 0
        self._encode_ms = 0.0
        self.delay_s = 0.0
        """How long pictures take from their arrival here until they are sent, smoothed."""

    def put(self, delivery: Delivery) -> None:
        """Send this picture next."""
        self._next = delivery
        self._ready.set()

    async def recv(self) -> Any:
        if self.readyState != "live":
            raise MediaStreamError
        await self._ready.wait()
        self._ready.clear()
        delivery, self._next = self._next, None
        if delivery is None:
            raise MediaStreamError  # stopped while it waited
        # Times rise even where two pictures come within a tick.
        self._timestamp = max(self._timestamp + 1, int((self._clock() - self._began_s) * CLOCK_RATE))
        return delivery

    def stop(self) -> None:
        super().stop()
        self._ready.set()

    def prepare(self, item: Delivery) -> VideoPicture:
        pixels = item.picture.output.pixels
        if pixels.shape[2] == 4:
            pixels = pack_alpha(pixels) if Flags.ALPHA in item.flags else flatten(pixels)
        return VideoPicture(_even(pixels), self._timestamp)

    def on_encoded(self, item: Delivery, encode_ms: float) -> None:
        self._encode_ms = encode_ms
        item.picture.record_encoding(encode_ms)
        self._outbox.acknowledged(item.seq)

    def on_failed(self, error: Exception) -> None:
        self._on_failed(error)

    def on_sending(self, item: Delivery, rtp_timestamp: int) -> None:
        output = item.picture.output
        if output.received_s:
            self.delay_s += (self._clock() - output.received_s - self.delay_s) * 0.1
        self._outbox.tell(
            OutputSent(
                rtp_timestamp=rtp_timestamp,
                seq=item.seq,
                source_seq=output.seq,
                settings_rev=output.settings_rev,
                captured_us=output.captured_us,
                queue_us=round(output.timing.queued_ms * 1000),
                engine_us=round(output.timing.engine_ms * 1000),
                encode_us=round(self._encode_ms * 1000),
                flags=int(item.flags),
            )
        )


class VideoIntake:
    """Takes the pictures of a received track into a session. Run ``run()`` until the track ends.

    Args:
        session: tells which pictures are wanted and in what size.
        publisher: proves to the session that it still is the publisher.
        receiver: aiortc's, whose sender reports date the pictures.
    """

    def __init__(
        self,
        track: MediaStreamTrack,
        receiver: Any,
        session: Session,
        publisher: Outbox,
        pool: CodecPool,
        clock: Callable[[], float],
    ) -> None:
        self._track = track
        self._receiver = receiver
        self._session = session
        self._publisher = publisher
        self._pool = pool
        self._clock = clock
        self._seq = 0

    async def run(self) -> None:
        """The track holds no more than its newest picture, so a slow conversion drops what comes meanwhile."""
        while True:
            try:
                picture: Any = await self._track.recv()
            except MediaStreamError:
                return
            received_s = self._clock()
            if not self._session.admit(received_s):
                continue
            pixels = await self._pool.decode(_pixels, picture, self._session.format)
            captured = captured_us(self._receiver, picture.pts & 0xFFFFFFFF)
            self._session.submit(self._publisher, Frame(pixels, self._seq, captured, received_s))
            self._seq += 1


class SoundTrack(MediaStreamTrack):
    """Sound that passes through: packets as they came, on request delayed to match the picture.

    Args:
        source: a received track that gives packets.
        delay_s: how long to hold a packet now.
        clock: monotonic seconds.
    """

    kind = "audio"

    def __init__(self, source: MediaStreamTrack, delay_s: Callable[[], float], clock: Callable[[], float]) -> None:
        super().__init__()
        self._source = source
        self._delay_s = delay_s
        self._clock = clock
        self._held: deque[tuple[float, Any]] = deque(maxlen=_MAX_SOUND_PACKETS)
        self._arrived = asyncio.Event()
        self._ended = False

    async def fill(self) -> None:
        """Take packets from the source until it ends."""
        try:
            while True:
                packet = await self._source.recv()
                self._held.append((self._clock(), packet))
                self._arrived.set()
        except MediaStreamError:
            self._ended = True
            self._arrived.set()

    async def recv(self) -> Any:
        while not self._held:
            if self._ended:
                raise MediaStreamError
            self._arrived.clear()
            await self._arrived.wait()
        arrived_s, packet = self._held[0]
        wait_s = arrived_s + self._delay_s() - self._clock()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        if self._held and self._held[0][1] is packet:
            self._held.popleft()
        return packet


def _pixels(picture: av.VideoFrame, format: FrameFormat) -> Pixels:
    """RGB no larger than the format has use for: uint8 [H, W, 3]."""
    choose = max if format.fit == "cover" else min
    scale = min(1.0, choose(format.width / picture.width, format.height / picture.height))
    scale = min(scale, _MAX_SIDE / max(picture.width, picture.height))
    width, height = (max(2, round(side * scale)) for side in (picture.width, picture.height))
    pixels: Any = picture.to_ndarray(format="rgb24", width=width, height=height)
    return cast(Pixels, pixels)


def _even(pixels: Pixels) -> Pixels:
    """4:2:0 has even sides."""
    height, width = pixels.shape[:2]
    return pixels if height % 2 == 0 and width % 2 == 0 else pixels[: height // 2 * 2, : width // 2 * 2]
