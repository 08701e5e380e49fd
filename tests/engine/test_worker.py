from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from typing import Any

import numpy as np

from streamgen.engine.worker import FrameFailed, Made, _Mailboxes, _Worker
from streamgen.frames import Frame, Output
from streamgen.mailbox import Note, SharedSlot

CONTEXT = multiprocessing.get_context("spawn")


class PickyEngine:
    """Fails on a batch that holds a black frame."""

    max_batch = 4

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
