"""The connections of a stream of the Python SDK: one after the other lost and made again, the session as it was."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from streamgen.client_link import Link, LinkEvents, News, Received
from streamgen.client_statistics import Counter
from streamgen.client_token import TokenSource
from streamgen.errors import SessionError, StreamgenError
from streamgen.protocol import Hello, Reformatted, Restyled, Updated, WarningMessage, Welcome
from streamgen.settings import StreamSettings

__all__ = ["Connections", "Handlers", "Policy", "State"]

_LOG = logging.getLogger("streamgen.client")

State = Literal["connecting", "open", "reconnecting", "closed"]
_LEAVE_S = 0.5
"""For the tasks of a closed stream to end, which nothing holds up but a picture that is being encoded."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How to connect, and whether to come back."""

    url: str
    hello: Hello
    token: TokenSource
    reconnect: bool
    connect_timeout_s: float
    backoff_s: Callable[[int], float]
    """How long to wait before reconnection 0, 1, ..."""


@dataclass(frozen=True, slots=True)
class Handlers:
    """What the program wants to be called with, on the stream's event loop. Without ``on_warning`` and ``on_error``
    these are logged. What a handler raises is logged too, and nothing else comes of it."""

    on_state: Callable[[State, StreamgenError | None], object] | None = None
    on_welcome: Callable[[Welcome], object] | None = None
    on_updated: Callable[[Updated], object] | None = None
    on_warning: Callable[[WarningMessage], object] | None = None
    on_error: Callable[[StreamgenError], object] | None = None
    on_queued: Callable[[int], object] | None = None

    def state(self, state: State, why: StreamgenError | None) -> None:
        _call(self.on_state, state, why)

    def queued(self, position: int) -> None:
        _call(self.on_queued, position)

    def welcome(self, welcome: Welcome) -> None:
        _call(self.on_welcome, welcome)

    def updated(self, updated: Updated) -> None:
        _call(self.on_updated, updated)

    def warning(self, message: WarningMessage) -> None:
        _call(self.on_warning or _log, message)

    def error(self, error: StreamgenError) -> None:
        _call(self.on_error or _log, error)


def _call(handler: Callable[..., object] | None, *news: object) -> None:
    if handler is None:
        return
    try:
        handler(*news)
    except Exception:  # the program's own function: its defect must not end the connection
        _LOG.exception("a handler of the stream failed")


def _log(news: WarningMessage | StreamgenError) -> None:
    _LOG.warning("%s: %s", news.code, news.message)


