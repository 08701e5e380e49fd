"""The worker process seen from the event loop: starts it, feeds it, listens to it, restarts it when it dies."""

from __future__ import annotations

import asyncio
import itertools
import logging
import multiprocessing
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from streamgen.config import ServerConfig
from streamgen.engine.messages import (
    CloseSession,
    Failed,
    Freed,
    Made,
    ModelReport,
    Ready,
    RecordSession,
    ReformatSession,
    Report,
    Restyled,
    RunSession,
    SessionCommand,
    SessionReport,
    Switched,
    SwitchFailed,
    SwitchModel,
    UpdateSession,
)
from streamgen.engine.shares import Load, Spent
from streamgen.errors import StreamgenError, WorkerError
from streamgen.frames import Frame, Pixels
from streamgen.mailbox import Note
from streamgen.server.capacity import Capacity, Work
from streamgen.server.incarnation import Incarnation, first_launch
from streamgen.server.opened import Opened, make_slots
from streamgen.server.restarts import Restarts
from streamgen.server.worker_link import DeviceStatus, ModelListener, SessionListener, WorkerInfo
from streamgen.settings import FrameFormat, StreamSettings

__all__ = ["Worker"]

_LOG = logging.getLogger(__name__)
_WATCH_S = 1.0
_MEASURED_AT = Work(256 * 256, steps=1)


@dataclass(frozen=True, slots=True)
class _Switch:
    """A model that the process was asked for."""

    command: SwitchModel
    listener: ModelListener


