"""What is waiting to be sent to one client. Every place in it has a bound and a policy for when it is full.

=========  =================  =====================================================================
place      bound              when it is full
=========  =================  =====================================================================
messages   ``MAX_MESSAGES``   the client does not read: the connection ends as too slow
ack        one                the newest stands for all
updated    one                newer settings replace older ones
picture    one                the newest wins; the loser is counted, and was never encoded
=========  =================  =====================================================================
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from streamgen.metrics import Drops, Histogram
from streamgen.protocol import CREDITS, Ack, Bye, Close, CreditWindow, Reformatted, ServerMessage, Updated
from streamgen.server.picture import Picture
from streamgen.wire import Codec, Flags, FrameHeader, Kind, pack_frame

__all__ = ["MAX_MESSAGES", "Delivery", "End", "Outbox"]

MAX_MESSAGES = 128


@dataclass(frozen=True, slots=True)
class Delivery:
    """A picture whose turn has come. Call ``seal()`` for the bytes to send."""

    picture: Picture
    codec: Codec
    seq: int
    flags: Flags

    async def seal(self) -> bytes:
        """Encode the picture, unless another subscriber had it encoded, and put the header in front."""
        packed = Flags.ALPHA in self.flags
        encoded = await self.picture.encoded(self.codec, packed)
        output = self.picture.output
        height, width = output.pixels.shape[:2]
        header = FrameHeader(
            kind=Kind.OUTPUT,
            codec=self.codec,
            width=2 * width if packed else width,
            height=height,
            seq=self.seq,
            source_seq=output.seq,
            settings_rev=output.settings_rev,
            captured_us=output.captured_us,
            queue_us=round(output.timing.queued_ms * 1000),
            engine_us=round(output.timing.engine_ms * 1000),
            encode_us=round(encoded.encode_ms * 1000),
            flags=self.flags,
        )
        return pack_frame(header, encoded.payload)


@dataclass(frozen=True, slots=True)
class End:
    """Nothing comes after this: close the connection."""

    code: int
    reason: str
    said: bool = False
    """Whether a bye told so."""


class Outbox:
    """One client's side of a session: messages, and the newest picture it has credit for.

    The session puts things in; one sending task takes them out with ``next()``.

    Args:
        ack_timeout_s: after so long without an acknowledgement no picture is sent until one comes.
        clock: monotonic seconds.
        arrival_to_glass: counts seconds from a frame's arrival until the client painted the picture of it.
    """

    def __init__(
        self, ack_timeout_s: float, clock: Callable[[], float], arrival_to_glass: Histogram | None = None
    ) -> None:
        self.codec = Codec.JPEG
        self.alpha = False
        self.drops = Drops()
        self._ack_timeout_s = ack_timeout_s
        self._clock = clock
        self._messages: deque[str | bytes | Delivery] = deque()
        self._end: End | None = None
        self._ack: int | None = None
        self._updated: Updated | None = None
        self._picture: Picture | None = None
        self._gap = False
        self._paused = False
        self._window = CreditWindow()
        self._arrival_to_glass = arrival_to_glass
        self._sent: deque[tuple[int, float]] = deque(maxlen=CREDITS)  # seq, and when the frame of it arrived
        self._acked_s = 0.0
        self._seq = 0
        self._wake = asyncio.Event()

    @property
    def ended(self) -> bool:
        """True once nothing more will be sent."""
        return self._end is not None

    # --------------------------------------------------------------------------------------------------- putting in

    def tell(self, *messages: ServerMessage | bytes) -> None:
        """Queue messages, in order; bytes are a binary message. A client that reads none of them is disconnected."""
        if self._end is not None:
            return
        if len(self._messages) + len(messages) > MAX_MESSAGES:
            self._messages.clear()
            self.end(Close.SLOW, "too slow to read its messages")
            return
        if any(isinstance(message, Updated) for message in messages):
            self._updated = None  # older than the one that goes first now
        self._messages.extend(message if isinstance(message, bytes) else message.dump() for message in messages)
        self._wake.set()

    def end(self, code: int, reason: str, bye: Bye | None = None) -> None:
        """Close the connection once the messages that wait are sent."""
        if self._end is not None:
            return
        if bye is not None:
            self._messages.append(bye.model_copy(update={"code": code}).dump())
        self._end = End(code, reason, said=bye is not None)
        self._picture = None
        self._wake.set()

    def acknowledge(self, seq: int) -> None:
        """Tell the client that its frame ``seq`` left the socket."""
        self._ack = seq
        self._wake.set()

    def refresh(self, updated: Updated) -> None:
        """Tell the client of new settings, unless newer ones come before it reads."""
        self._updated = updated
        self._wake.set()

    def offer(self, picture: Picture, *, gap: bool) -> None:
        """Put in the newest picture; one that still waits is dropped and counted."""
        if self._paused or self._end is not None:
            self._gap = True
            return
        self._drop_picture()
        self._picture = picture
        self._gap = self._gap or gap
        self._wake.set()

    def change_format(self, reformatted: Reformatted) -> None:
        """Tell the client of another format. A picture of the old one goes before that or not at all."""
        if self._picture is not None and self._may_send():
            picture, self._picture = self._picture, None
            self._messages.append(self._deliver(picture))
        self._drop_picture()
        self.tell(reformatted)

    def painted(self, seq: int) -> None:
        """The client says that output ``seq`` is on its screen."""
        sent = next((sent for sent in self._sent if sent[0] == seq), None)
        if sent is not None:
            self._sent.remove(sent)
            arrived_s = sent[1]
            if self._arrival_to_glass is not None and arrived_s > 0:
                self._arrival_to_glass.observe(self._clock() - arrived_s)
        self.acknowledged(seq)

    def acknowledged(self, seq: int) -> None:
        """Output ``seq`` and those before it give their credit back."""
        self._window.acknowledged(seq)
        self._acked_s = self._clock()
        self._wake.set()

    def pause(self) -> None:
        """Send no pictures; one that waits is forgotten."""
        self._paused = True
        self._picture = None

    def resume(self) -> None:
        """End a pause."""
        self._paused = False

    def _drop_picture(self) -> None:
        if self._picture is not None:
            self.drops["sending" if self._may_send() else "no_credit"] += 1
            self._picture = None
            self._gap = True

    # --------------------------------------------------------------------------------------------------- taking out

    async def next(self) -> str | bytes | Delivery | End:
        """Wait for the next thing to send: messages first, then the newest picture if there is credit for it."""
        while (item := self._take()) is None:
            self._wake.clear()
            await self._wake.wait()
        return item

    def _take(self) -> str | bytes | Delivery | End | None:
        if self._ack is not None:
            seq, self._ack = self._ack, None
            return Ack(seq=seq).dump()
        if self._messages:
            return self._messages.popleft()
        if self._end is not None:
            return self._end
        if self._updated is not None:
            updated, self._updated = self._updated, None
            return updated.dump()
        if self._picture is not None and self._may_send():
            picture, self._picture = self._picture, None
            return self._deliver(picture)
        return None

    def _may_send(self) -> bool:
        if self._window.in_flight == 0:
            return True
        return self._window.open and self._clock() - self._acked_s < self._ack_timeout_s

    def _deliver(self, picture: Picture) -> Delivery:
        flags = Flags.WARM_UP if picture.output.warm_up else Flags.NONE
        if self._gap:
            flags |= Flags.GAP_BEFORE
        if self.alpha and picture.has_alpha:
            flags |= Flags.ALPHA
        if self._window.in_flight == 0:
            self._acked_s = self._clock()  # the wait for an acknowledgement begins here
        delivery = Delivery(picture, self.codec, self._seq, flags)
        self._window.sent(self._seq)
        self._sent.append((self._seq, picture.output.received_s))
        self._gap = False
        self._seq = (self._seq + 1) & 0xFFFFFFFF
        return delivery
