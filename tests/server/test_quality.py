"""What sessions are given when they share a device that is short of time."""

from __future__ import annotations

from dataclasses import dataclass, field

from streamgen.engine.shares import Load, Spent
from streamgen.frames import Pixels
from streamgen.server.quality import AS_ASKED, Given, Governor
from streamgen.settings import FrameFormat, StreamSettings
from tests.server.conftest import Running

ASKED = FrameFormat(width=512, height=256, fit="contain")


@dataclass
class Client:
    """A session that sends a steady rate."""

    name: str
    settings: StreamSettings = field(default_factory=lambda: StreamSettings(max_fps=30))
    given: Given = AS_ASKED
    asked_format: FrameFormat = ASKED
    frames_in: int = 0
    heard: list[str] = field(default_factory=list)

    def give(self, given: Given, why: str) -> bool:
        self.given = given
        self.heard.append(why)
        return True


def seconds(governor: Governor, count: int, clients: list[Client], spent: dict[str, Spent], arriving: int = 30) -> None:
    for _ in range(count):
        for client in clients:
            client.frames_in += arriving
        governor.look(Load(1.0, spent), clients)


def test_less_is_given_in_the_order_rate_size_steps_and_given_back_in_the_other() -> None:
    governor, clients = Governor(5), [Client("a", StreamSettings(max_fps=30, steps=2)), Client("b")]
    a = clients[0]
    governor.look(Load(1.0, {"a": Spent(), "b": Spent()}), clients)
    shared = {"a": Spent(8, 0.5), "b": Spent(8, 0.5)}
    seconds(governor, 3, clients, shared)
    assert a.given == AS_ASKED
    seconds(governor, 1, clients, shared)
    assert a.given == Given(fps=8)
    assert a.heard == ["the server is busy: 8 of 30 frames a second could be computed"]
    seconds(governor, 9, clients, shared)
    assert a.given == Given(fps=8)  # it gets what is left to it
    starved = {"a": Spent(2, 0.5), "b": Spent(8, 0.5)}
    seconds(governor, 4, clients, starved)
    assert a.given == Given(fps=8, shrunk=1)
    seconds(governor, 4, clients, starved)
    assert a.given == Given(fps=8, shrunk=2)
    seconds(governor, 4, clients, starved)
    assert a.given == Given(fps=8, shrunk=2, one_step=True)
    seconds(governor, 4, clients, starved)
    assert a.given == Given(fps=8, shrunk=2, one_step=True)  # there is no less
    alone = {"a": Spent(8, 0.008), "b": Spent()}
    for step in (Given(8, 2), Given(8, 1), Given(8), AS_ASKED):
        seconds(governor, 9, clients, alone)
        assert a.given != step
        seconds(governor, 1, clients, alone)
        assert a.given == step
    assert a.heard[-1] == "the server has room again"


def test_a_session_alone_is_given_what_it_asked_for_however_slow_that_is() -> None:
    governor, client = Governor(5), Client("a")
    seconds(governor, 60, [client, Client("quiet")], {"a": Spent(1, 1.0)})
    assert client.given == AS_ASKED


def test_nothing_is_given_back_that_would_not_fit() -> None:
    governor, client = Governor(5), Client("a", given=Given(fps=8, shrunk=1))
    seconds(governor, 60, [client, Client("b")], {"a": Spent(8, 0.2), "b": Spent(8, 0.4)})
    assert client.given == Given(fps=8, shrunk=1)  # four times 0.2 beside 0.4 is more than there is


def test_a_session_that_sends_little_is_not_short_of_it() -> None:
    governor, client = Governor(5), Client("a")
    shared = {"a": Spent(2, 0.1), "b": Spent(8, 0.9)}
    seconds(governor, 60, [client], shared, arriving=2)
    assert client.given == AS_ASKED


def test_halved_formats_keep_their_shape_and_stay_formats() -> None:
    assert Given(shrunk=1).format(ASKED) == FrameFormat(width=256, height=128, fit="contain")
    assert Given(shrunk=3).format(ASKED) == FrameFormat(width=128, height=128, fit="contain")
    assert Given(fps=1, one_step=True).format(ASKED) is ASKED


async def test_a_session_computes_with_what_it_is_given_and_says_so(server: Running, picture: Pixels) -> None:
    peer = await server.publisher(session="cam", format={"width": 512, "height": 512}, settings={"steps": 4})
    session, opened = server.sessions.get("cam"), server.worker.opened["cam"]
    assert session is not None
    assert session.give(Given(fps=6, shrunk=1, one_step=True), "the server is busy")
    warning = await peer.hear("warning")
    assert warning["code"] == "quality_changed"
    assert warning["message"] == "the server is busy; now at most 6 frames a second, 256x256, 1 step"
    assert (await peer.hear("reformatted"))["format"]["width"] == 256
    assert (opened.format.width, opened.settings.steps) == (256, 1)
    updated = await peer.ask("update", settings={"prompt": "ink"})
    assert updated["settings"]["steps"] == 4  # what was asked for
    assert (opened.settings.prompt, opened.settings.steps) == ("ink", 1)
    assert session.give(AS_ASKED, "the server has room again")
    assert (await peer.hear("warning"))["code"] == "quality_restored"
    assert (await peer.hear("reformatted"))["format"]["width"] == 512
    assert opened.settings.steps == 4


async def test_a_size_asked_for_meanwhile_is_taken_as_asked(server: Running) -> None:
    peer = await server.publisher(session="cam", format={"width": 512, "height": 512})
    session = server.sessions.get("cam")
    assert session is not None
    session.give(Given(shrunk=1), "busy")
    await peer.hear("reformatted")
    answer = await peer.ask("reformat", format={"width": 1024})
    assert (answer["format"]["width"], answer["format"]["height"]) == (1024, 512)
    assert session.given.shrunk == 0
    assert session.give(Given(shrunk=1), "busy")
    assert (await peer.hear("reformatted"))["format"]["width"] == 512


async def test_what_is_given_instead_limits_the_rate(server: Running) -> None:
    await server.publisher(session="cam", settings={"max_fps": 30})
    session = server.sessions.get("cam")
    assert session is not None
    session.give(Given(fps=5), "busy")
    admitted = sum(session.admit(100 + frame / 30) for frame in range(60))
    assert 10 <= admitted <= 13  # two seconds, and a burst of three
