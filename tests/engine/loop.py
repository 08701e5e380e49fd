"""The worker's loop in this process, turned by hand, with an engine that does what a test tells it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

import numpy as np

from streamgen.config import ModelSpec
from streamgen.effects.guards import Guard
from streamgen.engine.engine import Skipped
from streamgen.engine.messages import Applied, OpenSession
from streamgen.engine.pulse import Heart, Pulse
from streamgen.engine.worker import _Worker
from streamgen.errors import SessionError
from streamgen.frames import Frame, Output
from streamgen.mailbox import Note, SharedSlot
from streamgen.server.opened import make_slots
from streamgen.settings import FrameFormat, Reading, StreamSettings

CONTEXT = multiprocessing.get_context("spawn")
SMALL = FrameFormat(width=128, height=128)


class Script:
    """An engine that fails on a batch that holds a black frame, and on prompts that say so."""

    def __init__(self, max_batch: int = 4) -> None:
        self.max_batch = max_batch
        self.open_sessions: dict[str, FrameFormat] = {}
        self.wanted: dict[str, FrameFormat] = {}
        self.ready_formats: tuple[str, ...] = ()
        self.formats: set[FrameFormat] = set()
        self.model = SimpleNamespace(styles=("ink",), spec=ModelSpec())

    def refresh(self, now_s: float) -> list[tuple[str, int, Reading | None]]:
        return []

    def open(self, session: str, format: FrameFormat, settings: StreamSettings, rev: int, since_s: float) -> None:
        self.open_sessions[session] = format

    def fit(self, settings: StreamSettings) -> StreamSettings:
        return settings

    def update(self, session: str, settings: StreamSettings, rev: int, now_s: float) -> None:
        if settings.prompt == "defect":
            raise ValueError("a defect")
        if session not in self.open_sessions:
            raise SessionError("no_such_session", "there is none")

    def close(self, session: str) -> None:
        self.open_sessions.pop(session, None)

    def close_all(self) -> None:
        self.open_sessions.clear()

    def reformat(self, session: str, format: FrameFormat, on_progress: Any) -> None:
        self.wanted[session] = format

    def take_format(self, session: str) -> None:
        self.ready_formats = ()
        if self.wanted[session] == FrameFormat(width=1024, height=1024):
            raise MemoryError("too large")
        self.open_sessions[session] = self.wanted.pop(session)

    def dream(self, session: str, seq: int, now_s: float) -> Frame:
        format = self.open_sessions[session]
        return Frame(np.full((format.height, format.width, 3), 5, np.uint8), seq, received_s=now_s)

    def step(self, batch: Sequence[tuple[str, Frame]], now_s: float) -> list[tuple[str, Output | Skipped]]:
        if any(not frame.pixels.any() for _, frame in batch):
            raise ValueError("black")
        return [(session, Output(frame.pixels, frame.seq, frame.captured_us)) for session, frame in batch]


class NoSwap:
    """Nothing was asked for."""

    def loaded(self) -> None:
        return None

    def freed(self) -> list[int]:
        return []


@dataclass
class Bench:
    """A worker, its clock, and the server's ends of its pipe and slots."""

    worker: _Worker
    reports: Connection
    clock: list[float]
    slots: dict[str, tuple[SharedSlot, SharedSlot]] = field(default_factory=dict)

    def open(self, session: str, settings: StreamSettings | None = None, reading: Reading | None = None) -> None:
        self.slots[session] = make_slots(self.worker._lock)
        inbox, outbox = self.slots[session]
        self.obey(OpenSession(session, SMALL, settings or StreamSettings(), 3, inbox.name, outbox.name))
        assert self.heard() == [Applied(session, 3, reading)]

    def obey(self, command: Any) -> None:
        self.worker._obey(command)

    def send(self, session: str, level: int, seq: int = 0) -> None:
        self.slots[session][0].put(np.full((2, 2, 3), level, np.uint8), Note(seq=seq))

    def turn(self, now_s: float | None = None) -> list[str]:
        """One turn of the loop without its commands and its rest; the sessions that were served."""
        if now_s is not None:
            self.clock[0] = now_s
        self.worker._settle()
        batch = self.worker._take_batch()
        if batch:
            self.worker._step(batch)
        return [session for session, _ in batch]

    def heard(self) -> list[Any]:
        reports = []
        while self.reports.poll():
            reports.append(self.reports.recv())
        return reports

    def picture(self, session: str) -> Note:
        taken = self.slots[session][1].take()
        assert taken is not None
        return taken.note

    def close(self) -> None:
        self.worker.close()
        for slots in self.slots.values():
            for slot in slots:
                slot.close()
                slot.unlink()


def bench_of(engine: Any, swap: Any = None, guard: Guard | None = None) -> Bench:
    ours, theirs = CONTEXT.Pipe()
    clock = [100.0]
    doorbell, lock = CONTEXT.Semaphore(0), CONTEXT.Lock()
    heart = Heart(Pulse(CONTEXT), 10.0)
    worker = _Worker(engine, swap or NoSwap(), theirs, doorbell, lock, heart, 12, lambda: clock[0], guard)
    return Bench(worker, ours, clock)
