"""A worker without a process: its outputs carry the mark of the session they were made for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from streamgen.engine.shares import Load
from streamgen.errors import StreamgenError, WorkerError
from streamgen.frames import Frame, Output, Pixels, Timing
from streamgen.server.worker_link import DeviceStatus, ModelListener, SessionListener, WorkerInfo
from streamgen.settings import FrameFormat, Reading, StreamSettings

__all__ = ["FakeWorker", "Opened"]


@dataclass
class Opened:
    """One session as the worker sees it."""

    format: FrameFormat
    settings: StreamSettings
    rev: int
    listener: SessionListener
    mark: int
    frames: list[Frame] = field(default_factory=list)
    running: bool = True
    recorded: bool = False
    wanted: dict[int, FrameFormat] = field(default_factory=dict)
    reference: Pixels | None = None
    references: dict[int, Pixels | None] = field(default_factory=dict)


class FakeWorker:
    """Answers every frame at once with a picture in the colour of its session, unless ``automatic`` is off."""

    def __init__(self, *, automatic: bool = True, failure: StreamgenError | None = None) -> None:
        self.automatic = automatic
        self.failure = failure
        self.ready = False
        self.may_start = asyncio.Event()
        self.may_start.set()
        self.opened: dict[str, Opened] = {}
        self.closed: list[str] = []
        self.changed = asyncio.Condition()
        self.marks = 0
        self.info = WorkerInfo(
            model="fake",
            styles=("pencil sketch",),
            backend="none",
            device="cpu",
            unused=("guidance",),
            loras={"soft": 0.5},
            models=("fake", "other"),
        )
        self.on_load: Callable[[Load], None] | None = None
        self.switches: list[tuple[str, tuple[str, ...] | None, ModelListener]] = []

    @property
    def devices(self) -> tuple[DeviceStatus, ...]:
        return (DeviceStatus("cpu", self.ready, 0.25, 1000, 2, frozenset(self.opened)),)

    async def start(self) -> None:
        await self.may_start.wait()
        if self.failure is not None:
            raise self.failure
        self.ready = True

    def expect_end(self) -> None:
        pass

    async def stop(self) -> None:
        self.ready = False

    def open(
        self,
        session: str,
        format: FrameFormat,
        settings: StreamSettings,
        rev: int,
        listener: SessionListener,
        reference: Pixels | None = None,
    ) -> None:
        if not self.ready:
            raise WorkerError("worker_not_ready", "the worker is starting", retryable=True)
        self.marks += 40
        self.opened[session] = Opened(format, settings, rev, listener, self.marks, reference=reference)
        self.apply(session, rev)

    def update(self, session: str, settings: StreamSettings, rev: int) -> None:
        self.opened[session].settings, self.opened[session].rev = settings, rev
        self.apply(session, rev)

    def reformat(self, session: str, format: FrameFormat, rev: int) -> None:
        self.opened[session].wanted[rev] = format
        if self.automatic:
            asyncio.get_running_loop().call_soon(self.take_format, session, rev)

    def refer(self, session: str, reference: Pixels | None, rev: int) -> None:
        self.opened[session].references[rev] = reference
        if self.automatic:
            asyncio.get_running_loop().call_soon(self.take_reference, session, rev)

    def set_running(self, session: str, running: bool) -> None:
        self.opened[session].running = running

    def record(self, session: str, on: bool) -> None:
        self.opened[session].recorded = on

    def switch(self, model: str, loras: tuple[str, ...] | None, listener: ModelListener) -> None:
        self.switches.append((model, loras, listener))

    def submit(self, session: str, frame: Frame) -> None:
        opened = self.opened[session]
        opened.frames.append(frame)
        if self.automatic:
            asyncio.get_running_loop().call_soon(self.compute, session, frame)
        asyncio.get_running_loop().create_task(self._notify())

    def close(self, session: str) -> None:
        if self.opened.pop(session, None) is not None:
            self.closed.append(session)
        asyncio.get_running_loop().create_task(self._notify())

    def apply(self, session: str, rev: int) -> None:
        if self.automatic:
            opened = self.opened[session]
            reading = Reading(1.0, {opened.settings.prompt or "default": 1.0})
            asyncio.get_running_loop().call_soon(opened.listener.on_applied, rev, reading)

    def take_format(self, session: str, rev: int) -> None:
        """The format asked for with ``rev`` is ready."""
        opened = self.opened[session]
        opened.format = opened.wanted.pop(rev)
        opened.listener.on_reformatted(rev, opened.format)

    def take_reference(self, session: str, rev: int) -> None:
        """The reference picture that came with ``rev`` is in force."""
        opened = self.opened[session]
        opened.reference = opened.references.pop(rev)
        opened.listener.on_referenced(rev)

    def compute(self, session: str, frame: Frame, *, gap: bool = False, warm_up: bool = False) -> None:
        """Make an output of ``frame``, if the session is still open."""
        opened = self.opened.get(session)
        if opened is None:
            return
        channels = 4 if opened.settings.alpha else 3
        pixels = np.full((opened.format.height, opened.format.width, channels), opened.mark, np.uint8)
        timing = Timing(queued_ms=1.5, engine_ms=2.5)
        output = Output(pixels, frame.seq, frame.captured_us, opened.rev, timing, warm_up, frame.received_s)
        opened.listener.on_output(output, gap=gap)

    async def frames(self, session: str, count: int) -> list[Frame]:
        """Wait until ``count`` frames of a session arrived."""
        async with self.changed:
            await self.changed.wait_for(lambda: session in self.opened and len(self.opened[session].frames) >= count)
        return self.opened[session].frames

    async def gone(self, session: str) -> None:
        """Wait until a session was closed."""
        async with self.changed:
            await self.changed.wait_for(lambda: session in self.closed)

    async def _notify(self) -> None:
        async with self.changed:
            self.changed.notify_all()