class Connections:
    """Call ``open()``, then ``close()``.

    Args:
        use: works with a connection until it is cancelled or the connection is lost.
        on_output: is given every output.
        on_end: is called once nothing more will come.
    """

    def __init__(
        self,
        policy: Policy,
        handlers: Handlers,
        counter: Counter,
        use: Callable[[Link], Awaitable[None]],
        on_output: Callable[[Received], None],
        on_end: Callable[[], None],
    ) -> None:
        self._policy = policy
        self._handlers = handlers
        self._counter = counter
        self._use = use
        self._on_end = on_end
        self._events = LinkEvents(on_output, self._on_news, handlers.warning, handlers.error)
        self._welcome: Welcome | None = None
        self._settings: StreamSettings | None = None
        self._linked = asyncio.Event()  # set: a connection, or the end
        self._living: asyncio.Task[None] | None = None
        self.state: State = "connecting"
        self.link: Link | None = None
        self.over = False
        self.failure: StreamgenError | None = None
        """What ended the stream, unless it was ``close()``."""

    @property
    def welcome(self) -> Welcome:
        if self._welcome is None:
            raise SessionError("closed", "the stream was never open: use it inside its `async with`")
        return self._welcome

    @property
    def settings(self) -> StreamSettings:
        return self._settings or self.welcome.settings

    async def open(self) -> None:
        """Connect for the first time. Raises as ``Link.open``, and what the token function raised."""
        link = await self._open()
        self._living = asyncio.get_running_loop().create_task(self._live(link))

    async def close(self) -> None:
        """Leave the session. Takes a second and a half at most, whatever the server does."""
        if self.over and self._living is None:
            return
        self._finish(None)
        if self.link is not None:
            await self.link.leave()
        if self._living is not None:
            self._living.cancel()
            await asyncio.wait([self._living], timeout=_LEAVE_S)
            self._living = None

    async def connected(self) -> Link:
        """The connection, waiting for the next one if it was just lost.

        Raises:
            StreamgenError: the stream is at its end, or was never opened.
        """
        while self.link is None:
            self.check_alive()
            await self._linked.wait()
        self.check_alive()
        return self.link

    def check_alive(self) -> None:
        """Raises what ended the stream, or ``closed``."""
        if self.failure is not None:
            raise self.failure
        if self.over or self._living is None:
            raise SessionError("closed", "the stream is not open: use it inside its `async with`")

    async def _live(self, link: Link) -> None:
        """Use one connection after the other, until one ends for good."""
        error: StreamgenError | None = None
        try:
            while True:
                error = await self._until_lost(link)
                if self.over or not self._policy.reconnect:
                    return
                at_once = self._policy.token.renews(error)
                if not (error.retryable or at_once):
                    return
                self._become("reconnecting", error)
                link = await self._reopen(at_once)
        except StreamgenError as refused:
            error = refused
        finally:
            self._finish(error)

    async def _until_lost(self, link: Link) -> StreamgenError:
        """Send and receive until the connection is lost; returns why."""
        using = asyncio.ensure_future(self._use(link))
        try:
            return await link.listen()
        finally:
            self.link = None
            self._linked.clear()
            using.cancel()
            await asyncio.wait([using])

    async def _reopen(self, at_once: bool) -> Link:
        attempt = 0
        while True:
            if not at_once:
                await asyncio.sleep(self._policy.backoff_s(attempt))
                attempt += 1
            self._become("connecting", None)
            try:
                return await self._open()
            except StreamgenError as error:
                at_once = self._policy.token.renews(error)
                if not (error.retryable or at_once):
                    raise
                self._become("reconnecting", error)

    async def _open(self) -> Link:
        url, limit_s = self._policy.url, self._policy.connect_timeout_s
        try:
            async with asyncio.timeout(limit_s) as limit:
                token = await self._policy.token.ask()

                def queued(position: int) -> None:
                    limit.reschedule(None)  # whoever said it would wait waits for as long as it takes
                    self._handlers.queued(position)

                link = await Link.open(url, *self._hellos(), token, self._events, queued)
        except TimeoutError:
            raise SessionError("unreachable", f"{url} did not answer within {limit_s:g} s", retryable=True) from None
        self._policy.token.accepted()
        self._counter.connections += 1
        self._welcome, self._settings, self.link = link.welcome, link.welcome.settings, link
        self._linked.set()
        self._become("open", None)
        self._handlers.welcome(link.welcome)
        return link

    def _hellos(self) -> tuple[Hello, Hello]:
        """What to say first, and what to say when the resume token has expired."""
        hello = self._policy.hello
        if self._welcome is None:
            return hello, hello.model_copy(update={"resume": None})
        if self._welcome.resume is None:
            return hello, hello
        kept: dict[str, Any] = {
            "settings": self.settings.model_dump(mode="json"),
            "format": self._welcome.format.model_dump(),
            "session": self._welcome.session,
            "resume": None,
        }
        fresh = hello.model_copy(update=kept)
        # The server kept settings and format; nothing is to be merged over them.
        return fresh.model_copy(update={"resume": self._welcome.resume, "settings": {}, "format": {}}), fresh

    def _on_news(self, news: News) -> None:
        if isinstance(news, Updated):
            self._settings = news.settings
            self._handlers.updated(news)
        elif isinstance(news, Reformatted):
            self._welcome = self.welcome.model_copy(update={"format": news.format})
        elif isinstance(news, Restyled):
            self._welcome = self.welcome.model_copy(update={"styles": news.styles})
        else:
            facts = {name: getattr(news, name) for name in ("model", "styles", "unused", "loras", "reference")}
            self._welcome = self.welcome.model_copy(update=facts)

    def _become(self, state: State, why: StreamgenError | None) -> None:
        if self.state not in (state, "closed"):
            self.state = state
            self._handlers.state(state, why)

    def _finish(self, failure: StreamgenError | None) -> None:
        if not self.over:
            self.over, self.failure = True, failure
        self._become("closed", failure)
        self._linked.set()
        self._on_end()
