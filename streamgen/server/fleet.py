"""Several devices behind one link: a worker process for each, sessions placed by load, their state staying put."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from streamgen.engine.messages import WorkerInfo
from streamgen.engine.shares import Load
from streamgen.errors import SessionError, StreamgenError, WorkerError
from streamgen.frames import Frame, Pixels
from streamgen.server.pool import Worker
from streamgen.server.worker_link import DeviceStatus, ModelListener, SessionListener
from streamgen.settings import FrameFormat, StreamSettings

__all__ = ["Fleet"]

_LOG = logging.getLogger(__name__)


class Fleet:
    """Implements ``WorkerLink`` with several workers. A device that is given up loses its sessions to the others; the
    last one ends the server.

    Args:
        workers: not started.
        on_given_up: called when no device is left.
    """

    def __init__(self, workers: Sequence[Worker], on_given_up: Callable[[StreamgenError], None] | None = None) -> None:
        self.on_given_up = on_given_up
        self.on_restyled: Callable[[tuple[str, ...]], None] | None = None
        self.on_load: Callable[[Load], None] | None = None
        self._workers = list(workers)
        self._all = tuple(workers)
        self._homes: dict[str, Worker] = {}
        for worker in workers:
            worker.on_load = self._on_load
            worker.on_given_up = _given_up_by(self, worker)
        workers[0].on_restyled = self._on_restyled  # all of them look into the same folder

    @property
    def ready(self) -> bool:
        return any(worker.ready for worker in self._workers)

    @property
    def info(self) -> WorkerInfo:
        infos = [worker.info for worker in self._workers]
        return replace(infos[0], device=", ".join(info.device for info in infos))

    @property
    def devices(self) -> tuple[DeviceStatus, ...]:
        homes = {worker: {name for name, home in self._homes.items() if home is worker} for worker in self._all}
        return tuple(
            replace(device, sessions=frozenset(homes[worker])) for worker in self._all for device in worker.devices
        )

    async def start(self) -> None:
        """Raises:
        StreamgenError: what kept one of the devices from being used; all of them were asked for.
        """
        results = await asyncio.gather(*(worker.start() for worker in self._all), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    def expect_end(self) -> None:
        for worker in self._all:
            worker.expect_end()

    async def stop(self) -> None:
        await asyncio.gather(*(worker.stop() for worker in self._all))

    def open(
        self,
        session: str,
        format: FrameFormat,
        settings: StreamSettings,
        rev: int,
        listener: SessionListener,
        reference: Pixels | None = None,
    ) -> None:
        home = self._homes.get(session)
        if home is not None:
            home.open(session, format, settings, rev, listener, reference)
            return
        refusal: StreamgenError = WorkerError("worker_not_ready", "no device is ready", retryable=True)
        for worker in self._by_load():
            try:
                worker.open(session, format, settings, rev, listener, reference)
            except (SessionError, WorkerError) as error:
                refusal = error
            else:
                self._homes[session] = worker
                return
        raise refusal

    def update(self, session: str, settings: StreamSettings, rev: int) -> None:
        if session in self._homes:
            self._homes[session].update(session, settings, rev)

    def reformat(self, session: str, format: FrameFormat, rev: int) -> None:
        if session in self._homes:
            self._homes[session].reformat(session, format, rev)

    def refer(self, session: str, reference: Pixels | None, rev: int) -> None:
        if session in self._homes:
            self._homes[session].refer(session, reference, rev)

    def set_running(self, session: str, running: bool) -> None:
        if session in self._homes:
            self._homes[session].set_running(session, running)

    def record(self, session: str, on: bool) -> None:
        if session in self._homes:
            self._homes[session].record(session, on)

    def submit(self, session: str, frame: Frame) -> None:
        if session in self._homes:
            self._homes[session].submit(session, frame)

    def close(self, session: str) -> None:
        home = self._homes.pop(session, None)
        if home is not None:
            home.close(session)

    def switch(self, model: str, loras: tuple[str, ...] | None, listener: ModelListener) -> None:
        ready = [worker for worker in self._workers if worker.ready]
        if len(ready) < len(self._workers):
            raise WorkerError("worker_not_ready", "a device is starting, try again in a moment", retryable=True)
        _Switching(ready, listener).begin(model, loras)

    def _by_load(self) -> list[Worker]:
        """Those that serve, the one with the most room first."""
        return sorted((worker for worker in self._workers if worker.ready), key=lambda worker: worker.promised)

    def _on_load(self, load: Load) -> None:
        if self.on_load is not None:
            self.on_load(load)

    def _on_restyled(self, styles: tuple[str, ...]) -> None:
        if self.on_restyled is not None:
            self.on_restyled(styles)

    def give_up(self, worker: Worker, error: StreamgenError) -> None:
        """A device is lost for good: the others take its sessions."""
        self._workers.remove(worker)
        if not self._workers:
            if self.on_given_up is not None:
                self.on_given_up(error)
            return
        _LOG.error("a device is given up, its sessions move: %s", error)
        for session, opened in worker.sessions.items():
            home = min(self._workers, key=lambda other: other.promised)
            try:
                home.open(
                    session,
                    opened.format,
                    opened.settings,
                    opened.rev,
                    opened.listener,
                    opened.reference,
                    admitted=True,
                )
            except StreamgenError as refusal:
                opened.listener.on_error(refusal)
            else:
                self._homes[session] = home
                if opened.recorded:
                    home.record(session, True)
                opened.listener.on_warning("worker_restarted", "another device took over; frames flow again")


def _given_up_by(fleet: Fleet, worker: Worker) -> Callable[[StreamgenError], None]:
    return lambda error: fleet.give_up(worker, error)


class _Switching:
    """One model for all devices, or the former one on all of them. Hears for each device what became of it."""

    def __init__(self, workers: Sequence[Worker], listener: ModelListener) -> None:
        self._workers = workers
        self._listener = listener
        self._switched: list[tuple[Worker, str, tuple[str, ...] | None]] = []
        self._answers = 0
        self._error: StreamgenError | None = None

    def begin(self, model: str, loras: tuple[str, ...] | None) -> None:
        for worker in self._workers:
            worker.switch(model, loras, _Hears(self, worker, *worker.serving))

    def switched(self, worker: Worker, info: WorkerInfo, former: tuple[str, tuple[str, ...] | None]) -> None:
        self._switched.append((worker, *former))
        self._answered(info)

    def failed(self, error: StreamgenError) -> None:
        self._error = error
        self._answered(None)

    def _answered(self, info: WorkerInfo | None) -> None:
        self._answers += 1
        if self._answers < len(self._workers):
            return
        if self._error is None and info is not None:
            self._listener.on_switched(info)
        elif self._error is not None:
            for worker, model, loras in self._switched:
                worker.switch(model, loras, _Silent())
            self._listener.on_switch_failed(self._error)


class _Hears:
    """How ``_Switching`` hears of one device."""

    def __init__(self, switching: _Switching, worker: Worker, model: str, loras: tuple[str, ...] | None) -> None:
        self._switching = switching
        self._worker = worker
        self._former = (model, loras)

    def on_switched(self, info: WorkerInfo) -> None:
        self._switching.switched(self._worker, info, self._former)

    def on_switch_failed(self, error: StreamgenError) -> None:
        self._switching.failed(error)


class _Silent:
    """Nobody waits for the way back."""

    def on_switched(self, info: WorkerInfo) -> None:
        _LOG.info("%s serves %s again", info.device, info.model)

    def on_switch_failed(self, error: StreamgenError) -> None:
        _LOG.error("a device keeps a model that the others could not load: %s", error)
