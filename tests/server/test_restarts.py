"""When a worker is given up."""

from __future__ import annotations

from streamgen.server.restarts import Restarts


def test_a_worker_that_served_for_a_while_may_die_as_often_as_it_likes() -> None:
    restarts = Restarts()
    for now_s in range(0, 60, 3):
        restarts.died(now_s, served_s=2.5)
        assert not restarts.hopeless(now_s)
    assert restarts.deaths == 20


def test_the_sixth_that_dies_young_within_a_minute_is_the_last() -> None:
    restarts = Restarts()
    for now_s in range(5):
        restarts.died(now_s, served_s=0.5)
    assert not restarts.hopeless(5)
    restarts.died(5, served_s=0.0)
    assert restarts.hopeless(5)


def test_young_deaths_are_forgotten_after_a_minute() -> None:
    restarts = Restarts()
    for now_s in range(6):
        restarts.died(now_s, served_s=0.0)
    assert not restarts.hopeless(65)
