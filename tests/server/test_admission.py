"""Who gets a place, who waits for one, and who loses it again."""

from __future__ import annotations

import pytest

from streamgen.engine.shares import Load, Spent
from streamgen.errors import SessionError
from streamgen.protocol import Close
from streamgen.server.capacity import Capacity, Work
from streamgen.server.queue import Place, Queue
from streamgen.settings import FrameFormat, StreamSettings
from tests.server.conftest import Peer, Running, running

SMALL, LARGE = Work(256 * 256, 1), Work(512 * 512, 1)


# ------------------------------------------------------------------------------------------------------------- capacity


def test_a_lone_session_is_let_in_however_slow_the_device_is() -> None:
    capacity = Capacity(promised_fps=5)
    capacity.begin(SMALL, frame_s=10.0)
    capacity.check(LARGE, 30, [])


def test_sessions_are_let_in_as_long_as_all_get_what_they_are_promised() -> None:
    capacity = Capacity(promised_fps=5)
    capacity.begin(SMALL, frame_s=0.05)  # four of these fit: 5 x 0.05 = a quarter each
    capacity.check(SMALL, 30, [(SMALL, 30)] * 3)
    with pytest.raises(SessionError, match=r"can promise 0% of its time, and this session needs 25%") as refused:
        capacity.check(SMALL, 30, [(SMALL, 30)] * 4)
    assert (refused.value.code, refused.value.retryable) == ("server_full", True)


def test_a_session_that_asks_for_less_than_the_promise_counts_for_less() -> None:
    capacity = Capacity(promised_fps=5)
    capacity.begin(SMALL, frame_s=0.05)
    capacity.check(SMALL, 1, [(SMALL, 30)] * 3 + [(SMALL, 1)] * 3)


def test_what_was_never_measured_is_judged_by_the_nearest_work_that_was() -> None:
    capacity = Capacity(promised_fps=5)
    assert capacity.frame_s(SMALL) is None
    capacity.begin(SMALL, frame_s=0.01)
    assert capacity.frame_s(LARGE) == pytest.approx(0.04)
    assert capacity.frame_s(Work(256 * 256, 4)) == pytest.approx(0.04)
    capacity.note(Load(1.0, {"a": Spent(10, 0.3)}), {"a": LARGE})
    assert capacity.frame_s(LARGE) == pytest.approx(0.03)
    assert capacity.frame_s(Work(512 * 512, 2)) == pytest.approx(0.06)
    assert capacity.frame_s(SMALL) == pytest.approx(0.01)


def test_measurements_are_averaged_and_say_how_busy_the_device_is() -> None:
    capacity = Capacity(promised_fps=5)
    capacity.begin(SMALL, frame_s=0.010)
    capacity.note(Load(2.0, {"a": Spent(50, 1.0), "b": Spent(1, 0.5), "gone": Spent(1, 0.1)}), {"a": SMALL, "b": LARGE})
    assert capacity.frame_s(SMALL) == pytest.approx(0.013)
    assert capacity.busy == pytest.approx(0.8)
    capacity.note(Load(1.0, {}), {})
    assert capacity.busy == 0.0


def test_another_model_is_measured_anew() -> None:
    capacity = Capacity(promised_fps=5)
    capacity.begin(SMALL, frame_s=10.0)
    capacity.begin(None)
    capacity.check(SMALL, 30, [(SMALL, 30)] * 99)


def test_the_work_of_a_session_is_its_size_its_steps_and_what_else_it_asks_for() -> None:
    format = FrameFormat(width=512, height=256)
    assert Work.of(format, StreamSettings()) == Work(512 * 256, 1)
    settings = StreamSettings(steps=3, alpha=True, matte="person", negative_prompt="ink")
    assert Work.of(format, settings) == Work(512 * 256, 3, ("alpha", "matte", "guidance"))


# ---------------------------------------------------------------------------------------------------------------- queue


def test_the_queue_lets_in_from_the_front_as_many_as_there_is_room_for() -> None:
    queue, room, seen = Queue(3), [0], []

    def place(name: str) -> Place:
        def enter() -> bool:
            if not room[0]:
                return False
            room[0] -= 1
            seen.append(name)
            return True

        return Place(enter, lambda position: seen.append((name, position)))

    places = [place(name) for name in "abc"]
    assert [queue.join(one) for one in places] == [1, 2, 3]
    with pytest.raises(SessionError, match="3 publishers wait already"):
        queue.join(place("d"))
    queue.serve()
    assert seen == []
    room[0] = 1
    queue.serve()
    assert seen == ["a", ("b", 1), ("c", 2)]
    queue.leave(places[1])
    assert seen[3:] == [("c", 1)]
    queue.leave(places[1])
    assert len(queue) == 1


