"""Whose turn it is on a device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from streamgen.engine.shares import FairShares, Load, Spent


def served(shares: FairShares, cost_s: Mapping[str, float], every_s: Mapping[str, float], until_s: float) -> Counter:
    """Seconds that each session had of a device that computes one frame at a time, when a new frame of each is there
    every so often and replaces the one before."""
    now_s, had = 0.0, Counter[str]()
    next_s = dict.fromkeys(cost_s, 0.0)
    while now_s < until_s:
        ready = [session for session in shares.order(cost_s) if next_s[session] <= now_s]
        if not ready:
            now_s = min(next_s.values())
            continue
        turn = ready[0]
        next_s[turn] = (now_s // every_s[turn] + 1) * every_s[turn] if every_s[turn] else now_s
        shares.charge([turn], cost_s[turn])
        now_s += cost_s[turn]
        had[turn] += cost_s[turn]
    return had


def test_a_fast_client_does_not_take_the_turns_of_a_slow_one() -> None:
    had = served(FairShares(0), {"slow": 0.025, "fast": 0.025}, {"slow": 1 / 10, "fast": 1 / 60}, 10.0)
    assert had["slow"] / 0.025 >= 99
    assert had["fast"] / 0.025 >= 290  # all the rest


def test_large_frames_get_as_much_time_as_small_ones_and_so_fewer_turns() -> None:
    had = served(FairShares(0), {"large": 0.2, "small": 0.01}, {"large": 0.01, "small": 0.01}, 20.0)
    assert abs(had["large"] - had["small"]) < 0.5


def test_being_quiet_saves_up_no_claim() -> None:
    shares = FairShares(0)
    for _ in range(100):
        shares.charge(["busy"], 0.1)
    turns = []
    for _ in range(10):
        [turn, _] = shares.order(["busy", "woken"])
        shares.charge([turn], 0.1)
        turns.append(turn)
    assert turns.count("busy") >= 4


@settings(deadline=None, max_examples=25, derandomize=True)
@given(st.dictionaries(st.sampled_from("abcdef"), st.floats(0.01, 0.3), min_size=2))
def test_sessions_that_always_have_a_frame_share_the_time_evenly(cost_s: dict[str, float]) -> None:
    had = served(FairShares(0), cost_s, dict.fromkeys(cost_s, 0.0), 20.0)
    assert max(had.values()) - min(had.values()) <= 2 * max(cost_s.values()) + 1e-6


def test_frames_of_one_step_share_its_cost_and_what_was_spent_is_told_once_a_second() -> None:
    shares = FairShares(10.0)
    shares.charge(["a", "b"], 0.5)
    shares.charge(["a"], 0.25)
    assert shares.load(10.5) is None
    assert shares.load(11.0) == Load(1.0, {"a": Spent(2, 0.5), "b": Spent(1, 0.25)})
    assert shares.load(12.5) == Load(1.5, {})
    assert shares.frames == 3


def test_a_closed_session_is_forgotten() -> None:
    shares = FairShares(0)
    shares.charge(["a"], 5.0)
    shares.forget("a")
    assert shares.load(2.0) == Load(2.0, {})
    assert shares.order(["b", "a"]) == ["b", "a"]
