"""The process that owns one device: poll the inbox, step the engine.

Imported in the server too: nothing here imports torch before ``run_worker`` has set the environment that torch reads
once.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Lock, Semaphore
from typing import TYPE_CHECKING

from streamgen import devices
from streamgen.config import worker_environment
from streamgen.effects.guards import Guard, load_guard
from streamgen.engine.journal import Journal
from streamgen.engine.messages import (
    Applied,
    CloseSession,
    Command,
    Dropped,
    Failed,
    FrameFailed,
    Freed,
    Made,
    OpenSession,
    Ready,
    RecordSession,
    Referenced,
    ReferenceFailed,
    ReferSession,
    ReformatFailed,
    ReformatSession,
    Reformatted,
    Refused,
    Restyled,
    RunSession,
    Stop,
    Switched,
    SwitchFailed,
    SwitchModel,
    UpdateSession,
    WorkerLaunch,
)
from streamgen.engine.pulse import Heart, Pulse
from streamgen.engine.served import Served, attach
from streamgen.engine.shares import FairShares
from streamgen.engine.swap import Loaded, ModelSwap, describe, start_of
from streamgen.engine.threads import compute_threads
from streamgen.errors import StreamgenError, WorkerError
from streamgen.frames import Frame, Output
from streamgen.logs import about, configure_logs

if TYPE_CHECKING:
    from streamgen.engine.engine import Engine

__all__ = ["run_worker"]

_LOG = logging.getLogger(__name__)
_IDLE_S = 0.5
_STYLES_S = 1.0
_STYLES_AGAIN_S = 60.0
_COMMANDS_S = 0.005
_WARM_FRAMES = 3


def run_worker(commands: Connection, doorbell: Semaphore, lock: Lock, pulse: Pulse, launch: WorkerLaunch) -> None:
    """Entry point of the process. Ends on ``Stop``, or when the server at the other end is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the server decides when to stop
    configure_logs(launch.log_format, f"worker {launch.models[launch.model].device}")
    threads = compute_threads(launch.threads)
    os.environ.update(worker_environment(threads))
    from streamgen.engine import build_engine

    build = partial(build_engine, backend=launch.backend, threads=threads, wait_for_compilation=False)
    try:
        guard = load_guard(launch.guard)
        spec, backend = start_of(launch)
        engine = build(spec, backend=backend, proven=launch.choice is not None)
    except StreamgenError as error:
        commands.send(Failed(error))
        return
    swap = ModelSwap(launch, build, doorbell.release)
    ready = Ready(describe(engine, launch.model, launch))
    heart = Heart(pulse, launch.hang_timeout_s)
    worker = _Worker(engine, swap, commands, doorbell, lock, heart, launch.max_frame_bytes, guard=guard)
    del engine  # the worker alone holds it, and lets it go for another
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
        self,
        engine: Engine,
        swap: ModelSwap,
        commands: Connection,
        doorbell: Semaphore,
        lock: Lock,
        heart: Heart,
        max_frame_bytes: int,
        clock: Callable[[], float] = time.monotonic,
        guard: Guard | None = None,
    ) -> None:
        self._engine = engine
        self._swap = swap
        self._commands = commands
        self._doorbell = doorbell
        self._lock = lock
        self._heart = heart
        self._max_frame_bytes = max_frame_bytes
        self._clock = clock
        self._guard = guard or Guard()
        self._served: dict[str, Served] = {}
        self._shares = FairShares(clock())
        self._journal = Journal(commands.send)
        self._looked_s = clock()
        self._running = True

    def run(self) -> None:
        """Until told to stop: commands first, then whatever was prepared in the background, then one engine step on
        the newest frames.

        Sessions that send many commands do not keep the others' frames waiting: those that do not fit into a few
        milliseconds are obeyed after the next step.
        """
        while self._running:
            began_s = self._clock()
            self._heart.beat(began_s, warm=self._shares.frames >= _WARM_FRAMES)
            while self._commands.poll() and self._clock() - began_s < _COMMANDS_S:
                self._obey(self._commands.recv())
            self._settle()
            load = self._shares.load(began_s)
            if load is not None:
                memory_bytes = devices.allocated_bytes(self._engine.model.spec.device)
                self._commands.send(replace(load, memory_bytes=memory_bytes))
            batch = self._take_batch()
            if batch:
                self._step(batch)
            else:
                self._rest()

    def close(self) -> None:
        """Give back slots and threads."""
        for served in self._served.values():
            served.close()
        self._engine.close_all()

    def _rest(self) -> None:
        """Wait for the doorbell, or for the next frame of a prompt stream."""
        now_s = self._clock()
        due_s = min((served.ticker.wait_s(now_s) for served in self._served.values()), default=_IDLE_S)
        # Also wakes by itself, to notice a server that died without ringing.
        self._doorbell.acquire(timeout=min(due_s, _IDLE_S))
        while self._doorbell.acquire(block=False):  # rung once for every frame since the last idle moment
            pass

    # ------------------------------------------------------------------------------------------------------- commands

    def _obey(self, command: Command) -> None:
        match command:
            case OpenSession():
                self._open(command)
            case UpdateSession():
                self._apply(command)
            case ReformatSession():
                self._reformat(command)
            case ReferSession():
                self._refer(command)
            case RunSession(session, running):
                if session in self._served:
                    self._served[session].run(running, self._clock())
            case RecordSession(session, on) if session in self._served:
                self._journal.record(session, on, self._engine, self._served[session].reference)
            case CloseSession(session):
                self._close(session)
            case SwitchModel():
                self._switch(command)
            case Stop():
                self._running = False

    def _open(self, command: OpenSession) -> None:
        self._close(command.session)
        served = attach(command, self._lock, self._max_frame_bytes)
        if served is not None:
            self._served[command.session] = served
            if not self._apply(command):
                self._close(command.session)

    def _apply(self, command: OpenSession | UpdateSession) -> bool:
        """Put settings in force and report how their prompt was read, or why they cannot be; True when they are."""
        engine, session, settings, rev = self._engine, command.session, command.settings, command.rev
        now_s = self._clock()
        try:
            self._guard.check_prompts(settings)
            if isinstance(command, OpenSession):
                # The server has checked them, but perhaps for the model before this one, and then it fits them too.
                reading = engine.open(session, command.format, engine.fit(settings), rev, now_s)
                if command.reference is not None and engine.model.takes_reference:
                    engine.refer(session, command.reference)
            else:
                reading = engine.update(session, settings, rev, now_s)
                self._journal.settings(session, settings, rev, now_s)
        except StreamgenError as error:
            self._commands.send(Refused(session, rev, error))
            return False
        except Exception as error:  # the worker loop: one session's settings must not end everybody's worker
            devices.end_if_lost(error)
            _LOG.exception("settings could not be put in force", extra=about(session))
            failure = WorkerError("engine_failed", f"the engine failed on these settings: {error}")
            self._commands.send(Refused(session, rev, failure))
            return False
        self._served[session].apply(settings, now_s)
        self._commands.send(Applied(session, rev, reading))
        return True

    def _close(self, session: str) -> None:
        served = self._served.pop(session, None)
        if served is not None:
            served.close()
        self._shares.forget(session)
        self._journal.closed(session)
        self._engine.close(session)

    def _reformat(self, command: ReformatSession) -> None:
        served = self._served.get(command.session)
        if served is None:
            return
        served.next_format_rev = command.rev
        try:
            self._engine.reformat(command.session, command.format, self._doorbell.release)
        except StreamgenError as error:  # what enlarges cannot be read
            self._commands.send(ReformatFailed(command.session, command.rev, error))

    def _refer(self, command: ReferSession) -> None:
        """Put a reference picture in force, or take it away, and report so, or why it cannot be."""
        session, reference, rev = command.session, command.reference, command.rev
        served = self._served.get(session)
        if served is None:
            return
        try:
            # Whatever the model, one that it was given before another took over can be taken away.
            if reference is not None or self._engine.model.takes_reference:
                self._engine.refer(session, reference)
        except StreamgenError as error:
            self._commands.send(ReferenceFailed(session, rev, error))
            return
        except Exception as error:  # the worker loop: one session's picture must not end everybody's worker
            devices.end_if_lost(error)
            _LOG.exception("a reference picture could not be put in force", extra=about(session))
            failure = WorkerError("engine_failed", f"the engine failed on this reference picture: {error}")
            self._commands.send(ReferenceFailed(session, rev, failure))
            return
        served.reference = reference
        self._journal.referred(session, reference)
        self._commands.send(Referenced(session, rev))

    def _switch(self, command: SwitchModel) -> None:
        try:
            self._swap.begin(command.model, command.loras, self._engine.formats)
        except StreamgenError as error:
            self._commands.send(SwitchFailed(error))

    # -------------------------------------------------------------------------------------------- between two frames

    def _settle(self) -> None:
        """Take over formats and models that were prepared in the background, and styles that came meanwhile."""
        for session in self._engine.ready_formats:
            self._take_format(session)
        try:
            loaded = self._swap.loaded()
        except StreamgenError as error:
            self._commands.send(SwitchFailed(error))
        else:
            if loaded is not None:
                self._take_model(loaded)
        for freed_bytes in self._swap.freed():
            self._commands.send(Freed(freed_bytes))
        if self._clock() - self._looked_s >= _STYLES_S:
            self._restyle()

    def _restyle(self) -> None:
        """Take up styles that were added, changed or removed since the last look."""
        before, now_s = self._engine.model.styles, self._clock()
        self._looked_s = now_s
        try:
            sessions = self._engine.refresh(now_s)
        except Exception as error:  # the worker loop: what lies in a folder must not end everybody's worker
            devices.end_if_lost(error)
            _LOG.exception("the folder of styles could not be read; the next look is in %.0f s", _STYLES_AGAIN_S)
            self._looked_s = now_s + _STYLES_AGAIN_S - _STYLES_S
            return
        if self._engine.model.styles != before:
            self._commands.send(Restyled(self._engine.model.styles))
        if sessions:
            self._journal.restyled(self._engine, now_s)
        for session, rev, reading in sessions:
            self._commands.send(Applied(session, rev, reading))

    def _take_format(self, session: str) -> None:
        served = self._served[session]
        rev = served.next_format_rev
        try:
            self._engine.take_format(session)
        except Exception as error:  # the worker loop: too large a format must not end everybody's worker
            _LOG.exception("a format could not be taken over", extra=about(session))
            failure = WorkerError("engine_failed", f"the engine failed on this format: {error}")
            self._commands.send(ReformatFailed(session, rev, failure))
            return
        served.format_rev = rev
        self._journal.resized(session, self._engine)
        self._commands.send(Reformatted(session, rev))

    def _take_model(self, loaded: Loaded) -> None:
        """Serve every session with the engine that was loaded, or none of them."""
        try:
            sessions = loaded.engine.take_over(self._engine, self._doorbell.release)
            self._refer_again(loaded.engine)
        except Exception as error:  # the worker loop: the model that serves must go on
            _LOG.exception("a model could not take over")
            failure = WorkerError("switch_failed", f"the model {loaded.info.model} could not take over: {error}")
            self._commands.send(SwitchFailed(failure))
            self._swap.retire([loaded.engine])
            return
        former, self._engine = [self._engine], loaded.engine
        self._commands.send(Switched(loaded.info))
        self._journal.switched(self._engine)
        for session, rev, reading in sessions:
            self._commands.send(Applied(session, rev, reading))
        self._swap.retire(former)

    def _refer_again(self, engine: Engine) -> None:
        """Give ``engine`` the reference pictures that waited while a model served that takes none."""
        if engine.model.takes_reference and not self._engine.model.takes_reference:
            for session, served in self._served.items():
                engine.refer(session, served.reference)

    # --------------------------------------------------------------------------------------------------------- frames

    def _take_batch(self) -> list[tuple[str, Frame]]:
        """The newest frames of the sessions whose turn it is, as many as one network call takes."""
        batch: list[tuple[str, Frame]] = []
        for session in self._shares.order(self._served):
            taking = self._served[session].take(self._clock(), partial(self._dream, session))
            if taking.dropped:
                self._commands.send(Dropped(session, taking.reason, taking.dropped))
            if taking.frame is not None:
                batch.append((session, taking.frame))
            if len(batch) == self._engine.max_batch:
                break
        return batch

    def _dream(self, session: str, seq: int) -> Frame:
        frame = self._engine.dream(session, seq, self._clock())
        return replace(frame, captured_us=time.time_ns() // 1000)

    def _step(self, batch: list[tuple[str, Frame]]) -> None:
        began_s = self._clock()
        try:
            made = self._engine.step(batch, began_s)
        except Exception as error:  # the worker loop: whatever one step does, the other sessions go on
            devices.end_if_lost(error)
            self._charge(batch, began_s)
            if len(batch) > 1:  # one frame may be at fault: the others need not be lost with it
                for one in batch:
                    self._step([one])
                return
            _LOG.exception("an engine step failed", extra=about(batch[0][0]))
            failure = WorkerError("engine_failed", f"the engine failed on a frame: {error}", retryable=True)
            self._commands.send(FrameFailed(batch[0][0], failure))
            self._journal.failed(*batch[0], began_s)
            return
        ended_s = self._charge(batch, began_s)
        self._journal.computed(batch, made, began_s)
        for session, output in made:
            if isinstance(output, Output):
                shown = replace(output, pixels=self._guard.show(output.pixels))
                self._served[session].put(shown, began_s, ended_s)
                self._commands.send(Made(session))
            else:
                self._commands.send(Dropped(session, output.reason, 1))

    def _charge(self, batch: list[tuple[str, Frame]], began_s: float) -> float:
        """Count a step that ends now, and return the clock."""
        self._shares.charge([session for session, _ in batch], (now_s := self._clock()) - began_s)
        return now_s
