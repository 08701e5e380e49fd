"""A stream of the Python SDK: one session, over as many connections as it takes. ``client.connect`` makes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Literal, Self

from websockets.exceptions import ConnectionClosed

from streamgen.client_link import Answer, Link, News, Received, Request, SnapshotPicture
from streamgen.client_reference import ReferenceKeeper
from streamgen.client_sender import INLINE_PIXELS, Sender
from streamgen.errors import SessionError, StreamgenError
from streamgen.frames import Output, Pixels
from streamgen.protocol import (
    Hello,
    Pause,
    Paused,
    Referenced,
    Reformat,
    Reformatted,
    Restyled,
    Resume,
    Resumed,
    Stats,
    StatsReport,
    Switch,
    Switched,
    Update,
    Updated,
    Welcome,
)
from streamgen.settings import FrameFormat, StreamSettings

__all__ = ["Stream", "named"]


class Stream:
    """A session as seen by its publisher or a viewer. Made by ``connect``; use it in ``async with``, from one loop."""

    def __init__(
        self,
        url: str,
        hello: Hello,
        send_quality: int,
        reconnect: bool,
        connect_timeout_s: float,
        request_timeout_s: float,
        backoff_s: Callable[[int], float],
    ) -> None:
        self._url = url
        self._hello = hello
        self._sender = Sender(send_quality, lambda: self.settings.max_fps)
        self._reference = ReferenceKeeper()
        self._reconnect = reconnect
        self._connect_timeout_s = connect_timeout_s
        self._request_timeout_s = request_timeout_s
        self._backoff_s = backoff_s
        self._welcome: Welcome | None = None
        self._settings: StreamSettings | None = None
        self._link: Link | None = None
        self._failure: StreamgenError | None = None
        self._over = False
        self._paused = False
        self._unseen: Received | None = None
        # Set: something to see, or the end; a connection, or the end.
        self._to_see, self._linked = asyncio.Event(), asyncio.Event()
        self._living: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            StreamgenError: ``unreachable``, a refused setting, a session that does not exist, ...
        """
        link = await self._open()
        self._living = asyncio.get_running_loop().create_task(self._live(link))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def session(self) -> str:
        """The session's name; an overlay views it under that name."""
        return self._known().session

    @property
    def welcome(self) -> Welcome:
        """What the server said of itself and of the session when it was joined last; its model, LoRAs and format are
        those of now."""
        return self._known()

    @property
    def settings(self) -> StreamSettings:
        """The settings in force, as last heard."""
        return self._settings or self._known().settings

    @property
    def format(self) -> FrameFormat:
        """Size and fit of the outputs, as last heard."""
        return self._known().format

    async def send(self, frame: Pixels, captured_us: int | None = None) -> int:
        """Send the newest frame, soon: one that could not be sent yet is replaced. Copies the pixels.

        Args:
            frame: uint8 [H, W, 3] RGB of any size up to 4 megapixels.
            captured_us: when it was captured, Unix microseconds; now, unless given.

        Returns:
            The frame's number, counted from 0; the output made of it has it as ``seq``.

        Raises:
            CodecError: ``bad_pixels`` or ``frame_too_large``.
            SessionError: the stream is closed, or this is a viewer.
        """
        self._check_alive()
        if self._hello.role == "view":
            raise SessionError("not_publisher", "a viewer sends no frames")
        number = self._sender.put(frame, captured_us)
        await asyncio.sleep(0)  # lets the sending task run even in a caller's tight loop
        return number

    async def update(self, **settings: Any) -> Updated:
        """Change live settings; returns once they are in force, with how well the model understood the prompt.

        Raises:
            SettingsError: ``invalid_settings`` or ``unknown_setting``, with ``field``; nothing was changed.
            SessionError: the connection was lost, or did not answer in time.
        """
        return await self._ask(Update(settings=settings), Updated)

    async def reformat(
        self,
        width: int | None = None,
        height: int | None = None,
        fit: Literal["cover", "contain"] | None = None,
        upscale: Literal[1, 2, 4] | None = None,
        *,
        timeout_s: float | None = None,
    ) -> FrameFormat:
        """Change the shape of the outputs, or how much of it the upscaler makes; returns once it is in force. Those of
        the old shape come until then.

        Args:
            timeout_s: how long to wait; None for as long as compiling takes, which depends on the backend.

        Raises:
            SettingsError: ``invalid_settings``, with ``field``; nothing was changed.
            SessionError: ``superseded`` by another call, ``not_publisher``, or the connection was lost.
        """
        request = Reformat(format=named(width=width, height=height, fit=fit, upscale=upscale))
        return (await self._ask_within(timeout_s, request, Reformatted)).format

    async def reference(self, pixels: Pixels | None) -> None:
        """Steer by another reference picture, or by none; returns once it is in force, from the next frame on. It stays
        until another one comes, over lost connections too; the setting ``reference_scale`` says how strongly it steers.

        Args:
            pixels: uint8 [H, W, 3] RGB of any size from 16x16. It travels as a JPEG of at most 512 pixels a side.

        Raises:
            SettingsError: ``no_reference`` when the model takes none, see ``welcome.reference``.
            CodecError: ``bad_pixels`` or ``bad_image``.
            SessionError: ``superseded`` by another call, ``not_publisher``, or the connection was lost.
        """
        await self._reference.ask(pixels, lambda request: self._ask(request, Referenced))

    async def switch(
        self, model: str, loras: Sequence[str] | None = None, *, timeout_s: float | None = None
    ) -> Switched:
        """Have the server load one of ``welcome.models``, for every session it serves; returns once it is in force.
        The present model goes on until then. Settings that the new one cannot do are fitted to it.

        Args:
            model: its name.
            loras: names of those of its LoRAs to load; None for all of them.
            timeout_s: how long to wait; None for as long as loading takes.

        Raises:
            ConfigError: ``unknown_model``, ``unknown_lora``, or what keeps the model from being loaded.
            SessionError: ``switch_pending``, ``not_publisher``, or the connection was lost.
        """
        request = Switch(model=model, loras=None if loras is None else tuple(loras))
        return await self._ask_within(timeout_s, request, Switched)

    async def stats(self) -> StatsReport:
        """The server's counters of this session."""
        return await self._ask(Stats(), StatsReport)

    async def snapshot(self) -> SnapshotPicture:
        """The newest output, losslessly, as a PNG file.

        Raises:
            SessionError: ``no_output_yet``.
        """
        async with _within(self._request_timeout_s):
            return await (await self._connected()).snapshot()

    async def pause(self) -> None:
        """Publisher: stop computing, frames sent meanwhile are dropped. Viewer: stop receiving."""
        self._paused = True
        await self._ask_or_reconnect(Pause(), Paused)

    async def resume(self) -> None:
        """End a pause."""
        self._paused = False
        await self._ask_or_reconnect(Resume(), Resumed)

    async def close(self) -> None:
        """End the session (publisher) or leave it (viewer). Iteration ends."""
        if self._over and self._living is None:
            return
        self._finish(None)
        if self._link is not None:
            await self._link.leave()
        if self._living is not None:
            self._living.cancel()
            await asyncio.wait([self._living])
            self._living = None

    def __aiter__(self) -> AsyncIterator[Output]:
        return self

    async def __anext__(self) -> Output:
        """The newest output that was not handed out yet; waits for one.

        Raises:
            StreamgenError: what ended the stream for good; StopAsyncIteration after ``close()``.
        """
        while self._unseen is None:
            if self._failure is not None:
                raise self._failure
            if self._over:
                raise StopAsyncIteration
            self._to_see.clear()
            await self._to_see.wait()
        received, self._unseen = self._unseen, None
        await received.link.acknowledge(received.header)
        header = received.header
        if header.width * header.height <= INLINE_PIXELS:
            return received.decode()
        return await asyncio.to_thread(received.decode)

    # ---------------------------------------------------------------------------------------------- the connections

    async def _live(self, link: Link) -> None:
        """Use one connection after the other, until one ends for good."""
        error: StreamgenError | None = None
        try:
            while True:
                error = await self._use(link)
                if self._over or not (self._reconnect and error.retryable):
                    return
                link = await self._reopen()
        except StreamgenError as refused:
            error = refused
        finally:
            self._finish(error)

    async def _use(self, link: Link) -> StreamgenError:
        """Send and receive until the connection is lost; returns why."""
        sending = asyncio.get_running_loop().create_task(self._send_frames(link))
        try:
            return await link.listen()
        finally:
            self._link = None
            self._linked.clear()
            sending.cancel()
            await asyncio.wait([sending])

    async def _reopen(self) -> Link:
        attempt = 0
        while True:
            await asyncio.sleep(self._backoff_s(attempt))
            attempt += 1
            try:
                return await self._open()
            except StreamgenError as error:
                if not error.retryable:
                    raise

    async def _open(self) -> Link:
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                link = await Link.open(self._url, *self._hellos(), self._on_output, self._on_news)
        except TimeoutError:
            raise SessionError(
                "unreachable", f"{self._url} did not answer within {self._connect_timeout_s:g} s", retryable=True
            ) from None
        self._welcome, self._settings, self._link = link.welcome, link.welcome.settings, link
        self._linked.set()
        return link

    def _hellos(self) -> tuple[Hello, Hello]:
        """What to say first, and what to say when the resume token has expired."""
        if self._welcome is None or self._welcome.resume is None:
            return self._hello, self._hello
        kept = {
            "settings": self.settings.model_dump(mode="json"),
            "format": self.format.model_dump(),
            "session": self._welcome.session,
        }
        fresh = self._hello.model_copy(update=kept)
        # The server kept settings and format; nothing is to be merged over them.
        return fresh.model_copy(update={"resume": self._welcome.resume, "settings": {}, "format": {}}), fresh

    async def _send_frames(self, link: Link) -> None:
        try:
            if self._paused:
                await link.ask(Pause(), Paused)
            await self._reference.ask_again(link)
            await self._sender.run(link)
        except (ConnectionClosed, SessionError):
            return  # listen() reports it

    def _on_output(self, received: Received) -> None:
        self._unseen = received
        self._to_see.set()

    def _on_news(self, news: News) -> None:
        if isinstance(news, Updated):
            self._settings = news.settings
        elif isinstance(news, Reformatted):
            self._welcome = self._known().model_copy(update={"format": news.format})
        elif isinstance(news, Restyled):
            self._welcome = self._known().model_copy(update={"styles": news.styles})
        else:
            facts = {name: getattr(news, name) for name in ("model", "styles", "unused", "loras", "reference")}
            self._welcome = self._known().model_copy(update=facts)

    # ------------------------------------------------------------------------------------------------------ requests

    async def _ask(self, request: Request, kind: type[Answer]) -> Answer:
        return await self._ask_within(self._request_timeout_s, request, kind)

    async def _ask_within(self, timeout_s: float | None, request: Request, kind: type[Answer]) -> Answer:
        async with _within(timeout_s):
            return await (await self._connected()).ask(request, kind)

    async def _ask_or_reconnect(self, request: Request, kind: type[Answer]) -> None:
        """Ask for what the next connection is told anyway."""
        try:
            await self._ask(request, kind)
        except SessionError as error:
            if error.code != "connection_lost" or not self._reconnect:
                raise

    async def _connected(self) -> Link:
        """The connection, waiting for the next one if it was just lost."""
        while self._link is None:
            self._check_alive()
            await self._linked.wait()
        self._check_alive()
        return self._link

    def _finish(self, failure: StreamgenError | None) -> None:
        if not self._over:
            self._over, self._failure = True, failure
        self._to_see.set()
        self._linked.set()

    def _check_alive(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._over or self._living is None:
            raise SessionError("closed", "the stream is not open: use it inside its `async with`")

    def _known(self) -> Welcome:
        if self._welcome is None:
            raise SessionError("closed", "the stream was never open: use it inside its `async with`")
        return self._welcome


@asynccontextmanager
async def _within(timeout_s: float | None) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError:
        raise SessionError("no_answer", f"the server did not answer within {timeout_s:g} s", retryable=True) from None


def named(**fields: Any) -> dict[str, Any]:
    """Those fields that were given."""
    return {name: value for name, value in fields.items() if value is not None}