class Worker:
    """Implements ``WorkerLink`` with one spawned process.

    A process that dies is replaced, unless it keeps dying young, with the model that was in force; its sessions are
    opened again with the settings they had, and each hears ``worker_restarting`` and ``worker_restarted``. One that
    hangs is ended first.

    Args:
        config: what to load, and on what.
        on_given_up: called when the process keeps dying.
    """

    def __init__(self, config: ServerConfig, on_given_up: Callable[[StreamgenError], None] | None = None) -> None:
        self.on_given_up = on_given_up
        self.on_restyled: Callable[[tuple[str, ...]], None] | None = None
        self.on_load: Callable[[Load], None] | None = None
        self._launch = first_launch(config)
        self._context = multiprocessing.get_context("spawn")
        self._sessions: dict[str, Opened] = {}
        self._by_key: dict[str, Opened] = {}
        self._openings = itertools.count()
        self._slots_guard = threading.Lock()  # the listening thread reads slots that the event loop may discard
        self._current: Incarnation | None = None
        self._info: WorkerInfo | None = None
        self._switch: _Switch | None = None
        self._ready = False
        self._stopping = False
        self._asked_device = config.device
        self._memory_bytes = 0
        self._capacity = Capacity(config.min_fps)
        self._restarts = Restarts()
        self._ready_s = 0.0
        self._restarting: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        return self._ready

    @property
    def info(self) -> WorkerInfo:
        if self._info is None:
            raise WorkerError("worker_not_ready", "the worker has not started yet", retryable=True)
        return self._info

    @property
    def devices(self) -> tuple[DeviceStatus, ...]:
        name = self._asked_device if self._info is None else self._info.device
        busy, memory_bytes = (self._capacity.busy, self._memory_bytes) if self._ready else (0.0, 0)
        return (DeviceStatus(name, self._ready, busy, memory_bytes, self._restarts.deaths, frozenset(self._sessions)),)

    @property
    def sessions(self) -> Mapping[str, Opened]:
        """What is served, by name."""
        return self._sessions

    @property
    def serving(self) -> tuple[str, tuple[str, ...] | None]:
        """The model in force and those of its LoRAs that are loaded, as ``switch`` takes them."""
        return self._launch.model, self._launch.loras

    @property
    def promised(self) -> float:
        """The share of the device that the sessions were promised; without measurements it counts them."""
        return sum(self._capacity.demand(*work) or 1e-3 for work in self._works())

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._spawn()
        self._watching = self._loop.create_task(self._watch())

    def expect_end(self) -> None:
        self._stopping = True

    async def stop(self) -> None:
        self.expect_end()
        self._ready = False
        for task in (self._restarting, self._watching):
            if task is not None:
                task.cancel()
        if self._current is not None:
            await self._current.end()
        with self._slots_guard:
            for session in self._sessions.values():
                session.discard_slots()
            self._sessions.clear()
            self._by_key.clear()

    def open(
        self,
        session: str,
        format: FrameFormat,
        settings: StreamSettings,
        rev: int,
        listener: SessionListener,
        reference: Pixels | None = None,
        *,
        admitted: bool = False,
    ) -> None:
        """As ``WorkerLink.open``; ``admitted``: served elsewhere until now, and let in whatever the load."""
        current = self._running()
        if session not in self._sessions and not admitted:
            self._capacity.check(Work.of(format, settings), settings.max_fps, self._works())
        key = f"{session}#{next(self._openings)}"
        opened = Opened(key, format, settings, rev, listener, *make_slots(current.lock), reference=reference)
        self.close(session)
        with self._slots_guard:
            self._sessions[session] = self._by_key[key] = opened
        for command in opened.open_commands():
            current.sender.put(command)

    # To a process that is being restarted nothing is said: the sessions are opened in it as they are by then.

    def update(self, session: str, settings: StreamSettings, rev: int) -> None:
        known = self._sessions.get(session)
        if known is not None:
            known.settings, known.rev = settings, rev
            self._tell(UpdateSession(known.key, settings, rev))

    def reformat(self, session: str, format: FrameFormat, rev: int) -> None:
        known = self._sessions.get(session)
        if known is not None:
            known.ask_format(rev, format)
            self._tell(ReformatSession(known.key, format, rev))

    def refer(self, session: str, reference: Pixels | None, rev: int) -> None:
        known = self._sessions.get(session)
        if known is not None:
            self._tell(known.ask_reference(rev, reference))

    def set_running(self, session: str, running: bool) -> None:
        known = self._sessions.get(session)
        if known is not None:
            known.running = running
            self._tell(RunSession(known.key, running))

    def record(self, session: str, on: bool) -> None:
        known = self._sessions.get(session)
        if known is not None:
            known.recorded = on
            self._tell(RecordSession(known.key, on))

    def submit(self, session: str, frame: Frame) -> None:
        known = self._sessions.get(session)
        if known is None or self._current is None or not self._ready:
            if known is not None:
                known.listener.on_dropped("not_ready", 1)
            return
        known.inbox.put(frame.pixels, Note(frame.seq, frame.captured_us, frame.received_s))
        self._current.doorbell.release()

    def close(self, session: str) -> None:
        with self._slots_guard:
            known = self._sessions.pop(session, None)
            if known is None:
                return
            del self._by_key[known.key]
            known.discard_slots()
        self._tell(CloseSession(known.key))

    def switch(self, model: str, loras: tuple[str, ...] | None, listener: ModelListener) -> None:
        current = self._running()
        self._switch = _Switch(SwitchModel(model, loras), listener)
        current.sender.put(self._switch.command)

    def _tell(self, command: SessionCommand) -> None:
        if self._current is not None and self._ready:
            self._current.sender.put(command)

    def _running(self) -> Incarnation:
        if self._current is None or not self._ready:
            raise WorkerError("worker_not_ready", "the worker is starting, try again in a moment", retryable=True)
        return self._current

    async def _spawn(self) -> None:
        """Start a process and wait for its first report."""
        self._current = await Incarnation.begin(self._context, self._launch)
        first: asyncio.Future[Ready] = self._loop.create_future()
        listening = threading.Thread(
            target=self._listen, args=(self._current, first), name="streamgen-worker-reports", daemon=True
        )
        listening.start()
        ready = await first
        if self._current.ended.is_set():
            raise WorkerError("worker_died", "the worker process ended just after it was ready")
        self._serve(ready.info, anew=self._info is None)
        self._ready, self._ready_s = True, self._loop.time()

    def _works(self) -> list[tuple[Work, int]]:
        return [(session.work, session.settings.max_fps) for session in self._sessions.values()]

    def _serve(self, info: WorkerInfo, *, anew: bool) -> None:
        self._info = info
        # The next process need not measure again what this one has chosen: its sessions wait for it.
        self._launch = replace(self._launch, choice=info.choice)
        if anew:
            self._capacity.begin(_MEASURED_AT if info.frame_ms else None, (info.frame_ms or 0.0) / 1000)

    # ------------------------------------------------------------------------------------ on the listening thread

    def _listen(self, process: Incarnation, first: asyncio.Future[Ready]) -> None:
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
                    case Load():
                        self._on_loop(self._load_report, report)
                    case Switched() | SwitchFailed() | Freed() | Restyled():
                        self._on_loop(self._model_report, report)
                    case _:
                        self._on_loop(self._session_report, report)
        except (EOFError, OSError, WorkerError):  # WorkerError: killed while it held the lock
            process.ended.set()
            process.sender.close()
            self._on_loop(self._lost, process, first)

    def _fetch(self, key: str) -> None:
        with self._slots_guard:
            known = self._by_key.get(key)
            taken = known.outbox.take() if known is not None else None
        if known is not None and taken is not None:
            self._on_loop(known.deliver, taken)

    def _on_loop(self, call: Callable[..., None], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:
            _LOG.debug("a report came after the event loop had closed")

    # ------------------------------------------------------------------------------------------ on the event loop

    def _session_report(self, report: SessionReport) -> None:
        known = self._by_key.get(report.session)
        if known is not None:
            known.hear(report)

    def _model_report(self, report: ModelReport) -> None:
        match report:
            case Switched(info):
                switch, self._switch = self._switch, None
                self._serve(info, anew=True)
                if switch is not None:
                    command = switch.command
                    self._launch = replace(self._launch, model=command.model, loras=command.loras)
                    switch.listener.on_switched(info)
            case SwitchFailed(error):
                self._switch_failed(error)
            case Restyled(styles):
                self._info = replace(self.info, styles=styles)
                if self.on_restyled is not None:
                    self.on_restyled(styles)
            case Freed(freed_bytes):
                _LOG.info("the model that served before gave back %d bytes", freed_bytes)

    def _load_report(self, load: Load) -> None:
        spent = {name: load.spent.get(known.key, Spent()) for name, known in self._sessions.items()}
        named = replace(load, spent=spent)
        self._memory_bytes = load.memory_bytes
        self._capacity.note(named, {name: known.work for name, known in self._sessions.items()})
        if self.on_load is not None:
            self.on_load(named)

    def _switch_failed(self, error: StreamgenError) -> None:
        switch, self._switch = self._switch, None
        if switch is not None:
            _LOG.warning("the model %s could not be had: %s", switch.command.model, error)
            switch.listener.on_switch_failed(error)

    def _lost(self, process: Incarnation, first: asyncio.Future[Ready]) -> None:
        """One process ended. Expected while stopping; otherwise start the next one."""
        _refuse(first, WorkerError("worker_died", "the worker process ended while it was starting"))
        if self._stopping or process is not self._current or not self._ready:
            return
        self._ready = False
        process.kill()
        now_s = self._loop.time()
        self._restarts.died(now_s, now_s - self._ready_s)
        fact = "the compute process ended and is being started again"
        for session in self._sessions.values():
            session.listener.on_warning("worker_restarting", fact)
        self._switch_failed(WorkerError("worker_died", fact, retryable=True))
        self._restarting = self._loop.create_task(self._restart())

    async def _watch(self) -> None:
        """End a process whose loop stands still: nothing else would ever come of it. Silent at two looks in a row, so
        that a machine that was asleep as a whole is not taken for one."""
        suspect: Incarnation | None = None
        while True:
            await asyncio.sleep(_WATCH_S)
            current = self._current if self._ready else None
            silence_s = 0.0 if current is None else current.pulse.silence_s(time.monotonic())
            if current is not None and silence_s > 0 and current is suspect:
                _LOG.error("the worker process hangs, %.0f s longer than it may, and is ended", silence_s)
                current.process.kill()
            suspect = current if silence_s > 0 else None

    async def _restart(self) -> None:
        """Start processes until one is ready, then open the sessions again; give up when they keep dying."""
        styles = self.info.styles
        while not self._ready:
            if self._restarts.hopeless(self._loop.time()):
                self._give_up()
                return
            try:
                await self._spawn()
            except StreamgenError as error:
                _LOG.error("the worker could not be restarted: %s", error)
                self._restarts.died(self._loop.time(), 0.0)
        if self.info.styles != styles and self.on_restyled is not None:
            self.on_restyled(self.info.styles)
        current = self._running()
        for session in self._sessions.values():
            with self._slots_guard:
                session.renew_slots(current.lock)
            for command in session.open_commands():
                current.sender.put(command)
            session.listener.on_warning("worker_restarted", "the compute process was restarted; frames flow again")
            session.announce_newest_format()

    def _give_up(self) -> None:
        fact = self._restarts.verdict()
        _LOG.critical("%s, giving up", fact)
        if self.on_given_up is not None:
            self.on_given_up(WorkerError("worker_keeps_dying", fact))


def _resolve(first: asyncio.Future[Ready], ready: Ready) -> None:
    if not first.done():
        first.set_result(ready)


def _refuse(first: asyncio.Future[Ready], error: Exception) -> None:
    if not first.done():
        first.set_exception(error)
