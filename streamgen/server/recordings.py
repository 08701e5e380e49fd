"""Which sessions are recorded: all of them with ``serve --record``, others when the API is asked to.

::

    POST   /api/v1/sessions/{name}/recording   {"what": "input"} or {"what": "output", "format": "mp4"}
    GET    /api/v1/sessions/{name}/recording
    DELETE /api/v1/sessions/{name}/recording   ?what=input or output; both without it

A client never names a file, and is told the names alone, not where they are.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from streamgen.errors import MediaError, ProtocolError, SessionError, StreamgenError
from streamgen.protocol import Hello
from streamgen.server.house import House
from streamgen.server.outbox import Delivery, End
from streamgen.server.publish_target import Target
from streamgen.server.publish_writer import Writer
from streamgen.server.recorder import LEAST_FREE_BYTES, Recorder
from streamgen.server.refusal import refusal
from streamgen.server.request_body import parse_body, read_body
from streamgen.server.session import Session
from streamgen.server.sessions import Sessions

__all__ = ["Recordings", "add_recordings"]

_LOG = logging.getLogger(__name__)
_FINISH_S = 10.0
_BODY_BYTES = 4096
_LOOK_PICTURES = 30
What = Literal["input", "output"]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")

    what: What
    format: Literal["mp4", "webm", "mkv"] = "mp4"


class _Recording(Protocol):
    """One that is being made."""

    def status(self) -> dict[str, Any]:
        """What to tell a client."""

    async def end(self, reason: str) -> None:
        """Complete it. Takes seconds at most."""


@dataclass(frozen=True, slots=True)
class _Input:
    """What the engine of a session is given."""

    session: Session
    recorder: Recorder

    def status(self) -> dict[str, Any]:
        recorder = self.recorder
        return {"what": "input", "name": recorder.name, "frames": recorder.frames, "lost": recorder.lost}

    async def end(self, reason: str) -> None:
        if self.session.tap.recorder is self.recorder:
            self.session.tap.close(reason)
        self.recorder.end(reason)
        await asyncio.to_thread(self.recorder.join, _FINISH_S)


class _Output:
    """A session's pictures, followed as by a viewer.

    Args:
        on_ended: called when the session has ended, or with why nothing can be written.
    """

    def __init__(
        self,
        session: Session,
        sessions: Sessions,
        folder: Path,
        name: str,
        clock: Callable[[], float],
        on_ended: Callable[[MediaError | None], None],
    ) -> None:
        self._session = session
        self._sessions = sessions
        self._folder = folder
        self._name = name
        self._on_ended = on_ended
        self._loop = asyncio.get_running_loop()
        target = Target.parse(str(folder / name))
        self._writer = Writer(target, session.name, clock, self._lost)
        self._outbox = sessions.connect()
        try:
            sessions.view(Hello(role="view", session=session.name), self._outbox)
        except StreamgenError:
            sessions.disconnect(self._outbox, None)
            raise
        self._writer.begin()
        self._following = asyncio.create_task(self._follow())

    def status(self) -> dict[str, Any]:
        writer = self._writer
        return {"what": "output", "name": self._name, "frames": writer.written, "lost": writer.dropped}

    async def end(self, reason: str) -> None:
        self._following.cancel()
        await asyncio.wait([self._following])
        await asyncio.to_thread(self._writer.end)

    async def _follow(self) -> None:
        taken = 0
        try:
            while not isinstance(item := await self._outbox.next(), End):
                if isinstance(item, Delivery):
                    if taken % _LOOK_PICTURES == 0:
                        _check_room(self._folder)
                    taken += 1
                    self._writer.put(item.picture.output.pixels)
                    self._outbox.acknowledged(item.seq)
        except MediaError as error:
            self._on_ended(error)
        else:
            self._on_ended(None)
        finally:
            self._sessions.disconnect(self._outbox, self._session)

    def _lost(self, reason: str) -> None:
        error = MediaError("recording_failed", f"the recording cannot be written: {reason}")
        self._loop.call_soon_threadsafe(self._on_ended, error)


class Recordings:
    """All that is being recorded. Everything runs on the event loop.

    Args:
        folder: where they go; None where there is no place for them.
        everything: record the input of every session.
        clock: monotonic seconds.
    """

    def __init__(
        self, folder: Path | None, sessions: Sessions, clock: Callable[[], float], *, everything: bool = False
    ) -> None:
        self._folder = folder
        self._sessions = sessions
        self._clock = clock
        self._running: dict[tuple[str, What], _Recording] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        if everything:
            sessions.on_opened = lambda session: self._spawn(self._record_by_itself(session))

    async def begin(self, session: Session, what: What, format: str = "mp4") -> dict[str, Any]:
        """Begin to record, and return what a client may know of it.

        Raises:
            SessionError: ``already_recording``, or ``no_such_session`` when it has ended meanwhile.
            MediaError: ``recording_failed``.
        """
        folder = await asyncio.to_thread(self._make_folder)
        name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
        if (session.name, what) in self._running:
            raise SessionError("already_recording", f"the {what} of {session.name!r} is being recorded", field="what")
        if what == "output":
            return self._begin_output(session, folder, f"{name}.{format}")
        return await self._begin_input(session, folder, name)

    def of(self, session: str) -> list[dict[str, Any]]:
        """What is being recorded of a session."""
        return [recording.status() for (name, _), recording in self._running.items() if name == session]

    async def stop(self, session: str, what: What | None) -> list[dict[str, Any]]:
        """Complete what is being recorded of a session, and return what became of it.

        Raises:
            SessionError: ``not_recording``.
        """
        keys = [key for key in self._running if key[0] == session and what in (None, key[1])]
        if not keys:
            raise SessionError("not_recording", f"nothing of {session!r} is being recorded", field="session")
        ended = [self._running.pop(key) for key in keys]
        for recording in ended:
            await recording.end("stopped")
        return [recording.status() for recording in ended]

    async def end(self) -> None:
        """Complete everything; no session is left."""
        running, self._running = self._running, {}
        await asyncio.gather(*(recording.end("session_ended") for recording in running.values()), *self._tasks)

    def _begin_output(self, session: Session, folder: Path, name: str) -> dict[str, Any]:
        key: tuple[str, What] = (session.name, "output")

        def ended(error: MediaError | None) -> None:
            if self._running.get(key) is recording:
                self._ended(session, key, error)

        recording = _Output(session, self._sessions, folder, name, self._clock, ended)
        self._running[key] = recording
        return recording.status()

    async def _begin_input(self, session: Session, folder: Path, name: str) -> dict[str, Any]:
        key: tuple[str, What] = (session.name, "input")
        loop = asyncio.get_running_loop()

        def ended(error: MediaError | None) -> None:
            if self._running.get(key) is recording:
                self._ended(session, key, error)

        recorder = Recorder(
            folder, name, session.name, lambda error: _on_loop(loop, ended, error), lambda: _on_loop(loop, ended, None)
        )
        recording = _Input(session, recorder)
        self._running[key] = recording
        try:
            await asyncio.to_thread(recorder.begin)
        except MediaError:
            self._running.pop(key)
            raise
        if self._sessions.get(session.name) is not session:
            recorder.end("session_ended")
            raise SessionError("no_such_session", f"the session {session.name!r} has ended", field="session")
        session.tap.open(recorder)
        return recording.status()

    def _ended(self, session: Session, key: tuple[str, What], error: MediaError | None) -> None:
        """A recording has ended by itself."""
        recording = self._running.pop(key)
        self._spawn(recording.end("recording_failed" if error is not None else "session_ended"))
        if error is not None:
            session.on_warning(error.code, error.message)

    async def _record_by_itself(self, session: Session) -> None:
        try:
            await self.begin(session, "input")
        except StreamgenError as error:
            _LOG.warning("a session is not recorded: %s", error)
            session.on_warning("recording_failed", error.message)

    def _make_folder(self) -> Path:
        if self._folder is None:
            raise MediaError("recording_failed", "this server has no folder for recordings")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            fact = (error.strerror or "it cannot be made").lower()
            raise MediaError("recording_failed", f"there is no folder for recordings: {fact}") from None
        _check_room(self._folder)
        return self._folder

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def add_recordings(app: FastAPI, house: House, recordings: Recordings) -> None:
    """Add the routes."""

    def session_of(request: Request, name: str) -> Session:
        house.admit(request).check("admin", None)
        session = house.sessions.get(name)
        if session is None:
            raise SessionError("no_such_session", f"there is no session named {name!r}", retryable=True)
        return session

    @app.post("/api/v1/sessions/{name}/recording", tags=["recording"], summary="Begin to record a session")
    async def begin(name: str, request: Request) -> Response:
        try:
            session = session_of(request, name)
            asked = parse_body(_Asked, await read_body(request, _BODY_BYTES))
            return JSONResponse(await recordings.begin(session, asked.what, asked.format), 201)
        except StreamgenError as error:
            return refusal(error)

    @app.get("/api/v1/sessions/{name}/recording", tags=["recording"], summary="What is being recorded of a session")
    async def status(name: str, request: Request) -> Response:
        try:
            return JSONResponse({"recordings": recordings.of(session_of(request, name).name)})
        except StreamgenError as error:
            return refusal(error)

    @app.delete("/api/v1/sessions/{name}/recording", tags=["recording"], summary="Complete what is being recorded")
    async def stop(name: str, request: Request, what: str | None = None) -> Response:
        try:
            session = session_of(request, name)
            return JSONResponse({"recordings": await recordings.stop(session.name, _what(what))})
        except StreamgenError as error:
            return refusal(error)


def _what(given: str | None) -> What | None:
    """Not for FastAPI to judge, which would answer strangers before they are turned away."""
    match given:
        case None | "input" | "output":
            return given
    raise ProtocolError("invalid_message", f"what must be input or output, got {given[:80]!r}", field="what")


def _on_loop(loop: asyncio.AbstractEventLoop, call: Callable[..., None], *args: object) -> None:
    try:
        loop.call_soon_threadsafe(call, *args)
    except RuntimeError:
        _LOG.debug("a recording ended after the event loop had closed")


def _check_room(folder: Path) -> None:
    """Raises:
    MediaError: ``recording_failed`` when little is left of the disk.
    """
    if shutil.disk_usage(folder).free < LEAST_FREE_BYTES:
        fact = f"the disk has less than {LEAST_FREE_BYTES // 2**20} MiB left"
        raise MediaError("recording_failed", f"the recording cannot be written: {fact}")
