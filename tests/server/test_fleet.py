"""Several devices behind one link."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from streamgen.config import ServerConfig
from streamgen.engine.messages import WorkerInfo
from streamgen.engine.shares import Load
from streamgen.errors import SessionError, StreamgenError, WeightsError, WorkerError
from streamgen.server.fleet import Fleet
from streamgen.server.pool import Worker
from streamgen.server.run import worker_for
from streamgen.server.worker_link import DeviceStatus
from streamgen.settings import FrameFormat, StreamSettings

FORMAT, SETTINGS = FrameFormat(), StreamSettings()


class Device:
    """A worker that does at once what it is told, and takes as many sessions as it has places."""

    def __init__(self, name: str, places: int = 9) -> None:
        self.ready = True
        self.places = places
        self.on_restyled: Any = None
        self.on_load: Any = None
        self.on_given_up: Any = None
        self.sessions: dict[str, Any] = {}
        self.serving = ("tiny", None)
        self.info = WorkerInfo(model="tiny", styles=(), backend="eager float32", device=name)
        self.said: list[tuple[Any, ...]] = []
        self.failure: StreamgenError | None = None
        self.listeners: list[Any] = []

    @property
    def devices(self) -> tuple[DeviceStatus, ...]:
        return (DeviceStatus(self.info.device, self.ready, sessions=frozenset(self.sessions)),)

    @property
    def promised(self) -> float:
        return len(self.sessions) / self.places

    async def start(self) -> None:
        if self.failure is not None:
            raise self.failure

    async def stop(self) -> None:
        self.said.append(("stop",))

    def expect_end(self) -> None:
        self.said.append(("expect_end",))

    def open(self, session: str, *opening: Any, admitted: bool = False) -> None:
        if session not in self.sessions and len(self.sessions) >= self.places and not admitted:
            raise SessionError("server_full", "full", retryable=True)
        names = ("format", "settings", "rev", "listener", "reference")
        self.sessions[session] = SimpleNamespace(recorded=False, **dict(zip(names, opening, strict=True)))

    def close(self, session: str) -> None:
        del self.sessions[session]

    def switch(self, model: str, loras: Any, listener: Any) -> None:
        self.said.append(("switch", model, loras))
        self.listeners.append(listener)

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments: self.said.append((name, *arguments))


class Ear:
    def __init__(self) -> None:
        self.heard: list[Any] = []

    def on_warning(self, code: str, message: str) -> None:
        self.heard.append(code)

    def on_error(self, error: StreamgenError) -> None:
        self.heard.append(error.code)

    def on_switched(self, info: WorkerInfo) -> None:
        self.heard.append(info.model)

    def on_switch_failed(self, error: StreamgenError) -> None:
        self.heard.append(error.code)


def fleet_of(*devices: Any) -> Fleet:
    return Fleet(devices)


def open_in(fleet: Fleet, *sessions: str, listener: Any = None) -> None:
    for session in sessions:
        fleet.open(session, FORMAT, SETTINGS, 0, listener)


def test_sessions_go_where_there_is_most_room_and_stay_there() -> None:
    large, small = Device("cuda:0", places=4), Device("cuda:1", places=2)
    fleet = fleet_of(large, small)
    open_in(fleet, "a", "b", "c", "d")
    assert (list(large.sessions), list(small.sessions)) == (["a", "c", "d"], ["b"])
    fleet.close("a")
    open_in(fleet, "b")  # opened anew
    assert list(small.sessions) == ["b"]


def test_commands_and_frames_go_to_the_device_of_their_session() -> None:
    first, second = Device("cuda:0"), Device("cuda:1")
    fleet = fleet_of(first, second)
    open_in(fleet, "a", "b")
    fleet.update("b", SETTINGS, 1)
    fleet.reformat("b", FORMAT, 2)
    fleet.refer("b", None, 3)
    fleet.set_running("b", False)
    fleet.submit("b", "frame")  # type: ignore[arg-type]
    assert [name for name, *_ in second.said] == ["update", "reformat", "refer", "set_running", "submit"]
    assert first.said == []
    fleet.close("nobody")
    fleet.update("nobody", SETTINGS, 1)


def test_a_full_fleet_says_so_and_one_that_is_restarting_is_passed_over() -> None:
    first, second = Device("cuda:0", places=1), Device("cuda:1", places=1)
    fleet = fleet_of(first, second)
    first.ready = False
    open_in(fleet, "a")
    assert list(second.sessions) == ["a"]
    with pytest.raises(SessionError, match="full"):
        open_in(fleet, "b")
    second.ready = False
    assert not fleet.ready
    with pytest.raises(WorkerError, match="no device is ready"):
        open_in(fleet, "b")


async def test_every_device_that_was_asked_for_must_start() -> None:
    first, second = Device("cuda:0"), Device("cuda:1")
    await fleet_of(first, second).start()
    second.failure = WeightsError("weights_missing", "none")
    with pytest.raises(WeightsError):
        await fleet_of(first, second).start()


async def test_the_end_is_the_end_of_all() -> None:
    first, second = Device("cuda:0"), Device("cuda:1")
    fleet = fleet_of(first, second)
    fleet.expect_end()
    await fleet.stop()
    assert first.said == second.said == [("expect_end",), ("stop",)]


def test_what_a_device_reports_is_passed_on_and_styles_once() -> None:
    first, second = Device("cuda:0"), Device("cuda:1")
    fleet, heard = fleet_of(first, second), list[Any]()
    first.on_load(Load(1.0, {}))  # nobody listens yet
    first.on_restyled(("ink",))
    fleet.on_load = fleet.on_restyled = heard.append
    second.on_load(Load(2.0, {}))
    first.on_restyled(("ink",))
    assert heard == [Load(2.0, {}), ("ink",)]
    assert second.on_restyled is None
    assert fleet.info.device == "cuda:0, cuda:1"


def test_a_device_that_is_given_up_loses_its_sessions_to_the_others_whatever_their_load() -> None:
    first, second = Device("cuda:0"), Device("cuda:1", places=1)
    fleet, ear, ends = fleet_of(first, second), Ear(), list[StreamgenError]()
    fleet.on_given_up = ends.append
    open_in(fleet, "a", "b", "c", listener=ear)
    error = WorkerError("worker_keeps_dying", "again and again")
    first.on_given_up(error)
    assert list(second.sessions) == ["b", "a", "c"]
    assert ear.heard == ["worker_restarted", "worker_restarted"]
    fleet.submit("a", "frame")  # type: ignore[arg-type]
    assert second.said == [("submit", "a", "frame")]
    assert ends == []
    second.on_given_up(error)
    assert ends == [error]


def test_every_device_says_which_sessions_it_serves_also_one_that_was_given_up() -> None:
    first, second = Device("cuda:0"), Device("cuda:1")
    fleet = fleet_of(first, second)
    open_in(fleet, "a", "b")
    fleet.set_running("nobody", True)
    assert [(device.name, device.sessions) for device in fleet.devices] == [("cuda:0", {"a"}), ("cuda:1", {"b"})]
    first.sessions["a"].listener = Ear()
    first.on_given_up(WorkerError("worker_keeps_dying", "it does"))
    assert [(device.name, device.sessions) for device in fleet.devices] == [("cuda:0", set()), ("cuda:1", {"a", "b"})]


def test_another_model_serves_on_all_devices() -> None:
    first, second, ear = Device("cuda:0"), Device("cuda:1"), Ear()
    fleet_of(first, second).switch("sd", ("soft",), ear)
    assert first.said == second.said == [("switch", "sd", ("soft",))]
    info = WorkerInfo(model="sd", styles=(), backend="", device="")
    first.listeners[0].on_switched(info)
    assert ear.heard == []
    second.listeners[0].on_switched(info)
    assert ear.heard == ["sd"]


def test_where_one_device_cannot_load_a_model_all_keep_the_one_before() -> None:
    first, second, ear = Device("cuda:0"), Device("cuda:1"), Ear()
    fleet_of(first, second).switch("sd", None, ear)
    first.listeners[0].on_switched(WorkerInfo(model="sd", styles=(), backend="", device=""))
    second.listeners[0].on_switch_failed(WeightsError("weights_missing", "none"))
    assert ear.heard == ["weights_missing"]
    assert first.said == [("switch", "sd", None), ("switch", "tiny", None)]
    first.listeners[1].on_switched(WorkerInfo(model="tiny", styles=(), backend="", device=""))
    assert len(second.said) == 1


def test_no_model_is_switched_while_a_device_starts() -> None:
    first, second = Device("cuda:0"), Device("cuda:1")
    second.ready = False
    with pytest.raises(WorkerError, match="a device is starting"):
        fleet_of(first, second).switch("sd", None, Ear())
    assert first.said == []


def test_a_server_has_a_worker_for_each_device_that_was_named() -> None:
    assert isinstance(worker_for(ServerConfig()), Worker)
    fleet = worker_for(ServerConfig(devices=("cpu", "cuda:1")))
    assert isinstance(fleet, Fleet)
