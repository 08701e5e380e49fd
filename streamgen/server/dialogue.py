"""What a client of streamgen.v1 says and is answered, whatever carries it: a WebSocket or a WebRTC data channel."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Literal

from streamgen.codec import decode_reference, encode_png
from streamgen.errors import AccessError, CodecError, ProtocolError, SessionError, SettingsError, StreamgenError
from streamgen.logs import Labels
from streamgen.protocol import (
    Ack,
    Bye,
    ClientMessage,
    Close,
    ErrorMessage,
    Hello,
    Limits,
    Pause,
    Paused,
    Ping,
    Pong,
    Queued,
    Reference,
    Reformat,
    Resume,
    Resumed,
    Snapshot,
    SnapshotTaken,
    Stats,
    Switch,
    Update,
    Welcome,
    parse_client_message,
)
from streamgen.server.access import Grant
from streamgen.server.house import House
from streamgen.server.outbox import Outbox
from streamgen.server.queue import Place
from streamgen.server.session import Session
from streamgen.wire import Codec, FrameHeader, Kind, pack_frame

__all__ = ["MAX_REFUSED", "Dialogue", "close_code"]

MAX_REFUSED = 10
"""Messages in a row that cannot be understood before the connection is given up."""
_LOADING_TIMEOUT_S = 30.0
_CODECS = {"jpeg": Codec.JPEG, "raw": Codec.RAW}
_ENDS = {
    "unauthorised": Close.UNAUTHORISED,
    "origin_not_allowed": Close.ORIGIN,
    "token_expired": Close.TOKEN_EXPIRED,
    "token_scope": Close.TOKEN_SCOPE,
    "too_many_requests": Close.TOO_MANY,
    "no_such_session": Close.NO_SESSION,
    "publisher_exists": Close.PUBLISHER_EXISTS,
    "server_full": Close.CAPACITY,
    "queue_full": Close.CAPACITY,
    "worker_not_ready": Close.CAPACITY,
}
"""Errors after which the connection is closed, because its hello cannot be granted."""


_WAIT_ON = frozenset({"server_full", "worker_not_ready", "no_shared_memory"})
"""Errors of a client in the queue that may pass."""


def close_code(error: StreamgenError) -> int:
    """The close code of a connection that this error keeps from being one."""
    return _ENDS.get(error.code, Close.PROTOCOL)


class Dialogue:
    """One client's side of a session. Call ``admit()`` once it is known what the client may do, and ``close()`` when
    the connection is gone.

    What the client is told goes into ``outbox``; the transport sends what comes out of it.
    """

    def __init__(self, house: House) -> None:
        self.outbox: Outbox = house.sessions.connect()
        self._labels = Labels()
        self._labels.attach()
        self.session: Session | None = None
        self.role: Literal["publish", "view", "control"] | None = None
        self._house = house
        self._grant: Grant | None = None
        self._grant_ends: asyncio.TimerHandle | None = None
        self._refused = 0
        self._hello_deadline: asyncio.TimerHandle | None = None
        self._place: Place | None = None

    def admit(self, grant: Grant) -> None:
        """Let the client do what ``grant`` says, for as long as it says. Without one nobody joins a session."""
        self._grant = grant
        if grant.seconds is not None:
            self._grant_ends = asyncio.get_running_loop().call_later(grant.seconds, self._expire)

    def close(self) -> None:
        """The connection is gone."""
        self._stop_waiting()
        if self._place is not None:
            self._house.sessions.queue.leave(self._place)
        if self._grant_ends is not None:
            self._grant_ends.cancel()
        self._house.sessions.disconnect(self.outbox, self.session)

    def expect_hello(self) -> None:
        """End the connection unless a hello comes soon."""
        self._stop_waiting()
        self._hello_deadline = asyncio.get_running_loop().call_later(
            self._house.hello_timeout_s, self.outbox.end, Close.PROTOCOL, "no hello came"
        )

    async def on_text(self, text: str) -> None:
        """Obey one text message; what is wrong with it is answered."""
        ref: str | None = None
        try:
            message = parse_client_message(text)
            ref = getattr(message, "ref", None)
            if isinstance(message, Hello):
                self.outbox.tell(await self._greet(message))
            elif isinstance(message, Bye):
                self._bye()
            else:
                await self._obey(message, self.joined())
            self.accepted()
        except StreamgenError as error:
            self.refuse(error, ref)

    async def hello(self, hello: Hello) -> Welcome:
        """Let the client into a session.

        Raises:
            StreamgenError: why it cannot be.
        """
        if self.session is not None or self._place is not None:
            raise ProtocolError("already_welcome", "hello was said before")
        self._stop_waiting()
        try:
            await self._house.startup.wait(_LOADING_TIMEOUT_S)
            return self._join(hello)
        finally:
            if self.session is None:
                self.expect_hello()

    def joined(self) -> Session:
        """The client's session.

        Raises:
            ProtocolError: ``hello_expected``.
        """
        if self.session is None:
            raise ProtocolError("hello_expected", "the first message must be hello")
        return self.session

    def refuse(self, error: StreamgenError, ref: str | None = None) -> None:
        """Answer with an error. Settings and sessions may be refused as often as a client asks; what cannot be
        understood may not."""
        self.outbox.tell(ErrorMessage.of(error, ref))
        if error.code in _ENDS and self.session is None:
            self.outbox.end(_ENDS[error.code], error.message)
        if isinstance(error, (ProtocolError, CodecError)):
            self._refused += 1
            if self._refused >= MAX_REFUSED:
                self.outbox.end(Close.PROTOCOL, f"{MAX_REFUSED} messages in a row could not be understood")

    def accepted(self) -> None:
        """Something was understood."""
        self._refused = 0

    def check_publishes(self) -> None:
        """Raises:
        SessionError: ``not_publisher``.
        """
        if self.role != "publish":
            raise SessionError("not_publisher", "only the publisher of a session sends frames")

    def check_steers(self, does: str) -> None:
        """Raises:
        SessionError: ``not_publisher``.
        """
        if self.role == "view":
            raise SessionError("not_publisher", f"only the publisher or a controller of a session {does}")

    def _stop_waiting(self) -> None:
        if self._hello_deadline is not None:
            self._hello_deadline.cancel()
            self._hello_deadline = None

    async def _greet(self, hello: Hello) -> Welcome | Queued:
        """Let the client in, or let it wait for a place if it said it would."""
        try:
            return await self.hello(hello)
        except SessionError as error:
            if error.code != "server_full" or not hello.queue or hello.role != "publish":
                raise
            return self._queue(hello)

    def _queue(self, hello: Hello) -> Queued:
        place = Place(partial(self._enter, hello), lambda at: self.outbox.tell(Queued(position=at, ref=hello.ref)))
        position = self._house.sessions.queue.join(place)
        self._place = place
        self._stop_waiting()
        return Queued(position=position, ref=hello.ref)

    def _enter(self, hello: Hello) -> bool:
        """It may be this client's turn."""
        try:
            welcome = self._join(hello, waited=True)
        except StreamgenError as error:
            if error.code in _WAIT_ON:
                return False
            self._place = None
            self.expect_hello()
            self.refuse(error, hello.ref)
            return True
        self._place = None
        self.outbox.tell(welcome)
        return True

    def _expire(self) -> None:
        """The grant's time is over: the end of the session for its publisher, and for a viewer of its place in it."""
        self._grant = None
        self.outbox.end(Close.TOKEN_EXPIRED, "the access token's time is over", Bye(reason="token_expired"))
        if self.session is not None and self.session.publisher is self.outbox:
            self._house.sessions.end(self.session)

    def _permit(self, role: str, session: str | None) -> None:
        """Raises:
        AccessError: ``unauthorised`` or ``token_scope``.
        """
        if self._grant is None:
            raise AccessError("unauthorised", "the access token is missing or wrong")
        self._grant.check(role, session)

    def _granted(self, hello: Hello) -> Hello:
        """The hello as the grant allows it. One that names no session gets the one that the grant names.

        Raises:
            AccessError: ``unauthorised`` or ``token_scope``.
        """
        name = hello.session or (None if self._grant is None else self._grant.session)
        if hello.role == "publish" and hello.resume is not None:
            resumed = self._house.sessions.kept_for(hello.resume)
            name = name if resumed is None else resumed.name
        self._permit(hello.role, name)
        return hello.model_copy(update={"session": name})

    def _join(self, hello: Hello, *, waited: bool = False) -> Welcome:
        hello = self._granted(hello)
        self.outbox.codec = _CODECS[hello.codec]
        self.outbox.alpha = hello.alpha
        resumed = False
        if hello.role != "publish":
            self.session = self._house.sessions.view(hello, self.outbox)
            if self.session.updated is not None:
                self.outbox.refresh(self.session.updated)
        else:
            self.session, resumed = self._house.sessions.publish(hello, self.outbox, waited=waited)
        self.role = hello.role
        self._labels.session = self.session.name
        return self._welcome(self.session, hello, resumed)

    def _welcome(self, session: Session, hello: Hello, resumed: bool) -> Welcome:
        info = self._house.worker.info
        return Welcome(
            session=session.name,
            role=hello.role,
            resume=session.token if hello.role == "publish" else None,
            resumed=resumed,
            model=info.model,
            styles=info.styles,
            unused=info.unused,
            loras=info.loras,
            reference=info.takes_reference,
            models=info.models,
            format=session.format,
            settings=session.settings,
            rev=session.rev,
            limits=Limits(resume_seconds=self._house.config.resume_seconds),
            ref=hello.ref,
        )

    async def _obey(self, message: ClientMessage, session: Session) -> None:
        match message:
            case Ack(seq=seq):
                self.outbox.painted(seq)
            case Update(settings=changes, ref=ref):
                self.check_steers("changes its settings")
                session.update(self.outbox, changes, ref)
            case Reformat(format=format, ref=ref):
                self.check_steers("changes its format")
                session.reformat(self.outbox, format, ref)
            case Reference():
                self.check_steers("changes its reference picture")
                await self._refer(message, session)
            case Switch():
                self.check_steers("changes the model")
                self._permit("control", None)  # it changes for every session there is
                self._house.switch.begin(message, self.outbox)
            case Pause(ref=ref):
                session.pause(self.outbox)
                self.outbox.tell(Paused(ref=ref))
            case Resume(ref=ref):
                session.resume(self.outbox)
                self.outbox.tell(Resumed(ref=ref))
            case Stats(ref=ref):
                self.outbox.tell(session.report(self.outbox, ref))
            case Snapshot(ref=ref):
                await self._snapshot(session, ref)
            case Ping(id=name):
                self.outbox.tell(Pong(id=name))

    async def _refer(self, message: Reference, session: Session) -> None:
        reference = None
        if message.image is not None:
            if not self._house.worker.info.takes_reference:  # before the work; a model on its way is asked again
                raise SettingsError("no_reference", "this model takes no reference picture")
            # Awaited here on purpose: no more than one of a client is being decoded, and they stay in their order.
            reference = await self._house.pool.decode(decode_reference, message.image)
        session.refer(self.outbox, reference, message.ref)

    async def _snapshot(self, session: Session, ref: str | None) -> None:
        output = session.newest
        if output is None:
            raise SessionError("no_output_yet", "no frame has been computed yet", retryable=True)
        # Awaited here on purpose: no more than one snapshot of a client is being encoded.
        payload = await self._house.pool.encode(encode_png, output.pixels)
        height, width = output.pixels.shape[:2]
        header = FrameHeader(
            kind=Kind.SNAPSHOT,
            codec=Codec.PNG,
            width=width,
            height=height,
            seq=output.seq,
            source_seq=output.seq,
            settings_rev=output.settings_rev,
            captured_us=output.captured_us,
        )
        picture = pack_frame(header, payload)
        taken = SnapshotTaken(seq=output.seq, width=width, height=height, bytes=len(picture), ref=ref)
        self.outbox.tell(taken, picture)

    def _bye(self) -> None:
        if self.session is not None and self.session.publisher is self.outbox:
            self._house.sessions.end(self.session)
        self.outbox.end(Close.NORMAL, "bye")
