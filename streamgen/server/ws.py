"""The WebSocket edge of streamgen.v1: from socket events to session calls, and from the outbox to the socket."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.websockets import WebSocket, WebSocketDisconnect

from streamgen.codec import decode_reference, encode_png
from streamgen.config import ServerConfig
from streamgen.errors import CodecError, ProtocolError, SessionError, SettingsError, StreamgenError
from streamgen.protocol import (
    SUBPROTOCOL,
    Ack,
    Bye,
    ClientMessage,
    Close,
    ErrorMessage,
    Hello,
    Limits,
    Pause,
    Paused,
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
from streamgen.server.intake import Intake
from streamgen.server.origin import is_allowed
from streamgen.server.outbox import Delivery, End
from streamgen.server.picture import CodecPool
from streamgen.server.session import Session
from streamgen.server.sessions import Sessions
from streamgen.server.startup import Startup
from streamgen.server.switching import ModelSwitch
from streamgen.server.worker_link import WorkerLink
from streamgen.wire import Codec, FrameHeader, Kind, pack_frame, parse_frame, peek_seq

__all__ = ["HELLO_TIMEOUT_S", "MAX_REFUSED", "Connection", "House"]

_LOG = logging.getLogger(__name__)

HELLO_TIMEOUT_S = 10.0
MAX_REFUSED = 10
"""Messages in a row that cannot be understood before the connection is given up."""
_LOADING_TIMEOUT_S = 30.0
_CODECS = {"jpeg": Codec.JPEG, "raw": Codec.RAW}
_ENDS = {
    "no_such_session": Close.NO_SESSION,
    "publisher_exists": Close.PUBLISHER_EXISTS,
    "server_full": Close.CAPACITY,
    "worker_not_ready": Close.CAPACITY,
}
"""Errors after which the connection is closed, because its hello cannot be granted."""


@dataclass(frozen=True, slots=True)
class House:
    """What every connection of one server shares."""

    config: ServerConfig
    worker: WorkerLink
    startup: Startup
    sessions: Sessions
    switch: ModelSwitch
    pool: CodecPool
    clock: Callable[[], float] = time.monotonic
    hello_timeout_s: float = HELLO_TIMEOUT_S


class Connection:
    """One WebSocket. ``run()`` returns when it is closed."""

    def __init__(self, socket: WebSocket, house: House) -> None:
        self._socket = socket
        self._house = house
        self._outbox = house.sessions.connect()
        self._session: Session | None = None
        self._intake: Intake | None = None
        self._refused = 0

    async def run(self) -> None:
        sender: asyncio.Task[None] | None = None
        try:
            await self._accept()
            sender = asyncio.create_task(self._send_all())
            await self._receive_all()
        finally:
            if self._intake is not None:
                self._intake.close()
            self._house.sessions.disconnect(self._outbox, self._session)
            if sender is not None:
                sender.cancel()
                await asyncio.wait([sender])

    async def _accept(self) -> None:
        """Accept everybody: a browser shows its page no reason for a handshake that was refused, but a close code."""
        offered = SUBPROTOCOL in self._socket.scope["subprotocols"]
        await self._socket.accept(SUBPROTOCOL if offered else None)
        if not is_allowed(self._socket.headers):
            self._outbox.end(Close.ORIGIN, "this origin is not allowed")
        elif not offered:
            self._refuse(ProtocolError("unsupported_subprotocol", f"ask for the subprotocol {SUBPROTOCOL}"))
            self._outbox.end(Close.PROTOCOL, f"the subprotocol {SUBPROTOCOL} is required")

    # ------------------------------------------------------------------------------------------------------- sending

    async def _send_all(self) -> None:
        try:
            while not isinstance(item := await self._outbox.next(), End):
                await self._send(await item.seal() if isinstance(item, Delivery) else item)
            async with asyncio.timeout(self._house.config.send_timeout_s):
                await self._socket.close(item.code, item.reason)
        except WebSocketDisconnect:
            return  # the receiving side hears of it too
        except TimeoutError:
            self._give_up()
        except Exception:  # the transport edge: a defect here must not leave a client connected to nothing
            _LOG.exception("sending to a client failed")
            self._give_up()

    async def _send(self, item: str | bytes) -> None:
        async with asyncio.timeout(self._house.config.send_timeout_s):
            if isinstance(item, str):
                await self._socket.send_text(item)
            else:
                await self._socket.send_bytes(item)

    def _give_up(self) -> None:
        """Close without waiting: an ordinary close would queue behind what the client does not read."""
        give_up = self._socket.scope.get("state", {}).get("give_up")
        if give_up is not None:
            give_up(Close.SLOW, "too slow to take a message")

    # ----------------------------------------------------------------------------------------------------- receiving

    async def _receive_all(self) -> None:
        self._expect_hello()
        try:
            while (event := await self._socket.receive())["type"] != "websocket.disconnect":
                if self._outbox.ended:
                    continue  # closing; what still arrives is read and forgotten
                if event.get("text") is not None:
                    await self._on_text(event["text"])
                else:
                    self._on_frame(event["bytes"])
        finally:
            self._hello_deadline.cancel()

    def _expect_hello(self) -> None:
        self._hello_deadline = asyncio.get_running_loop().call_later(
            self._house.hello_timeout_s, self._outbox.end, Close.PROTOCOL, "no hello came"
        )

    async def _on_text(self, text: str) -> None:
        ref: str | None = None
        try:
            message = parse_client_message(text)
            ref = getattr(message, "ref", None)
            if isinstance(message, Hello):
                await self._hello(message)
            elif isinstance(message, Bye):
                self._bye()
            else:
                await self._obey(message, self._joined())
            self._refused = 0
        except StreamgenError as error:
            self._refuse(error, ref)

    def _on_frame(self, data: bytes) -> None:
        received_s = self._house.clock()
        try:
            session = self._joined()
            if self._intake is None:
                raise SessionError("not_publisher", "only the publisher of a session sends frames")
            header, payload = self._parse_frame(data)
            if session.admit(received_s):
                self._intake.put(header, payload, received_s)
        except StreamgenError as error:
            self._refuse(error)

    def _parse_frame(self, data: bytes) -> tuple[FrameHeader, memoryview]:
        try:
            header, payload = parse_frame(data)
        except ProtocolError:
            seq = peek_seq(data)
            if seq is not None:
                self._outbox.acknowledge(seq)
            raise
        self._outbox.acknowledge(header.seq)
        if header.kind is not Kind.INPUT:
            raise ProtocolError("unknown_kind", f"a client sends kind {Kind.INPUT}, got {header.kind}", field="kind")
        return header, payload

    def _joined(self) -> Session:
        if self._session is None:
            raise ProtocolError("hello_expected", "the first message must be hello")
        return self._session

    def _refuse(self, error: StreamgenError, ref: str | None = None) -> None:
        """Answer with an error. Settings and sessions may be refused as often as a client asks; what cannot be
        understood may not."""
        self._outbox.tell(ErrorMessage.of(error, ref))
        if error.code in _ENDS and self._session is None:
            self._outbox.end(_ENDS[error.code], error.message)
        if isinstance(error, (ProtocolError, CodecError)):
            self._refused += 1
            if self._refused >= MAX_REFUSED:
                self._outbox.end(Close.PROTOCOL, f"{MAX_REFUSED} messages in a row could not be understood")

    def _accepted(self) -> None:
        self._refused = 0

    # ------------------------------------------------------------------------------------------------------ messages

    async def _hello(self, hello: Hello) -> None:
        if self._session is not None:
            raise ProtocolError("already_welcome", "hello was said before")
        self._hello_deadline.cancel()
        try:
            await self._house.startup.wait(_LOADING_TIMEOUT_S)
            self._join(hello)
        finally:
            if self._session is None:
                self._expect_hello()

    def _join(self, hello: Hello) -> None:
        self._outbox.codec = _CODECS[hello.codec]
        resumed = False
        if hello.role == "view":
            session = self._house.sessions.view(hello, self._outbox)
        else:
            session, resumed = self._house.sessions.publish(hello, self._outbox)
            self._intake = Intake(session, self._outbox, self._house.pool, self._accepted, self._refuse)
        self._session = session
        self._outbox.tell(self._welcome(session, hello, resumed))
        if hello.role == "view" and session.updated is not None:
            self._outbox.refresh(session.updated)

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
                self._outbox.acknowledged(seq)
            case Update(settings=changes, ref=ref):
                self._check_publisher("changes its settings")
                session.update(changes, ref)
            case Reformat(format=format, ref=ref):
                self._check_publisher("changes its format")
                session.reformat(format, ref)
            case Reference():
                self._check_publisher("changes its reference picture")
                await self._refer(message, session)
            case Switch():
                self._check_publisher("changes the model")
                self._house.switch.begin(message, self._outbox)
            case Pause(ref=ref):
                session.pause(self._outbox)
                self._outbox.tell(Paused(ref=ref))
            case Resume(ref=ref):
                session.resume(self._outbox)
                self._outbox.tell(Resumed(ref=ref))
            case Stats(ref=ref):
                self._outbox.tell(session.report(self._outbox, ref))
            case Snapshot(ref=ref):
                await self._snapshot(session, ref)

    def _check_publisher(self, does: str) -> None:
        if self._intake is None:
            raise SessionError("not_publisher", f"only the publisher of a session {does}")

    async def _refer(self, message: Reference, session: Session) -> None:
        reference = None
        if message.image is not None:
            if not self._house.worker.info.takes_reference:  # before the work; a model on its way is asked again
                raise SettingsError("no_reference", "this model takes no reference picture")
            # Awaited here on purpose: no more than one of a client is being decoded, and they stay in their order.
            reference = await self._house.pool.decode(decode_reference, message.image)
        session.refer(self._outbox, reference, message.ref)

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
        self._outbox.tell(
            SnapshotTaken(seq=output.seq, width=width, height=height, ref=ref), pack_frame(header, payload)
        )

    def _bye(self) -> None:
        if self._session is not None and self._session.publisher is self._outbox:
            self._house.sessions.end(self._session)
        self._outbox.end(Close.NORMAL, "bye")
