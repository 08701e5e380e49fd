"""The worker process seen from the event loop: starts it, feeds it, listens to it, restarts it when it dies."""

from __future__ import annotations

import asyncio
import itertools
import logging
import multiprocessing
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from multiprocessing.synchronize import Lock, Semaphore

from streamgen.config import ServerConfig
from streamgen.engine.worker import (
    Applied,
    CloseSession,
    Dropped,
    Failed,
    FrameFailed,
    Made,
    OpenSession,
    Ready,
    Refused,
    Stop,
    UpdateSession,
    WorkerLaunch,
    run_worker,
)
from streamgen.errors import StreamgenError, WorkerError
from streamgen.frames import Frame, Output, Timing
from streamgen.mailbox import Note, SharedSlot, Taken
from streamgen.server.commands import CommandSender
from streamgen.server.worker_link import SessionListener, WorkerInfo
from streamgen.settings import FrameFormat, StreamSettings
from streamgen.wire import MAX_PIXELS

__all__ = ["Worker"]

_LOG = logging.getLogger(__name__)
_MAX_FRAME_BYTES = MAX_PIXELS * 3
_STOP_TIMEOUT_S = 5.0
_RESTARTS_ALLOWED = 5
_RESTART_WINDOW_S = 60.0

Report = Ready | Failed | Applied | Refused | Made | Dropped | FrameFailed


@dataclass(slots=True)
class _Session:
    """What a restarted worker needs to go on, and the slots of the present one.

    ``key`` is the session's name in the worker. It is unique to this opening, so that a report about an earlier session
    of the same name reaches nobody.
    """

    key: str
    format: FrameFormat
    settings: StreamSettings
    rev: int
    listener: SessionListener
    inbox: SharedSlot
    outbox: SharedSlot
    applied: tuple[int, StreamSettings] | None = None

    def discard_slots(self) -> None:
        for slot in (self.inbox, self.outbox):
            slot.close()
            slot.unlink()


@dataclass(frozen=True, slots=True)
class _Process:
    """One incarnation of the worker; the lock dies with it, because a killed process may have held it."""

    process: SpawnProcess
    commands: Connection
    doorbell: Semaphore
    lock: Lock
    sender: CommandSender
    ended: threading.Event = field(default_factory=threading.Event)


