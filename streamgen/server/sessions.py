"""All sessions of a server: who may open one, who may take one over, and when one ends."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from streamgen.config import ServerConfig
from streamgen.engine.limits import check_settings
from streamgen.engine.shares import Load
from streamgen.errors import SessionError
from streamgen.logs import about
from streamgen.metrics import Drops, StageTimes
from streamgen.protocol import Bye, Close, Hello
from streamgen.server.outbox import Outbox
from streamgen.server.picture import CodecPool
from streamgen.server.quality import Governor
from streamgen.server.queue import Queue
from streamgen.server.session import MAX_VIEWERS, Session
from streamgen.server.totals import Totals
from streamgen.server.tracing import Traces, Untraced
from streamgen.server.worker_link import WorkerLink
from streamgen.settings import FrameFormat, StreamSettings, merge_settings, parse_format

__all__ = ["Sessions"]

_LOG = logging.getLogger(__name__)
_NAME_BYTES = 9
_TOKEN_BYTES = 24


class Sessions:
    """The sessions by name. Every method runs on the event loop and none of them waits."""

    def __init__(
        self,
        config: ServerConfig,
        worker: WorkerLink,
        pool: CodecPool,
        clock: Callable[[], float],
        traces: Traces | None = None,
    ) -> None:
        self._config = config
        self._worker = worker
        self._pool = pool
        self._clock = clock
        self._by_name: dict[str, Session] = {}
        self._by_token: dict[str, Session] = {}
        self._expiries: dict[str, asyncio.TimerHandle] = {}  # sessions without a publisher, longest first
        self._connected: set[Outbox] = set()
        self._opened = asyncio.Event()
        self._limits: dict[str, list[asyncio.TimerHandle]] = {}
        self._governor = Governor(config.min_fps)
        self.queue = Queue(config.max_queue)
        self.totals = Totals()
        self._traces = traces or Untraced()
        self.on_opened: Callable[[Session], None] | None = None
        self._closing = False
        self._all_gone = asyncio.Event()

    def __len__(self) -> int:
        return len(self._by_name)

    def __iter__(self) -> Iterator[Session]:
        return iter(tuple(self._by_name.values()))

    def get(self, name: str) -> Session | None:
        """The session of that name."""
        return self._by_name.get(name)

    @property
    def drops(self) -> Drops:
        """Frames dropped since the server started, by reason; pictures count once for every connection that lost
        them."""
        return self.totals.all_drops((*self, *self._connected))

    def kept_for(self, token: str) -> Session | None:
        """The session that whoever has this resume token may take over."""
        return self._by_token.get(token)

    async def appears(self, name: str | None) -> Session:
        """Wait until there is a session of that name; None for any, and of several the one that opened first."""
        while (session := next(iter(self._by_name.values()), None) if name is None else self.get(name)) is None:
            self._opened.clear()
            await self._opened.wait()
        return session

    def connect(self) -> Outbox:
        """A new connection's outbox. Call ``disconnect`` when the connection is gone."""
        outbox = Outbox(self._config.ack_timeout_s, self._clock, self.totals.arrival_to_glass)
        self._connected.add(outbox)
        if self._closing:
            self._dismiss(outbox)
        return outbox

    def disconnect(self, outbox: Outbox, session: Session | None) -> None:
        """A connection is gone. A session without its publisher waits ``resume_seconds`` for it to come back."""
        self._connected.discard(outbox)
        self.totals.end_connection(outbox)
        if not self._connected:
            self._all_gone.set()
        if session is None:
            return
        if session.leave(outbox) and self._by_name.get(session.name) is session:
            self._expiries[session.name] = asyncio.get_running_loop().call_later(
                self._config.resume_seconds, self.end, session
            )

    def publish(self, hello: Hello, outbox: Outbox, *, waited: bool = False) -> tuple[Session, bool]:
        """Open a session, or take over the one whose token ``hello`` carries.

        Args:
            hello: what the publisher asks for.
            outbox: its connection.
            waited: it is its turn in the queue; others do not overtake those who wait.

        Returns:
            The session, and whether it was taken over.

        Raises:
            SettingsError: a setting or the format is invalid.
            SessionError: ``bad_resume_token``, ``publisher_exists`` or ``server_full``.
            WorkerError: ``worker_not_ready``.
        """
        if hello.resume is not None:
            return self._take_over(hello, hello.resume, outbox), True
        return self._open(hello, outbox, waited=waited), False

    def view(self, hello: Hello, outbox: Outbox) -> Session:
        """Join a session.

        Raises:
            SessionError: ``no_such_session`` or ``server_full``.
        """
        session = self.get(hello.session or "")
        if session is None:
            named = f"named {hello.session!r}" if hello.session else "without a name"
            raise SessionError("no_such_session", f"there is no session {named}", field="session", retryable=True)
        if len(session.viewers) >= MAX_VIEWERS:
            raise SessionError("server_full", f"the session has {MAX_VIEWERS} viewers", retryable=True)
        session.join(outbox)
        return session

    def end(self, session: Session) -> None:
        """End a session for everybody in it."""
        if self._by_name.get(session.name) is not session:
            return
        del self._by_name[session.name]
        del self._by_token[session.token]
        self._keep(session)
        for timer in self._limits.pop(session.name, ()):
            timer.cancel()
        session.close()
        self.totals.end_session(session)
        session.trace.ended()
        lasted_s, made = self._clock() - session.opened_s, session.frames_out
        _LOG.info("the session ended after %.0f s and %d pictures", lasted_s, made, extra=about(session.name))
        for viewer in tuple(session.viewers):
            viewer.end(Close.NO_SESSION, "the session ended", Bye(reason="session_ended"))
        if not self._closing:
            # Not at once: whoever ends a session to open another comes first.
            asyncio.get_running_loop().call_soon(self.queue.serve)

    def dismiss(self, session: Session) -> None:
        """End a session because the operator wants it ended; its publisher is not to come back by itself."""
        if session.publisher is not None:
            session.publisher.end(Close.NORMAL, "the operator ended it", Bye(reason="ended_by_operator"))
        self.end(session)

    def on_load(self, load: Load) -> None:
        """A second has passed on the device; it may be short of time, or have room for those who wait."""
        self._governor.look(load, self)
        for name in load.spent:
            session = self.get(name)
            if session is not None:
                session.rates.look(session.frames_in, session.frames_out, load.window_s)
        if not self._closing:
            self.queue.serve()

    def shut_down(self) -> None:
        """Say goodbye to every client, also to those still to come, and end all sessions."""
        self._closing = True
        for outbox in tuple(self._connected):
            self._dismiss(outbox)
        for session in tuple(self._by_name.values()):
            self.end(session)

    async def farewell(self, timeout_s: float) -> None:
        """``shut_down()``, then wait until the clients are gone, but no longer than ``timeout_s``."""
        self.shut_down()
        self._all_gone.clear()
        if self._connected:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._all_gone.wait()

    def _dismiss(self, outbox: Outbox) -> None:
        outbox.end(Close.DRAINING, "the server is shutting down", Bye(reason="shutting_down"))

    def _open(self, hello: Hello, outbox: Outbox, *, waited: bool) -> Session:
        settings = self._settings(StreamSettings(), hello)
        format = self._format(hello.format)
        name = hello.session or secrets.token_urlsafe(_NAME_BYTES)
        self._make_room(name, waited=waited)
        token, stages = secrets.token_urlsafe(_TOKEN_BYTES), StageTimes(self.totals.stages)
        session = Session(name, token, format, settings, self._worker, self._pool, stages)
        self._begin(session, outbox, format, settings)
        self._by_name[name] = self._by_token[session.token] = session
        self.totals.opened += 1
        session.trace = self._traces.begin(name, format)
        _LOG.info("a session opened, %dx%d", format.width, format.height, extra=about(name))
        self._opened.set()
        self._limit(session)
        if self.on_opened is not None:
            self.on_opened(session)
        return session

    def _begin(self, session: Session, outbox: Outbox, format: FrameFormat, settings: StreamSettings) -> None:
        """Have the worker serve it; sessions that merely wait for their publisher give way on a full device too."""
        while True:
            try:
                session.open(outbox, format, settings)
            except SessionError as error:
                if error.code != "server_full" or not self._expiries:
                    raise
                self.end(self._by_name[next(iter(self._expiries))])
            else:
                return

    def _take_over(self, hello: Hello, token: str, outbox: Outbox) -> Session:
        session = self._by_token.get(token)
        if session is None:
            raise SessionError(
                "bad_resume_token", "the resume token is unknown or its session has ended", field="resume"
            )
        settings = self._settings(session.settings, hello)
        format = self._format(hello.format) if hello.format else session.asked_format
        former = session.publisher
        session.open(outbox, format, settings)
        self._keep(session)
        session.trace.taken_over()
        _LOG.info("another connection took the session over", extra=about(session.name))
        if former is not None:
            former.end(Close.PUBLISHER_EXISTS, "another connection took over", Bye(reason="taken_over"))
        return session

    def _settings(self, kept: StreamSettings, hello: Hello) -> StreamSettings:
        settings, info = merge_settings(kept, hello.settings), self._worker.info
        check_settings(settings, info.max_steps, info.loras)
        return settings

    def _format(self, wanted: dict[str, Any]) -> FrameFormat:
        """The model's own size where nothing else is wanted."""
        info = self._worker.info
        return parse_format({"width": info.width, "height": info.height, **wanted})

    def _keep(self, session: Session) -> None:
        expiry = self._expiries.pop(session.name, None)
        if expiry is not None:
            expiry.cancel()

    def _limit(self, session: Session) -> None:
        """Begin to count the session's time."""
        loop, config = asyncio.get_running_loop(), self._config
        timers = self._limits[session.name] = []
        session.touch(self._clock())
        if config.max_session_seconds > 0:
            fact = f"a session lasts {config.max_session_seconds:.0f} s here"
            timers.append(loop.call_later(config.max_session_seconds, self._expire, session, "max_duration", fact))
        if config.idle_seconds > 0:
            timers.append(loop.call_later(config.idle_seconds, self._check_idle, session))

    def _check_idle(self, session: Session) -> None:
        left_s = self._config.idle_seconds - session.idle_s(self._clock())
        if left_s > 0:
            timer = asyncio.get_running_loop().call_later(left_s, self._check_idle, session)
            self._limits[session.name][-1] = timer
        else:
            self._expire(session, "idle", f"no frame came for {self._config.idle_seconds:.0f} s")

    def _expire(self, session: Session, reason: str, fact: str) -> None:
        if session.publisher is not None:
            session.publisher.end(Close.IDLE, fact, Bye(reason=reason))
        self.end(session)

    def _make_room(self, name: str, *, waited: bool) -> None:
        """Find a place under ``name``. Sessions that merely wait for their publisher give way: first one of that name,
        so that a program that was restarted gets its name back, then the one that waited longest."""
        holder = self.get(name)
        if holder is not None:
            if holder.publisher is not None:
                raise SessionError("publisher_exists", f"the session {name!r} has a publisher", field="session")
            self.end(holder)
        elif len(self.queue) and not waited:
            raise SessionError("server_full", f"{len(self.queue)} publishers wait for a place already", retryable=True)
        elif len(self._by_name) >= self._config.max_sessions:
            if not self._expiries:
                raise SessionError("server_full", f"all {self._config.max_sessions} sessions are taken", retryable=True)
            self.end(self._by_name[next(iter(self._expiries))])
