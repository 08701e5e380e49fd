"""What the Python SDK refuses by itself, what it tells its handlers, and what it counts."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

import streamgen
from streamgen.client_errors import wire_values
from streamgen.client_statistics import Counter, Percentiles
from streamgen.errors import ProtocolError, SessionError, SettingsError, StreamgenError
from streamgen.frames import Pixels
from streamgen.protocol import ErrorMessage, WarningMessage
from streamgen.settings import BlendEntry
from tests.server.conftest import Running, running
from tests.test_client import connect, following, lose_and_return


@pytest.fixture
async def server() -> AsyncIterator[Running]:
    async with running(clock=time.monotonic) as made:
        yield made


@pytest.mark.parametrize("value", [object(), {1, 2}, float("nan"), b"ink", [object()]])
async def test_a_setting_that_json_has_no_word_for_is_a_typed_error(server: Running, value: Any) -> None:
    with pytest.raises(SettingsError) as caught:
        connect(server, prompt=value)
    assert (caught.value.code, caught.value.field) == ("invalid_settings", "prompt")
    async with connect(server) as stream:
        with pytest.raises(SettingsError) as caught:
            await stream.update(prompt=value)
        assert (caught.value.code, caught.value.field) == ("invalid_settings", "prompt")
        with pytest.raises(SettingsError):
            await stream.reformat(width=value)


@pytest.mark.parametrize(
    ("settings", "field"), [({"prompt": 3}, "prompt"), ({"steps": "many"}, "steps"), ({"promt": "ink"}, "promt")]
)
async def test_a_setting_of_the_wrong_type_is_the_servers_typed_error(
    server: Running, settings: dict[str, Any], field: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        async with connect(server, **settings):
            pass
    assert caught.value.field == field


def test_numbers_of_numpy_and_models_are_taken_as_what_they_say() -> None:
    said = wire_values(
        {"strength": np.float64(0.5), "seed": np.int32(7), "prompts_blend": (BlendEntry(prompt="ink", weight=1.0),)}
    )
    assert said == {"strength": 0.5, "seed": 7, "prompts_blend": [{"prompt": "ink", "weight": 1.0}]}


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"role": "boss"}, "role"),
        ({"codec": "gif"}, "codec"),
        ({"session": "a/b"}, "session"),
        ({"resume": 3}, "resume"),
    ],
)
def test_an_option_that_cannot_be_is_refused_as_the_server_would(options: dict[str, Any], field: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        streamgen.connect("ws://127.0.0.1:9/ws", **options)
    assert (caught.value.code, caught.value.field) == ("invalid_message", field)


async def test_a_model_of_the_wrong_type_is_refused(server: Running) -> None:
    async with connect(server) as stream:
        with pytest.raises(ProtocolError) as caught:
            await stream.switch(3)  # type: ignore[arg-type]
        assert caught.value.field == "model"


async def test_handlers_hear_of_states_settings_warnings_and_refused_frames(server: Running, picture: Pixels) -> None:
    heard: list[Any] = []
    revs: list[int] = []
    async with connect(
        server,
        session="cam",
        on_state=lambda state, why: heard.append((state, why and why.code)),
        on_welcome=lambda welcome: heard.append(welcome.resumed),
        on_updated=lambda updated: revs.append(updated.rev),
        on_warning=lambda warning: heard.append(warning.code),
        on_error=lambda error: heard.append(error.code),
    ) as stream:
        await stream.update(prompt="ink")
        session = server.sessions.get("cam")
        assert session is not None and session.publisher is not None
        session.publisher.tell(WarningMessage(code="worker_restarting", message=""))
        session.publisher.tell(ErrorMessage(code="engine_failed", message=""))
        await stream.stats()
        await lose_and_return(server, stream)
    assert 1 in revs
    assert heard == [
        ("open", None),
        False,
        "worker_restarting",
        "engine_failed",
        ("reconnecting", "too_slow"),
        ("connecting", None),
        ("open", None),
        True,
        ("closed", None),
    ]


async def test_a_message_of_a_type_of_tomorrow_is_passed_over(server: Running) -> None:
    class Tomorrow(WarningMessage):
        type: Any = "dance"

    async with connect(server, session="cam", reconnect=False) as stream:
        session = server.sessions.get("cam")
        assert session is not None and session.publisher is not None
        session.publisher.tell(Tomorrow(code="", message=""))
        assert (await stream.stats()).frames_in == 0


async def test_a_handler_that_fails_costs_the_stream_nothing(
    server: Running, picture: Pixels, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(updated: object) -> None:
        raise ZeroDivisionError

    with caplog.at_level(logging.ERROR, "streamgen.client"):
        async with connect(server, on_updated=fail) as stream:
            await stream.update(prompt="ink")
            await stream.send(picture)
            assert (await following(stream)).seq == 0
    assert "handler" in caplog.text


async def test_a_controller_changes_the_session_of_another(server: Running, picture: Pixels) -> None:
    async with connect(server, session="cam") as publisher, connect(server, role="control", session="cam") as other:
        await other.update(prompt="ink")
        await publisher.stats()
        assert publisher.settings.prompt == "ink"
        with pytest.raises(SessionError) as caught:
            await other.send(picture)
        assert caught.value.code == "not_publisher"


async def test_a_program_that_kept_the_resume_token_takes_its_session_over(server: Running) -> None:
    async with connect(server, session="cam", reconnect=False) as former:
        await former.update(prompt="ink")
        async with connect(server, resume=former.welcome.resume) as stream:
            assert (stream.session, stream.settings.prompt) == ("cam", "ink")
            with pytest.raises(StreamgenError):
                await following(former)


async def test_a_resume_token_that_is_too_old_opens_a_new_session(server: Running) -> None:
    async with connect(server, session="cam", resume="of last week") as stream:
        assert stream.session == "cam" and not stream.welcome.resumed


async def test_frames_sent_replaced_and_received_are_counted(server: Running, picture: Pixels) -> None:
    server.worker.automatic = False
    async with connect(server, session="cam", max_fps=60) as stream:
        for _ in range(6):
            await stream.send(picture)
        await server.worker.frames("cam", 2)
        counted = stream.statistics
        assert counted.sent >= 2 and counted.sent + counted.replaced <= 6
        server.worker.compute("cam", server.worker.opened["cam"].frames[-1])
        await following(stream)
        counted = stream.statistics
        assert counted.received == 1 and counted.latency_ms is not None


def test_figures_are_of_the_last_seconds_and_frames() -> None:
    counter = Counter()
    assert counter.report(0.0, None).latency_ms is None
    for number in range(10):
        counter.handed_out(now_s=number * 0.1, latency_ms=float(number + 1))
    counter.handed_out(now_s=1.0, latency_ms=None)
    report = counter.report(1.0, 12.5)
    assert (report.fps, report.latency_ms, report.round_trip_ms) == (5.5, Percentiles(5.0, 9.0), 12.5)
    assert counter.report(4.0, None).fps == 0.0


async def test_waiting_for_an_output_can_be_bounded(server: Running, picture: Pixels) -> None:
    async with connect(server) as stream:
        assert await stream.receive(timeout_s=0.01) is None
        await stream.send(picture)
        output = await stream.receive(timeout_s=10)
        assert output is not None and output.seq == 0
        waiting = asyncio.create_task(stream.receive())
        await asyncio.sleep(0)
    assert await waiting is None