class Worker:
    """Implements ``WorkerLink`` with one spawned process.

    A process that dies is replaced, at most five times a minute; its sessions are opened again with the settings they
    had, and each hears ``worker_restarting`` and ``worker_restarted``.

    Args:
        config: what to load, and on what.
        on_given_up: called when the process keeps dying.
    """

    def __init__(self, config: ServerConfig, on_given_up: Callable[[StreamgenError], None] | None = None) -> None:
        self.on_given_up = on_given_up
        self._launch = WorkerLaunch(config.spec, config.backend, config.threads, _MAX_FRAME_BYTES)
        self._context = multiprocessing.get_context("spawn")
        self._sessions: dict[str, _Session] = {}
        self._by_key: dict[str, _Session] = {}
        self._openings = itertools.count()
        self._slots_guard = threading.Lock()  # the listening thread reads slots that the event loop may discard
        self._current: _Process | None = None
        self._info: WorkerInfo | None = None
        self._ready = False
        self._stopping = False
        self._restarts: deque[float] = deque(maxlen=_RESTARTS_ALLOWED)
        self._restarting: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        return self._ready

    @property
    def info(self) -> WorkerInfo:
        if self._info is None:
            raise WorkerError("worker_not_ready", "the worker has not started yet", retryable=True)
        return self._info

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._spawn()

    def expect_end(self) -> None:
        self._stopping = True

    async def stop(self) -> None:
        self.expect_end()
        self._ready = False
        if self._restarting is not None:
            self._restarting.cancel()
        current = self._current
        if current is not None:
            current.sender.put(Stop())
            await asyncio.to_thread(_end, current.process)
            current.sender.close()
        with self._slots_guard:
            for session in self._sessions.values():
                session.discard_slots()
            self._sessions.clear()
            self._by_key.clear()

    def open(
        self, session: str, format: FrameFormat, settings: StreamSettings, rev: int, listener: SessionListener
    ) -> None:
        current = self._running()
        key = f"{session}#{next(self._openings)}"
        opened = _Session(key, format, settings, rev, listener, *_slots(current.lock, format))
        self.close(session)
        with self._slots_guard:
            self._sessions[session] = self._by_key[key] = opened
        current.sender.put(_open_command(opened))

    def update(self, session: str, settings: StreamSettings, rev: int) -> None:
        known = self._sessions.get(session)
        if known is None:
            return
        known.settings, known.rev = settings, rev
        if self._current is not None and self._ready:  # else the restarted worker opens the session with them
            self._current.sender.put(UpdateSession(known.key, settings, rev))

    def submit(self, session: str, frame: Frame) -> None:
        known = self._sessions.get(session)
        if known is None or self._current is None or not self._ready:
            if known is not None:
                known.listener.on_dropped("not_ready", 1)
            return
        note = Note(seq=frame.seq, captured_us=frame.captured_us, received_s=frame.received_s)
        known.inbox.put(frame.pixels, note)
        self._current.doorbell.release()

    def close(self, session: str) -> None:
        with self._slots_guard:
            known = self._sessions.pop(session, None)
            if known is None:
                return
            del self._by_key[known.key]
            known.discard_slots()
        if self._current is not None and self._ready:
            self._current.sender.put(CloseSession(known.key))

    def _running(self) -> _Process:
        if self._current is None or not self._ready:
            raise WorkerError("worker_not_ready", "the worker is starting, try again in a moment", retryable=True)
        return self._current

    async def _spawn(self) -> None:
        """Start a process and wait for its first report."""
        ours, theirs = self._context.Pipe()
        doorbell, lock = self._context.Semaphore(0), self._context.Lock()
        process = self._context.Process(
            target=run_worker, args=(theirs, doorbell, lock, self._launch), name="streamgen-worker", daemon=True
        )
        # Importing the spawn machinery and forking takes a tenth of a second: not on the event loop.
        try:
            await asyncio.to_thread(process.start)
        except OSError as error:
            raise WorkerError("worker_start_failed", f"the worker process cannot be started: {error}") from None
        theirs.close()
        self._current = _Process(process, ours, doorbell, lock, CommandSender(ours, doorbell))
        first: asyncio.Future[Ready] = self._loop.create_future()
        listening = threading.Thread(
            target=self._listen, args=(self._current, first), name="streamgen-worker-reports", daemon=True
        )
        listening.start()
        ready = await first
        if self._current.ended.is_set():
            raise WorkerError("worker_died", "the worker process ended just after it was ready")
        self._info = WorkerInfo(ready.model, ready.styles, ready.backend, ready.device)
        self._ready = True

    # ------------------------------------------------------------------------------------ on the listening thread

    def _listen(self, process: _Process, first: asyncio.Future[Ready]) -> None:
        """Pass every report of one process on to the event loop, until it ends."""
        try:
            while True:
                report: Report = process.commands.recv()
                match report:
                    case Ready():
                        self._on_loop(_resolve, first, report)
                    case Failed(error):
                        self._on_loop(_refuse, first, error)
                    case Made(key):
                        self._fetch(key)
                    case _:
                        self._on_loop(self._report, report)
        except (EOFError, OSError, WorkerError):  # WorkerError: killed while it held the lock
            process.ended.set()
            process.sender.close()
            self._on_loop(self._lost, process, first)

    def _fetch(self, key: str) -> None:
        with self._slots_guard:
            known = self._by_key.get(key)
            taken = known.outbox.take() if known is not None else None
        if known is not None and taken is not None:
            self._on_loop(known.listener.on_output, _output(taken), gap=taken.replaced > 0)

    def _on_loop(self, call: Callable[..., None], *args: object, **named: object) -> None:
        try:
            self._loop.call_soon_threadsafe(lambda: call(*args, **named))
        except RuntimeError:
            _LOG.debug("a report came after the event loop had closed")

    # ------------------------------------------------------------------------------------------ on the event loop

    def _report(self, report: Report) -> None:
        known = self._by_key.get(getattr(report, "session", ""))
        if known is None:
            return
        match report:
            case Applied(_, rev, reading):
                if rev == known.rev:
                    known.applied = (rev, known.settings)
                known.listener.on_applied(rev, reading)
            case Dropped(_, reason, count):
                known.listener.on_dropped(reason, count)
            case FrameFailed(_, error):
                known.listener.on_dropped("failed", 1)
                known.listener.on_error(error)
            case Refused(_, rev, error):
                if rev == known.rev and known.applied is not None:
                    known.rev, known.settings = known.applied  # or a restarted worker would choke on the same again
                known.listener.on_refused(rev, error)

    def _lost(self, process: _Process, first: asyncio.Future[Ready]) -> None:
        """One process ended. Expected while stopping; otherwise start the next one."""
        _refuse(first, WorkerError("worker_died", "the worker process ended while it was starting"))
        if self._stopping or process is not self._current or not self._ready:
            return
        self._ready = False
        process.process.kill()  # it may hang instead of having died; the next one wants its memory
        process.process.join(0.1)  # collects the exit code
        _LOG.error("the worker process %s ended with exit code %s", process.process.pid, process.process.exitcode)
        for session in self._sessions.values():
            session.listener.on_warning("worker_restarting", "the compute process ended and is being started again")
        self._restarting = self._loop.create_task(self._restart())

    async def _restart(self) -> None:
        """Start processes until one is ready, then open the sessions again; give up when they keep dying."""
        while not self._ready:
            now_s = self._loop.time()
            if sum(now_s - began_s < _RESTART_WINDOW_S for began_s in self._restarts) >= _RESTARTS_ALLOWED:
                self._give_up()
                return
            self._restarts.append(now_s)
            try:
                await self._spawn()
            except StreamgenError as error:
                _LOG.error("the worker could not be restarted: %s", error)
        current = self._running()
        for session in self._sessions.values():
            with self._slots_guard:
                session.discard_slots()
                session.inbox, session.outbox = _slots(current.lock, session.format)
            current.sender.put(_open_command(session))
            session.listener.on_warning("worker_restarted", "the compute process was restarted; frames flow again")

    def _give_up(self) -> None:
        fact = f"the worker died more than {_RESTARTS_ALLOWED} times within {_RESTART_WINDOW_S:.0f} s"
        _LOG.critical("%s, giving up", fact)
        if self.on_given_up is not None:
            self.on_given_up(WorkerError("worker_keeps_dying", fact))


