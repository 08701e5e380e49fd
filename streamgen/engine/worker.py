"""The process that owns one device: poll the inbox, step the engine.

Imported in the server too, for its message types: nothing here imports torch before ``run_worker`` has set the
environment that torch reads once.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Lock, Semaphore
from typing import TYPE_CHECKING

from streamgen.config import ModelSpec, worker_environment
from streamgen.engine.threads import compute_threads
from streamgen.errors import StreamgenError, WorkerError
from streamgen.frames import Frame, Output
from streamgen.mailbox import Note, SharedSlot
from streamgen.settings import FrameFormat, Reading, StreamSettings

if TYPE_CHECKING:
    from streamgen.engine.engine import Engine

__all__ = [
    "Applied",
    "CloseSession",
    "Command",
    "Dropped",
    "Failed",
    "FrameFailed",
    "Made",
    "OpenSession",
    "Ready",
    "Refused",
    "Stop",
    "UpdateSession",
    "WorkerLaunch",
    "run_worker",
]

_LOG = logging.getLogger(__name__)
_IDLE_S = 0.5
_COMMANDS_S = 0.005


@dataclass(frozen=True, slots=True)
class WorkerLaunch:
    """What a worker process is started with."""

    spec: ModelSpec
    backend: str
    threads: int
    max_frame_bytes: int


@dataclass(frozen=True, slots=True)
class OpenSession:
    """Command: serve a session whose pictures cross in the two named slots."""

    session: str
    format: FrameFormat
    settings: StreamSettings
    rev: int
    inbox: str
    outbox: str


@dataclass(frozen=True, slots=True)
class UpdateSession:
    """Command: settings for the next frame."""

    session: str
    settings: StreamSettings
    rev: int


@dataclass(frozen=True, slots=True)
class CloseSession:
    """Command: forget a session."""

    session: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Command: end the process."""


@dataclass(frozen=True, slots=True)
class Ready:
    """Report: the model is loaded and warm."""

    model: str
    styles: tuple[str, ...]
    backend: str
    device: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Report: the worker cannot start."""

    error: StreamgenError


@dataclass(frozen=True, slots=True)
class Applied:
    """Report: a settings revision is in force."""

    session: str
    rev: int
    reading: Reading | None


@dataclass(frozen=True, slots=True)
class Refused:
    """Report: a settings revision cannot be put in force; the last one applied stays."""

    session: str
    rev: int
    error: StreamgenError


@dataclass(frozen=True, slots=True)
class Made:
    """Report: a picture lies in the session's outbox."""

    session: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """Report: frames of a session that no picture is made of, and why: ``replaced`` by a newer one before they were
    taken, ``similar`` to the last one, or ``pipelined`` while the first pictures are under way."""

    session: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class FrameFailed:
    """Report: the engine failed on a session's frame, which is lost."""

    session: str
    error: StreamgenError


Command = OpenSession | UpdateSession | CloseSession | Stop


@dataclass(slots=True)
class _Mailboxes:
    """A session's two slots and when it was last served."""

    inbox: SharedSlot
    outbox: SharedSlot
    served_s: float = field(default=0.0)

    def close(self) -> None:
        self.inbox.close()
        self.outbox.close()


