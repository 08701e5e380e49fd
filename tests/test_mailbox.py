from __future__ import annotations

import multiprocessing
from collections.abc import Iterator

import numpy as np
import pytest

from streamgen.errors import WorkerError
from streamgen.mailbox import Note, SharedSlot

CONTEXT = multiprocessing.get_context("spawn")


def grey(level: int, height: int = 4, width: int = 6) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


@pytest.fixture
def slot() -> Iterator[SharedSlot]:
    slot = SharedSlot(CONTEXT.Lock(), 6 * 8 * 3)
    yield slot
    slot.close()
    slot.unlink()


def test_the_newest_picture_wins_and_the_others_are_counted(slot: SharedSlot) -> None:
    for level in (1, 2, 3):
        slot.put(grey(level), Note(seq=level))
    taken = slot.take()
    assert taken is not None
    assert (taken.note.seq, taken.replaced) == (3, 2)
    np.testing.assert_array_equal(taken.pixels, grey(3))


def test_a_picture_is_taken_once(slot: SharedSlot) -> None:
    assert slot.take() is None
    slot.put(grey(1), Note())
    assert slot.take() is not None
    assert slot.take() is None


def test_everything_noted_arrives(slot: SharedSlot) -> None:
    note = Note(
        seq=2**32 - 1,
        captured_us=2**63,
        received_s=12345.678,
        settings_rev=9,
        queued_ms=1.5,
        engine_ms=2.25,
        warm_up=True,
    )
    slot.put(grey(7, 8, 6), note)
    taken = slot.take()
    assert taken is not None
    assert taken.note == note
    assert taken.pixels.shape == (8, 6, 3)


def test_a_picture_taken_is_a_copy(slot: SharedSlot) -> None:
    slot.put(grey(1), Note())
    taken = slot.take()
    for level in (2, 3, 4, 5):
        slot.put(grey(level), Note())
    assert taken is not None
    np.testing.assert_array_equal(taken.pixels, grey(1))


def test_a_picture_over_the_capacity_is_refused(slot: SharedSlot) -> None:
    with pytest.raises(WorkerError, match="slot of 144 bytes was given 300"):
        slot.put(grey(1, 10, 10), Note())


def test_another_process_that_died_inside_the_exchange_is_noticed(
    slot: SharedSlot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamgen.mailbox._LOCK_TIMEOUT_S", 0.01)
    slot._lock.acquire()
    with pytest.raises(WorkerError, match="died while exchanging"):
        slot.put(grey(1), Note())
    slot._lock.release()


def _echo(lock: object, name: str, ready: object, done: object) -> None:
    attached = SharedSlot(lock, 144, name)  # type: ignore[arg-type]
    ready.acquire()  # type: ignore[attr-defined]
    taken = attached.take()
    assert taken is not None
    attached.put(255 - taken.pixels, taken.note)
    attached.close()
    done.release()  # type: ignore[attr-defined]


def test_pictures_cross_between_processes() -> None:
    lock, ready, done = CONTEXT.Lock(), CONTEXT.Semaphore(0), CONTEXT.Semaphore(0)
    slot = SharedSlot(lock, 144)
    process = CONTEXT.Process(target=_echo, args=(lock, slot.name, ready, done))
    process.start()
    slot.put(grey(5), Note(seq=3))
    ready.release()
    assert done.acquire(timeout=30)
    taken = slot.take()
    process.join(10)
    slot.close()
    slot.unlink()
    assert taken is not None
    assert taken.note.seq == 3
    np.testing.assert_array_equal(taken.pixels, grey(250))
