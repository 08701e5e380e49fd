"""The agreed frame rate."""

from __future__ import annotations

import random

from streamgen.pacing import CLIENT_BURST, SERVER_BURST, Pacer


def admitted(times_s: list[float], max_fps: int, burst: float = SERVER_BURST) -> int:
    pacer = Pacer(burst)
    return sum(pacer.admit(time_s, max_fps) for time_s in times_s)


def test_frames_at_the_agreed_rate_all_pass() -> None:
    assert admitted([frame / 30 for frame in range(3000)], 30) == 3000


def test_jitter_costs_no_frame() -> None:
    jitter = random.Random(1)
    times = sorted(frame / 30 + jitter.uniform(-0.012, 0.012) for frame in range(3000))
    assert admitted(times, 30) == 3000


def test_of_frames_twice_as_fast_half_pass() -> None:
    assert abs(admitted([frame / 60 for frame in range(3000)], 30) - 1500) <= SERVER_BURST


def test_a_rest_is_not_saved_up_for_a_flood() -> None:
    pacer = Pacer(SERVER_BURST)
    assert pacer.admit(0.0, 30)
    assert sum(pacer.admit(1000.0, 30) for _ in range(100)) == SERVER_BURST


def test_a_new_rate_counts_at_once() -> None:
    pacer = Pacer(1)
    assert pacer.admit(0.0, 1)
    assert not pacer.admit(0.1, 1)
    assert pacer.admit(0.12, 60)


def test_the_wait_is_just_long_enough() -> None:
    pacer = Pacer(CLIENT_BURST)
    assert pacer.admit(0.0, 10) and pacer.admit(0.0, 10)
    wait_s = pacer.wait_s(0.0, 10)
    assert 0.099 < wait_s <= 0.1
    assert pacer.admit(wait_s, 10)


def test_a_client_that_keeps_the_rate_loses_nothing_to_jitter_on_the_way() -> None:
    jitter = random.Random(2)
    client, sent, now_s = Pacer(CLIENT_BURST), [], 0.0
    while len(sent) < 1000:
        now_s += client.wait_s(now_s, 30)
        if client.admit(now_s, 30):
            sent.append(now_s)
    assert admitted(sorted(time_s + jitter.uniform(0, 0.03) for time_s in sent), 30) == 1000
