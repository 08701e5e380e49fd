from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from typing import Any

import numpy as np

from streamgen.engine.worker import FrameFailed, Made, Refused, UpdateSession, _Mailboxes, _Worker
from streamgen.frames import Frame, Output
from streamgen.mailbox import Note, SharedSlot
from streamgen.settings import StreamSettings

CONTEXT = multiprocessing.get_context("spawn")


class PickyEngine:
    """Fails on a batch that holds a black frame."""

    def __init__(self, max_batch: int = 4) -> None:
        self.max_batch = max_batch

    def update(self, session: str, settings: StreamSettings, rev: int, now_s: float) -> None:
        raise ValueError("a defect")

    def step(self, batch: Sequence[tuple[str, Frame]], now_s: float) -> list[tuple[str, Output]]:
        if any(not frame.pixels.any() for _, frame in batch):
            raise ValueError("black")
        return [(session, Output(frame.pixels, frame.seq)) for session, frame in batch]


def test_a_frame_the_engine_fails_on_takes_no_other_sessions_frame_with_it() -> None:
    ours, theirs = CONTEXT.Pipe()
    lock, doorbell = CONTEXT.Lock(), CONTEXT.Semaphore(0)
    engine: Any = PickyEngine()
    worker = _Worker(engine, theirs, doorbell, lock, 12)
    for session, level in (("good", 9), ("bad", 0), ("fine", 7)):
        inbox, outbox = SharedSlot(lock, 12), SharedSlot(lock, 12)
        inbox.put(np.full((2, 2, 3), level, np.uint8), Note())
        worker._mailboxes[session] = _Mailboxes(inbox, outbox)
    worker._step(worker._take_batch())
    reports = [ours.recv() for _ in range(3)]
    assert reports[0] == Made("good")
    assert isinstance(reports[1], FrameFailed) and reports[1].session == "bad"
    assert reports[2] == Made("fine")
    for mailboxes in worker._mailboxes.values():
        for slot in (mailboxes.inbox, mailboxes.outbox):
            slot.close()
            slot.unlink()


def test_a_session_whose_frames_fail_waits_its_turn_like_any_other() -> None:
    ours, theirs = CONTEXT.Pipe()
    lock, doorbell = CONTEXT.Lock(), CONTEXT.Semaphore(0)
    engine: Any = PickyEngine(max_batch=1)
    worker = _Worker(engine, theirs, doorbell, lock, 12)
    for session in ("bad", "good"):
        worker._mailboxes[session] = _Mailboxes(SharedSlot(lock, 12), SharedSlot(lock, 12))
    served = []
    for _ in range(4):
        for session, level in (("bad", 0), ("good", 9)):
            worker._mailboxes[session].inbox.put(np.full((2, 2, 3), level, np.uint8), Note())
        batch = worker._take_batch()
        served.append(batch[0][0])
        worker._step(batch)
    assert served == ["bad", "good", "bad", "good"]
    ours.close()
    for mailboxes in worker._mailboxes.values():
        for slot in (mailboxes.inbox, mailboxes.outbox):
            slot.close()
            slot.unlink()


def test_settings_that_hit_a_defect_are_refused_and_the_worker_lives_on() -> None:
    ours, theirs = CONTEXT.Pipe()
    engine: Any = PickyEngine()
    worker = _Worker(engine, theirs, CONTEXT.Semaphore(0), CONTEXT.Lock(), 12)
    worker._obey(UpdateSession("a", StreamSettings(), 7))
    report = ours.recv()
    assert isinstance(report, Refused)
    assert (report.session, report.rev, report.error.code) == ("a", 7, "engine_failed")