def run_worker(commands: Connection, doorbell: Semaphore, lock: Lock, launch: WorkerLaunch) -> None:
    """Entry point of the process. Ends on ``Stop``, or when the server at the other end is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the server decides when to stop
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    threads = compute_threads(launch.threads)
    os.environ.update(worker_environment(threads))
    from streamgen.engine import build_engine

    try:
        engine = build_engine(launch.spec, launch.backend, threads, wait_for_compilation=False)
    except StreamgenError as error:
        commands.send(Failed(error))
        return
    report = engine.report
    ready = Ready(launch.spec.family, engine.model.styles, f"{report.chosen} {report.dtype}", launch.spec.device)
    worker = _Worker(engine, commands, doorbell, lock, launch.max_frame_bytes)
    try:
        commands.send(ready)
        worker.run()
    except (EOFError, BrokenPipeError, ConnectionResetError):
        _LOG.warning("the server is gone, ending")
    finally:
        worker.close()


class _Worker:
    """The loop and what it holds."""

    def __init__(
        self, engine: Engine, commands: Connection, doorbell: Semaphore, lock: Lock, max_frame_bytes: int
    ) -> None:
        self._engine = engine
        self._commands = commands
        self._doorbell = doorbell
        self._lock = lock
        self._max_frame_bytes = max_frame_bytes
        self._mailboxes: dict[str, _Mailboxes] = {}
        self._running = True

    def run(self) -> None:
        """Until told to stop: commands first, then one engine step on the newest frames.

        Sessions that send many commands do not keep the others' frames waiting: those that do not fit into a few
        milliseconds are obeyed after the next step.
        """
        while self._running:
            began_s = time.monotonic()
            while self._commands.poll() and time.monotonic() - began_s < _COMMANDS_S:
                self._obey(self._commands.recv())
            batch = self._take_batch()
            if batch:
                self._step(batch)
            else:
                # Also wakes by itself, to notice a server that died without ringing.
                self._doorbell.acquire(timeout=_IDLE_S)
                while self._doorbell.acquire(block=False):  # rung once for every frame since the last idle moment
                    pass

    def close(self) -> None:
        """Give back slots and threads."""
        for mailboxes in self._mailboxes.values():
            mailboxes.close()
        self._engine.close_all()

    def _obey(self, command: Command) -> None:
        match command:
            case OpenSession():
                self._close(command.session)
                mailboxes = self._attach(command)
                if mailboxes is not None:
                    self._mailboxes[command.session] = mailboxes
                    if not self._apply(command):
                        self._close(command.session)
            case UpdateSession():
                self._apply(command)
            case CloseSession(session):
                self._close(session)
            case Stop():
                self._running = False

    def _apply(self, command: OpenSession | UpdateSession) -> bool:
        """Put settings in force and report how their prompt was read, or why they cannot be; True when they are."""
        engine, session, settings, rev = self._engine, command.session, command.settings, command.rev
        try:
            if isinstance(command, OpenSession):
                reading = engine.open(session, command.format, settings, rev)
            else:
                reading = engine.update(session, settings, rev, time.monotonic())
        except StreamgenError as error:
            self._commands.send(Refused(session, rev, error))
            return False
        except Exception as error:  # the worker loop: one session's settings must not end everybody's worker
            _LOG.exception("settings could not be put in force")
            failure = WorkerError("engine_failed", f"the engine failed on these settings: {error}")
            self._commands.send(Refused(session, rev, failure))
            return False
        self._commands.send(Applied(session, rev, reading))
        return True

    def _attach(self, command: OpenSession) -> _Mailboxes | None:
        """The session's slots; None when the server has removed them, because it has already opened the session anew
        or closed it, and says so in a command that is on its way."""
        format = command.format
        try:
            inbox = SharedSlot(self._lock, self._max_frame_bytes, command.inbox)
        except FileNotFoundError:
            return None
        try:
            outbox = SharedSlot(self._lock, format.width * format.height * 3, command.outbox)
        except FileNotFoundError:
            inbox.close()
            return None
        return _Mailboxes(inbox, outbox)

    def _close(self, session: str) -> None:
        mailboxes = self._mailboxes.pop(session, None)
        if mailboxes is not None:
            mailboxes.close()
        self._engine.close(session)

    def _take_batch(self) -> list[tuple[str, Frame]]:
        """The newest frames of the sessions that waited longest, as many as one network call takes."""
        batch: list[tuple[str, Frame]] = []
        for session, mailboxes in sorted(self._mailboxes.items(), key=lambda item: item[1].served_s):
            taken = mailboxes.inbox.take()
            if taken is None:
                continue
            mailboxes.served_s = time.monotonic()
            if taken.replaced:
                self._commands.send(Dropped(session, "replaced", taken.replaced))
            note = taken.note
            batch.append((session, Frame(taken.pixels, note.seq, note.captured_us, note.received_s)))
            if len(batch) == self._engine.max_batch:
                break
        return batch

    def _step(self, batch: list[tuple[str, Frame]]) -> None:
        began_s = time.monotonic()
        try:
            made = self._engine.step(batch, began_s)
        except Exception as error:  # the worker loop: whatever one step does, the other sessions go on
            if len(batch) > 1:  # one frame may be at fault: the others need not be lost with it
                for one in batch:
                    self._step([one])
                return
            _LOG.exception("an engine step failed")
            failure = WorkerError("engine_failed", f"the engine failed on a frame: {error}", retryable=True)
            self._commands.send(FrameFailed(batch[0][0], failure))
            return
        ended_s = time.monotonic()
        for session, output in made:
            if isinstance(output, Output):
                self._deliver(session, output, began_s, ended_s)
            else:
                self._commands.send(Dropped(session, output.reason, 1))

    def _deliver(self, session: str, output: Output, began_s: float, ended_s: float) -> None:
        note = Note(
            seq=output.seq,
            captured_us=output.captured_us,
            settings_rev=output.settings_rev,
            queued_ms=max(0.0, began_s - output.received_s) * 1000,
            engine_ms=(ended_s - began_s) * 1000,
            warm_up=output.warm_up,
        )
        self._mailboxes[session].outbox.put(output.pixels, note)
        self._commands.send(Made(session))
