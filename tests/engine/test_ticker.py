from __future__ import annotations

import math

from streamgen.engine.ticker import Ticker


def ticks(ticker: Ticker, *times_s: float) -> list[float]:
    """Those of these moments at which a tick is due, which is then made."""
    made = []
    for now_s in times_s:
        if ticker.wait_s(now_s) == 0:
            ticker.tick(now_s)
            made.append(now_s)
    return made


def test_nothing_is_due_before_it_runs() -> None:
    assert Ticker().wait_s(5.0) == math.inf


def test_the_first_tick_is_due_at_once_and_the_others_a_period_apart() -> None:
    ticker = Ticker()
    ticker.run(10, 100.0)
    assert ticker.wait_s(100.0) == 0
    assert ticker.tick(100.0) == 0
    assert 0.049 < ticker.wait_s(100.05) < 0.051
    assert ticker.tick(100.1) == 1


def test_a_late_tick_does_not_move_the_ones_after_it() -> None:
    ticker = Ticker()
    ticker.run(10, 0.0)
    assert ticks(ticker, 0.0, 0.15, 0.19, 0.21, 0.29, 0.31) == [0.0, 0.15, 0.21, 0.31]


def test_missed_ticks_are_not_made_up_for() -> None:
    ticker = Ticker()
    ticker.run(10, 0.0)
    assert ticks(ticker, 0.0, 7.0, 7.001, 7.05, 7.11) == [0.0, 7.0, 7.001, 7.11]


def test_a_higher_rate_takes_effect_at_once() -> None:
    ticker = Ticker()
    ticker.run(1, 0.0)
    ticker.tick(0.0)
    ticker.run(50, 0.1)
    assert ticker.wait_s(0.1) < 0.021


def test_stopping_and_going_on_is_no_way_to_be_faster() -> None:
    ticker = Ticker()
    ticker.run(1, 0.0)
    ticker.tick(0.0)
    ticker.stop()
    assert ticker.wait_s(2.0) == math.inf
    ticker.run(1, 0.2)
    assert ticker.wait_s(0.2) == 0.8
    assert ticker.tick(1.0) == 1