def _slots(lock: Lock, format: FrameFormat) -> tuple[SharedSlot, SharedSlot]:
    try:
        inbox = SharedSlot(lock, _MAX_FRAME_BYTES)
        try:
            return inbox, SharedSlot(lock, format.width * format.height * 3)
        except OSError:
            inbox.close()
            inbox.unlink()
            raise
    except OSError as error:
        raise WorkerError("no_shared_memory", f"shared memory cannot be had: {error}", retryable=True) from None


def _open_command(session: _Session) -> OpenSession:
    return OpenSession(
        session.key, session.format, session.settings, session.rev, session.inbox.name, session.outbox.name
    )


def _output(taken: Taken) -> Output:
    note = taken.note
    timing = Timing(queued_ms=note.queued_ms, engine_ms=note.engine_ms)
    return Output(taken.pixels, note.seq, note.captured_us, note.settings_rev, timing, note.warm_up)


def _resolve(first: asyncio.Future[Ready], ready: Ready) -> None:
    if not first.done():
        first.set_result(ready)


def _refuse(first: asyncio.Future[Ready], error: Exception) -> None:
    if not first.done():
        first.set_exception(error)


def _end(process: SpawnProcess) -> None:
    """Wait for a process that was asked to stop; end it when it does not."""
    process.join(_STOP_TIMEOUT_S)
    if process.is_alive():
        _LOG.warning("the worker did not stop within %.0f s and is killed", _STOP_TIMEOUT_S)
        process.kill()
        process.join()
