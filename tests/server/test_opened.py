"""What the server keeps of a session for its worker."""

from __future__ import annotations

import multiprocessing

import numpy as np

from streamgen.engine.messages import OpenSession, RecordSession, Referenced, ReferenceFailed, ReferSession, Reformatted
from streamgen.errors import WorkerError
from streamgen.frames import Pixels
from streamgen.mailbox import Note, Taken
from streamgen.server.opened import Opened, make_slots
from streamgen.settings import FrameFormat, StreamSettings
from tests.server.test_pool import Ear

SMALL, WIDE, TALL = (FrameFormat(width=width, height=height) for width, height in ((128, 128), (256, 128), (128, 256)))


def opened(ear: Ear) -> Opened:
    slots = make_slots(multiprocessing.get_context("spawn").Lock())
    made = Opened("a#0", SMALL, StreamSettings(), 0, ear, *slots)
    made.discard_slots()
    return made


def taken(format: FrameFormat, format_rev: int) -> Taken:
    return Taken(np.zeros((format.height, format.width, 3), np.uint8), Note(format_rev=format_rev), 0)


async def test_a_picture_that_overtakes_the_word_of_its_format_brings_it_along() -> None:
    ear = Ear()
    session = opened(ear)
    session.ask_format(1, WIDE)
    session.deliver(taken(SMALL, 0))
    assert ear.formats.empty()
    session.deliver(taken(WIDE, 1))
    assert ear.formats.get_nowait() == (1, WIDE)
    session.hear(Reformatted("a#0", 1))  # the worker's own word
    assert ear.formats.empty()
    assert ear.outputs.qsize() == 2


async def test_a_format_that_was_ready_before_a_newer_one_was_asked_for_is_announced_too() -> None:
    ear = Ear()
    session = opened(ear)
    session.ask_format(1, WIDE)
    session.ask_format(2, TALL)
    session.hear(Reformatted("a#0", 1))
    assert session.format == WIDE
    [opening] = session.open_commands()
    assert isinstance(opening, OpenSession) and opening.format == TALL
    session.hear(Reformatted("a#0", 2))
    assert [ear.formats.get_nowait() for _ in range(2)] == [(1, WIDE), (2, TALL)]


async def test_a_new_worker_gets_the_reference_picture_in_force_and_is_asked_for_the_one_that_is_not(
    picture: Pixels,
) -> None:
    ear = Ear()
    session = opened(ear)
    for rev in (1, 2):  # the first is replaced
        session.ask_reference(rev, picture)
    session.hear(Referenced("a#0", 1))
    assert session.reference is None
    session.hear(Referenced("a#0", 2))
    session.ask_reference(3, None)
    opening, asking = session.open_commands()
    assert isinstance(opening, OpenSession) and opening.reference is picture
    assert isinstance(asking, ReferSession) and (asking.reference, asking.rev) == (None, 3)
    session.hear(Referenced("a#0", 3))
    [opening] = session.open_commands()
    assert isinstance(opening, OpenSession) and opening.reference is None
    assert [ear.references.get_nowait() for _ in range(3)] == [1, 2, 3]


async def test_a_reference_picture_that_the_worker_refused_leaves_the_one_before(picture: Pixels) -> None:
    ear = Ear()
    session = opened(ear)
    session.ask_reference(1, picture)
    session.hear(Referenced("a#0", 1))
    session.ask_reference(2, picture[::-1])
    session.hear(ReferenceFailed("a#0", 2, WorkerError("engine_failed", "out of memory")))
    [opening] = session.open_commands()
    assert isinstance(opening, OpenSession) and opening.reference is picture
    assert ear.refusals.get_nowait()[0] == 2


async def test_the_largest_picture_with_alpha_fits_the_outbox() -> None:
    inbox, outbox = make_slots(multiprocessing.get_context("spawn").Lock())
    outbox.put(np.zeros((1024, 1024, 4), np.uint8), Note())
    got = outbox.take()
    assert got is not None and got.pixels.shape == (1024, 1024, 4)
    for slot in (inbox, outbox):
        slot.close()
        slot.unlink()


async def test_a_new_worker_goes_on_telling_of_a_session_that_is_recorded() -> None:
    session = opened(Ear())
    session.recorded = True
    _, recording = session.open_commands()
    assert recording == RecordSession("a#0", True)