# ------------------------------------------------------------------------------------------------------------- sessions


async def waiting(server: Running, position: int, **hello: object) -> Peer:
    peer = await server.peer()
    await peer.say("hello", queue=True, **hello)
    assert (await peer.hear("queued"))["position"] == position
    return peer


async def test_publishers_that_say_so_wait_for_a_place_in_their_order() -> None:
    async with running(max_sessions=1) as server:
        first = await server.publisher()
        second = await waiting(server, 1, session="second", ref="mine")
        third = await waiting(server, 2)
        await first.say("bye")
        welcome = await second.hear("welcome")
        assert (welcome["session"], welcome["ref"]) == ("second", "mine")
        assert (await third.hear("queued"))["position"] == 1
        await second.say("bye")
        await third.hear("welcome")


async def test_nobody_overtakes_those_who_wait() -> None:
    async with running(max_sessions=1) as server:
        await server.publisher()
        await waiting(server, 1)
        late = await server.peer()
        assert (await late.hello())["code"] == "server_full"
        assert await late.closed() == Close.CAPACITY


async def test_whoever_leaves_the_queue_makes_the_others_move_up() -> None:
    async with running(max_sessions=1) as server:
        await server.publisher()
        second = await waiting(server, 1)
        third = await waiting(server, 2)
        await second.socket.close()
        assert (await third.hear("queued"))["position"] == 1


async def test_a_full_queue_says_so_and_ends_the_connection() -> None:
    async with running(max_sessions=1, max_queue=0) as server:
        await server.publisher()
        late = await server.peer()
        error = await late.hello(queue=True)
        assert (error["code"], error["retryable"]) == ("queue_full", True)
        assert await late.closed() == Close.CAPACITY


async def test_a_hello_whose_turn_comes_is_refused_for_what_is_wrong_with_it_by_then() -> None:
    async with running(max_sessions=1) as server:
        first = await server.publisher()
        second = await waiting(server, 1, session="cam")
        third = await waiting(server, 2, session="cam")
        await first.say("bye")
        await second.hear("welcome")
        assert (await third.hear("error"))["code"] == "publisher_exists"
        assert await third.closed() == Close.PUBLISHER_EXISTS


async def test_what_is_wrong_with_a_hello_anyway_is_said_before_it_waits() -> None:
    async with running(max_sessions=1) as server:
        await server.publisher()
        peer = await server.peer()
        assert (await peer.hello(queue=True, settings={"steps": 99}))["code"] == "invalid_settings"


async def test_a_client_in_the_queue_says_hello_once_and_nothing_else_yet() -> None:
    async with running(max_sessions=1) as server:
        await server.publisher()
        peer = await waiting(server, 1)
        assert (await peer.hello(ref="again"))["code"] == "already_welcome"
        assert (await peer.ask("stats"))["code"] == "hello_expected"


# ------------------------------------------------------------------------------------------------------------ durations


async def test_a_session_without_frames_is_ended_as_idle(picture: object) -> None:
    async with running(idle_seconds=0.02) as server:
        peer = await server.publisher(session="cam")
        viewer = await server.viewer("cam")
        server.clock.now_s += 1
        assert (await peer.hear("bye"))["reason"] == "idle"
        assert await peer.closed() == Close.IDLE
        assert (await viewer.hear("bye"))["reason"] == "session_ended"


async def test_frames_keep_a_session_from_being_idle(server: Running) -> None:
    session = (await _opened(server)).sessions.get("cam")
    assert session is not None
    session.touch(100.0)
    session.admit(107.0)
    assert session.idle_s(108.0) == 1.0


async def test_a_prompt_stream_that_somebody_watches_is_not_idle(server: Running) -> None:
    session = (await _opened(server, settings={"source": "prompt"})).sessions.get("cam")
    assert session is not None
    session.touch(100.0)
    assert session.idle_s(200.0) == 0.0


async def test_a_session_ends_after_its_longest_duration() -> None:
    async with running(max_session_seconds=0.02) as server:
        peer = await server.publisher()
        assert (await peer.hear("bye"))["reason"] == "max_duration"
        assert await peer.closed() == Close.IDLE


async def _opened(server: Running, **hello: object) -> Running:
    await server.publisher(session="cam", **hello)
    return server
