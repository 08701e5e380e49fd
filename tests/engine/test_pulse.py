"""When a worker process counts as hung."""

from __future__ import annotations

import multiprocessing

from streamgen.engine.pulse import Heart, Pulse

CONTEXT = multiprocessing.get_context("spawn")


def test_a_process_that_has_not_begun_is_not_overdue() -> None:
    assert Pulse(CONTEXT).silence_s(1e9) == 0


def test_a_loop_that_stands_still_is_overdue_after_its_patience() -> None:
    pulse = Pulse(CONTEXT)
    heart = Heart(pulse, 5.0)
    heart.beat(100.0, warm=True)
    assert pulse.silence_s(104.9) < 0
    assert pulse.silence_s(106.0) == 1.0


def test_the_first_frames_may_take_ten_times_as_long() -> None:
    pulse = Pulse(CONTEXT)
    Heart(pulse, 5.0).beat(100.0, warm=False)
    assert pulse.silence_s(149.0) < 0 < pulse.silence_s(151.0)


def test_a_loop_that_is_slow_by_nature_is_given_ten_of_its_turns() -> None:
    pulse = Pulse(CONTEXT)
    heart = Heart(pulse, 5.0)
    heart.beat(100.0, warm=True)
    heart.beat(108.0, warm=True)
    assert pulse.silence_s(187.0) < 0 < pulse.silence_s(189.0)


def test_no_limit_is_no_limit() -> None:
    pulse = Pulse(CONTEXT)
    Heart(pulse, 0.0).beat(100.0, warm=True)
    assert pulse.silence_s(1e9) < 0
