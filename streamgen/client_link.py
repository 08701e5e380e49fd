"""One connection of the Python SDK, used until it is lost; ``client.py`` makes the next."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_socket
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from websockets.typing import Subprotocol

from streamgen.client_errors import closed_by, typed
from streamgen.client_token import token_protocol
from streamgen.codec import decode, unpack_alpha
from streamgen.errors import AccessError, ProtocolError, SessionError, StreamgenError
from streamgen.frames import Output, Timing
from streamgen.protocol import (
    SUBPROTOCOL,
    Ack,
    Bye,
    Close,
    CreditWindow,
    ErrorMessage,
    Hello,
    Pause,
    Paused,
    Queued,
    Reference,
    Referenced,
    Reformat,
    Reformatted,
    Restyled,
    Resume,
    Resumed,
    ServerMessage,
    Snapshot,
    SnapshotTaken,
    Stats,
    StatsReport,
    Switch,
    Switched,
    Update,
    Updated,
    WarningMessage,
    Welcome,
    parse_server_message,
)
from streamgen.wire import Flags, FrameHeader, Kind, pack_frame, parse_frame

__all__ = ["Answer", "Link", "LinkEvents", "News", "Received", "Request", "SnapshotPicture"]

_MAX_RECEIVED_BYTES = 16 * 1024 * 1024
"""A lossless snapshot of a noisy 1024x1024 picture has three megabytes."""
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_NUMBERS_KEPT = 4096
_GOODBYE_S = 1.0
_PING_S = 5.0
"""A tunnel or a phone network forgets a connection that is silent for longer than some tens of seconds."""

Answer = TypeVar("Answer", Updated, Reformatted, Referenced, Switched, StatsReport, Paused, Resumed)
Request = Update | Reformat | Reference | Switch | Pause | Resume | Snapshot | Stats
News = Updated | Reformatted | Restyled | Switched
"""What a server says of a session without being asked, too."""


@dataclass(frozen=True, slots=True)
class Received:
    """An output as it came off the wire, not decoded yet."""

    header: FrameHeader
    payload: memoryview
    link: Link

    @property
    def number(self) -> int:
        """Which call of ``send`` it answers; for a viewer, and in a prompt stream, the count of the wire."""
        return self.link.number(self.header)

    @property
    def mine(self) -> bool:
        """Whether this stream sent the frame that it was made from."""
        return self.link.sent(self.header)

    def decode(self) -> Output:
        """The picture. Takes half a millisecond for each quarter of a megapixel."""
        header = self.header
        pixels = decode(header.codec, self.payload, header.width, header.height)
        return Output(
            pixels=unpack_alpha(pixels) if Flags.ALPHA in header.flags else pixels,
            seq=self.number,
            captured_us=header.captured_us,
            settings_rev=header.settings_rev,
            timing=Timing(header.queue_us / 1000, header.engine_us / 1000, header.encode_us / 1000),
            warm_up=Flags.WARM_UP in header.flags,
        )


@dataclass(frozen=True, slots=True)
class SnapshotPicture:
    """The newest output, losslessly: ``png`` is a whole PNG file."""

    png: bytes
    seq: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class LinkEvents:
    """Whom a connection tells of what comes unasked."""

    output: Callable[[Received], None]
    news: Callable[[News], None]
    warning: Callable[[WarningMessage], None]
    refused: Callable[[StreamgenError], None]
    """A frame, mostly."""


class Link:
    """A welcomed connection. Run ``listen()`` until it returns; that is when the connection is lost."""

    def __init__(
        self,
        socket: ClientConnection,
        welcome: Welcome,
        events: LinkEvents,
    ) -> None:
        self.welcome = welcome
        self._sent: dict[int, tuple[int, int]] = {}  # by wire seq: send() call and capture, the last _NUMBERS_KEPT
        self._socket = socket
        self._events = events
        self._said: StreamgenError | None = None  # of the access, which ends the connection next
        self._window = CreditWindow(welcome.limits.credits)
        self._credit = asyncio.Event()
        self._credit.set()
        self._seq = 0
        self._refs = itertools.count()
        self._answers: dict[str, asyncio.Future[ServerMessage]] = {}
        self._announced: SnapshotTaken | None = None
        self._snapshots: dict[str, asyncio.Future[SnapshotPicture]] = {}

    @classmethod
    async def open(
        cls,
        url: str,
        hello: Hello,
        fresh: Hello,
        token: str | None,
        events: LinkEvents,
        on_queued: Callable[[int], None],
    ) -> Link:
        """Connect and say ``hello``; ``fresh`` is said instead when its resume token is not good any more.

        Args:
            token: the server's access token, or a signed one.
            events: whom to tell of what comes later.
            on_queued: called with the position in the line of a full server, whenever it has changed.

        Raises:
            StreamgenError: typed by its code; ``unreachable`` where there is no server.
        """
        offered = [SUBPROTOCOL] if token is None else [SUBPROTOCOL, token_protocol(token)]
        try:
            socket = await open_socket(
                url,
                subprotocols=[Subprotocol(name) for name in offered],
                proxy=None if urlsplit(url).hostname in _LOOPBACK else True,
                compression=None,  # pictures are compressed already
                max_size=_MAX_RECEIVED_BYTES,
                max_queue=4,
                ping_interval=_PING_S,
                close_timeout=_GOODBYE_S,
            )
        except (OSError, InvalidHandshake, InvalidURI) as error:
            retryable = not isinstance(error, InvalidURI)
            hint = "is the server running there, and is the address like ws://127.0.0.1:8188/ws?"
            raise SessionError(
                "unreachable", f"cannot connect to {url}: {error}; {hint}", retryable=retryable
            ) from error
        try:
            return cls(socket, await _greet(socket, hello, fresh, on_queued), events)
        except ConnectionClosed as error:
            raise closed_by(error) from None
        except BaseException:
            # Also when cancelled by the caller's time-out: nobody else knows of this socket.
            socket.transport.abort()
            raise

    async def listen(self) -> StreamgenError:
        """Read until the connection is lost; returns why. Everybody who waits for an answer is told."""
        error: StreamgenError = SessionError("closed", "the stream was closed")
        try:
            while True:
                self._receive(await self._socket.recv())
        except ConnectionClosed as closed:
            error = closed_by(closed, self._said)
        except ProtocolError as refused:
            await self._socket.close(Close.PROTOCOL, refused.code)
            error = refused
        finally:
            self._let_go(SessionError("connection_lost", f"the connection was lost: {error.message}", retryable=True))
        return error

    @property
    def round_trip_ms(self) -> float | None:
        """To the server and back, as the newest ping measured it; None before."""
        return self._socket.latency * 1000 or None

    def _let_go(self, lost: StreamgenError) -> None:
        waiting: list[asyncio.Future[Any]] = [*self._answers.values(), *self._snapshots.values()]
        for answer in waiting:
            if not answer.done():
                answer.set_exception(lost)

    def number(self, header: FrameHeader) -> int:
        """Which call of ``send`` an output was made from, or its own count when it was made from none: the time of
        capture tells a frame that was sent from one of a prompt stream with the same number."""
        return self._sent[header.source_seq][0] if self.sent(header) else header.source_seq

    def sent(self, header: FrameHeader) -> bool:
        """Whether an output was made from a frame that was sent here."""
        return self._sent.get(header.source_seq, (0, -1))[1] == header.captured_us

    async def credit(self) -> None:
        """Wait until another frame may be sent."""
        await self._credit.wait()

    async def send_frame(self, header: FrameHeader, payload: bytes, number: int) -> None:
        """Send one frame; ``header.seq`` is filled in. Call it after ``credit()`` only.

        Raises:
            ConnectionClosed: the connection was lost.
        """
        seq = self._seq
        self._seq = (seq + 1) & 0xFFFFFFFF
        self._sent[seq] = (number, header.captured_us)
        if len(self._sent) > _NUMBERS_KEPT:
            del self._sent[next(iter(self._sent))]
        self._window.sent(seq)
        if not self._window.open:
            self._credit.clear()
        counted = replace(header, seq=seq, source_seq=seq)
        await self._socket.send(pack_frame(counted, payload))

    async def acknowledge(self, header: FrameHeader) -> None:
        """Give back the credit of an output."""
        try:
            await self._socket.send(Ack(seq=header.seq).dump())
        except ConnectionClosed:
            return  # credits end with the connection

    async def ask(self, request: Request, kind: type[Answer]) -> Answer:
        """Send a request and wait for its answer, which is to be of that kind.

        Raises:
            StreamgenError: the server's error, or ``connection_lost``.
        """
        ref, answer = self._expect()
        try:
            await self._socket.send(request.model_copy(update={"ref": ref}).dump())
            message = await answer
        except ConnectionClosed:
            raise SessionError("connection_lost", "the connection was lost", retryable=True) from None
        finally:
            self._answers.pop(ref, None)
        if not isinstance(message, kind):
            raise ProtocolError("unexpected_answer", f"{request.type} was answered with {message.type}", field="type")
        return message

    async def snapshot(self) -> SnapshotPicture:
        """Ask for a snapshot and wait for its picture. Raises as ``ask``."""
        ref, answer = self._expect()
        picture: asyncio.Future[SnapshotPicture] = asyncio.get_running_loop().create_future()
        self._snapshots[ref] = picture
        try:
            await self._socket.send(Snapshot(ref=ref).dump())
            await answer
            return await picture
        except ConnectionClosed:
            raise SessionError("connection_lost", "the connection was lost", retryable=True) from None
        finally:
            self._answers.pop(ref, None)
            self._snapshots.pop(ref, None)
            picture.cancel()

    async def leave(self) -> None:
        """Say bye and close. A server that does not answer is left after a second."""
        try:
            async with asyncio.timeout(_GOODBYE_S):
                await self._socket.send(Bye().dump())
                await self._socket.wait_closed()
        except (ConnectionClosed, TimeoutError):
            self._socket.transport.abort()

    def _expect(self) -> tuple[str, asyncio.Future[ServerMessage]]:
        ref = str(next(self._refs))
        answer: asyncio.Future[ServerMessage] = asyncio.get_running_loop().create_future()
        self._answers[ref] = answer
        return ref, answer

    def _receive(self, data: str | bytes) -> None:
        if isinstance(data, bytes):
            self._receive_picture(data)
            return
        try:
            message = parse_server_message(data)
        except ProtocolError as error:
            if error.code == "unknown_type":
                return  # of a newer server
            raise
        match message:
            case Ack(seq=seq):
                self._window.acknowledged(seq)
                self._credit.set()
            case ErrorMessage():
                self._refused(message)
                return
            case WarningMessage():
                self._events.warning(message)
            case SnapshotTaken():
                self._announced = message
            case Updated() | Reformatted() | Restyled() | Switched():
                self._events.news(message)
        self._answer(message)

    def _answer(self, message: ServerMessage) -> None:
        answer = self._answers.get(getattr(message, "ref", None) or "")
        if answer is not None and not answer.done():
            answer.set_result(message)

    def _refused(self, message: ErrorMessage) -> None:
        answer, error = self._answers.get(message.ref or ""), typed(message)
        if answer is None:
            self._said = error if isinstance(error, AccessError) else self._said
            self._events.refused(error)
        elif not answer.done():
            answer.set_exception(error)

    def _receive_picture(self, data: bytes) -> None:
        header, payload = parse_frame(data)
        if header.kind is Kind.OUTPUT:
            self._events.output(Received(header, payload, self))
            return
        announced, self._announced = self._announced, None
        picture = self._snapshots.get((announced.ref if announced else None) or "")
        if picture is not None and not picture.done():
            picture.set_result(SnapshotPicture(bytes(payload), self.number(header), header.width, header.height))


async def _greet(socket: ClientConnection, hello: Hello, fresh: Hello, on_queued: Callable[[int], None]) -> Welcome:
    await socket.send(hello.dump())
    while True:
        data = await socket.recv()
        message = parse_server_message(data) if isinstance(data, str) else None
        if isinstance(message, Welcome):
            return message
        if isinstance(message, Queued):
            on_queued(message.position)
        if isinstance(message, ErrorMessage):
            if message.code != "bad_resume_token" or hello.resume is None:
                raise typed(message)
            hello = fresh
            await socket.send(hello.dump())
