"""The Python SDK: another format, another model and prompt streams, against a real server with a fake worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from streamgen.errors import BackendUnavailable, ConfigError, SessionError, SettingsError
from streamgen.frames import Frame, Pixels
from streamgen.settings import FrameFormat
from tests.server.conftest import Running, running
from tests.server.test_changes import OTHER, take_model
from tests.test_client import connect, cut, following, lose_and_return


@pytest.fixture
async def server() -> AsyncIterator[Running]:
    async with running(clock=time.monotonic) as made:
        yield made


async def asked_to_switch(server: Running) -> None:
    async with asyncio.timeout(10):
        while not server.worker.switches:
            await asyncio.sleep(0)


async def test_outputs_have_the_models_own_size_unless_asked_otherwise(server: Running, picture: Pixels) -> None:
    server.worker.info = replace(server.worker.info, width=384, height=320)
    async with connect(server) as stream:
        await stream.send(picture)
        assert (await following(stream)).pixels.shape == (320, 384, 3)
        assert stream.format == FrameFormat(width=384, height=320)
    async with connect(server, width=128, fit="contain") as stream:
        assert stream.format == FrameFormat(width=128, height=320, fit="contain")


async def test_a_format_is_changed_while_frames_flow(server: Running, picture: Pixels) -> None:
    async with connect(server) as stream:
        assert await stream.reformat(width=512) == FrameFormat(width=512, height=256)
        assert await stream.reformat(fit="contain") == FrameFormat(width=512, height=256, fit="contain")
        await stream.send(picture)
        assert (await following(stream)).pixels.shape == (256, 512, 3)
        with pytest.raises(SettingsError) as caught:
            await stream.reformat(height=100)
        assert caught.value.field == "height"
        assert stream.format.height == 256


async def test_the_upscaler_is_asked_for_at_the_start_or_while_frames_flow(server: Running, picture: Pixels) -> None:
    async with connect(server, width=512, height=256, upscale=2) as stream:
        assert stream.format == FrameFormat(width=512, height=256, upscale=2)
        assert await stream.reformat(512, 512, upscale=4) == FrameFormat(width=512, height=512, upscale=4)
        with pytest.raises(SettingsError) as caught:
            await stream.reformat(width=256)
        assert caught.value.field == "upscale"
        await stream.send(picture)
        assert (await following(stream)).pixels.shape == (512, 512, 3)


async def test_a_format_that_another_replaced_is_raised(server: Running) -> None:
    server.worker.automatic = False
    async with connect(server, session="cam") as stream:
        first = asyncio.create_task(stream.reformat(width=512))
        second = asyncio.create_task(stream.reformat(width=128))
        with pytest.raises(SessionError) as caught:
            await first
        assert caught.value.code == "superseded"
        server.worker.take_format("cam", 2)
        assert (await second).width == 128


async def test_a_format_outlives_a_lost_connection(server: Running) -> None:
    async with connect(server, session="cam") as stream:
        await stream.reformat(width=512)
        await lose_and_return(server, stream)
        assert (stream.welcome.resumed, stream.format.width) == (True, 512)


async def test_a_format_outlives_a_lost_session() -> None:
    async with (
        running(resume_seconds=0.0, clock=time.monotonic) as server,
        connect(server, session="cam", backoff_s=lambda attempt: 0.05) as stream,
    ):
        await stream.reformat(width=512)
        former = stream.welcome
        await cut(server, "cam")
        async with asyncio.timeout(10):
            while stream.welcome is former:
                await asyncio.sleep(0)
        assert (stream.welcome.resumed, stream.format.width) == (False, 512)


async def test_a_format_that_takes_long_is_waited_for_as_long_as_the_caller_says(server: Running) -> None:
    async with connect(server, request_timeout_s=0.01) as stream:
        server.worker.automatic = False
        with pytest.raises(SessionError) as caught:
            await stream.reformat(width=512, timeout_s=0.05)
        assert caught.value.code == "no_answer"


async def test_viewers_learn_of_another_format_and_another_model(server: Running) -> None:
    async with connect(server) as stream, connect(server, role="view", session=stream.session) as viewer:
        await stream.reformat(width=512)
        asking = asyncio.create_task(stream.switch("other", loras=[]))
        await asked_to_switch(server)
        take_model(server)
        switched = await asking
        assert (switched.model, switched.loras, switched.backend) == ("other", {"sharp": 1.0}, "new")
        for one in (stream, viewer):
            async with asyncio.timeout(10):
                while one.welcome.model != "other":
                    await asyncio.sleep(0)
            assert (one.welcome.unused, one.welcome.loras) == (("feedback",), {"sharp": 1.0})
            assert one.format.width == 512
        with pytest.raises(SessionError) as caught:
            await viewer.switch("fake")
        assert caught.value.code == "not_publisher"


async def test_a_stream_knows_the_styles_that_came_while_it_was_open(server: Running) -> None:
    async with connect(server) as stream:
        server.worker.on_restyled(("pencil sketch", "mine"))
        async with asyncio.timeout(10):
            while "mine" not in stream.welcome.styles:
                await asyncio.sleep(0)
        assert stream.welcome.styles == ("pencil sketch", "mine")


async def test_settings_are_those_that_were_fitted_to_the_new_model(server: Running) -> None:
    async with connect(server, steps=4, prompt="ink") as stream:
        asking = asyncio.create_task(stream.switch("other"))
        await asked_to_switch(server)
        take_model(server, OTHER)
        await asking
        async with asyncio.timeout(10):
            while stream.settings.steps == 4:
                await asyncio.sleep(0)
        assert (stream.settings.steps, stream.settings.prompt) == (2, "ink")


async def test_a_model_that_cannot_be_had_is_raised_and_the_stream_goes_on(server: Running, picture: Pixels) -> None:
    async with connect(server) as stream:
        with pytest.raises(ConfigError) as caught:
            await stream.switch("sdxl")
        assert (caught.value.code, caught.value.field) == ("unknown_model", "model")
        asking = asyncio.create_task(stream.switch("other"))
        await asked_to_switch(server)
        server.worker.switches[0][2].on_switch_failed(BackendUnavailable("backend_unavailable", "no room"))
        with pytest.raises(BackendUnavailable):
            await asking
        await stream.send(picture)
        assert (await following(stream)).seq == 0
        assert stream.welcome.model == "fake"


async def test_outputs_of_a_prompt_stream_are_not_taken_for_those_of_frames(server: Running, picture: Pixels) -> None:
    async with connect(server, session="cam") as stream:
        await stream.send(picture, captured_us=11)
        await following(stream)
        await lose_and_return(server, stream)  # from here on numbers and counts of the wire differ
        await stream.send(picture, captured_us=12)
        assert (await following(stream)).seq == 1
        await stream.update(source="prompt")
        server.worker.compute("cam", Frame(picture, seq=0, captured_us=5000))
        output = await following(stream)
        assert (output.seq, output.captured_us) == (0, 5000)


async def test_a_client_that_says_so_waits_in_line_for_longer_than_it_waits_for_a_connection() -> None:
    async with running(clock=time.monotonic, max_sessions=1) as server, connect(server, session="first") as first:
        places: asyncio.Queue[int] = asyncio.Queue()
        second = connect(server, session="second", queue=True, connect_timeout_s=0.5, on_queued=places.put_nowait)
        entering = asyncio.create_task(second.__aenter__())
        assert await asyncio.wait_for(places.get(), 10) == 1
        await asyncio.wait([entering], timeout=0.6)
        assert not entering.done()
        await first.close()
        await asyncio.wait_for(entering, 10)
        assert second.session == "second"
        await second.close()
