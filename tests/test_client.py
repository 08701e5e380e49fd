"""The Python SDK against a real server with a fake worker."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from PIL import Image
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_sockets

import streamgen
from streamgen.client import Stream, full_jitter_s
from streamgen.errors import CodecError, SessionError, SettingsError
from streamgen.frames import Frame, Output, Pixels
from tests.server.conftest import Running, running


def connect(server: Running, **options: Any) -> Stream:
    return streamgen.connect(server.url, **{"backoff_s": lambda attempt: 0.0, **options})


@pytest.fixture
async def server() -> AsyncIterator[Running]:
    async with running(clock=time.monotonic) as made:
        yield made


async def following(stream: Stream) -> Output:
    return await asyncio.wait_for(anext(stream), 10)


async def cut(server: Running, name: str) -> None:
    """Break the publisher's connection from the server's side, in a way that is worth coming back."""
    session = server.sessions.get(name)
    assert session is not None and session.publisher is not None
    session.publisher.end(4410, "too slow")


async def lose_and_return(server: Running, stream: Stream) -> None:
    """Break the publisher's connection and wait until it is back."""
    former = stream.welcome
    await cut(server, stream.session)
    async with asyncio.timeout(10):
        while stream.welcome is former:
            await asyncio.sleep(0)


async def test_frames_come_back_stylised_with_their_number_and_time(server: Running, picture: Pixels) -> None:
    async with connect(server, prompt="ink", width=320, height=192) as stream:
        for number in range(3):
            assert await stream.send(picture, captured_us=1000 + number) == number
            output = await following(stream)
            assert (output.seq, output.captured_us, output.settings_rev) == (number, 1000 + number, 0)
            assert output.pixels.shape == (192, 320, 3)
            assert abs(int(output.pixels.mean()) - server.worker.opened[stream.session].mark) <= 2
        assert output.timing.queued_ms == 1.5 and output.timing.engine_ms == 2.5 and output.timing.encode_ms > 0
        assert stream.settings.prompt == "ink"


async def test_the_capture_time_is_now_unless_given(server: Running, picture: Pixels) -> None:
    async with connect(server) as stream:
        before_us = time.time_ns() // 1000
        await stream.send(picture)
        assert before_us <= (await following(stream)).captured_us <= time.time_ns() // 1000


async def test_big_frames_and_raw_outputs_are_exact(server: Running) -> None:
    async with connect(server, width=1024, height=768, codec="raw") as stream:
        await stream.send(np.zeros((1080, 1920, 3), np.uint8))
        output = await following(stream)
        assert (output.pixels == server.worker.opened[stream.session].mark).all()
        assert server.worker.opened[stream.session].frames[0].pixels.shape == (1080, 1920, 3)


async def test_a_frame_that_would_be_too_big_a_message_is_sent_in_lower_quality(server: Running) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1400, 1400, 3), np.uint8)
    async with connect(server, send_quality=95, reconnect=False) as stream:
        await stream.send(noise)
        assert (await following(stream)).seq == 0


async def test_the_caller_may_reuse_its_array(server: Running, picture: Pixels) -> None:
    async with connect(server) as stream:
        mine = np.full((64, 64, 3), 200, np.uint8)
        await stream.send(mine)
        mine[:] = 0
        (frame,) = await server.worker.frames(stream.session, 1)
        assert frame.pixels.mean() > 190


async def test_send_keeps_the_newest_frame_while_the_window_is_full(server: Running, picture: Pixels) -> None:
    server.worker.automatic = False
    async with connect(server, max_fps=60) as stream:
        for _ in range(200):
            await stream.send(picture)
        assert await stream.send(np.full((64, 64, 3), 255, np.uint8)) == 200
        async with asyncio.timeout(10):
            frames = await server.worker.frames(stream.session, 1)
            while frames[-1].pixels.mean() < 250:
                frames = await server.worker.frames(stream.session, len(frames) + 1)
        assert len(frames) < 20
        server.worker.compute(stream.session, frames[-1])
        assert (await following(stream)).seq == 200


async def test_of_outputs_nobody_took_the_newest_is_handed_out(server: Running, picture: Pixels) -> None:
    async with connect(server) as stream:
        for seq in range(5):
            server.worker.compute(stream.session, Frame(picture, seq=seq))
            await stream.stats()
        assert (await following(stream)).seq == 1
        assert (await following(stream)).seq == 4


async def test_update_returns_what_is_in_force_and_how_it_was_understood(server: Running, picture: Pixels) -> None:
    async with connect(server) as stream:
        updated = await stream.update(prompt="oil", steps=2)
        assert (updated.rev, updated.understood, updated.styles) == (1, 1.0, {"oil": 1.0})
        assert (stream.settings.prompt, stream.settings.steps) == ("oil", 2)
        await stream.send(picture)
        assert (await following(stream)).settings_rev == 1


async def test_a_refused_update_names_the_field_and_the_stream_goes_on(server: Running, picture: Pixels) -> None:
    async with connect(server, prompt="ink") as stream:
        with pytest.raises(SettingsError) as caught:
            await stream.update(steps=9)
        assert (caught.value.code, caught.value.field) == ("invalid_settings", "steps")
        with pytest.raises(SettingsError) as caught:
            await stream.update(promt="x")
        assert caught.value.code == "unknown_setting"
        assert stream.settings.prompt == "ink"
        await stream.send(picture)
        assert (await following(stream)).settings_rev == 0


async def test_refused_settings_at_the_start_are_raised_at_once(server: Running) -> None:
    with pytest.raises(SettingsError) as caught:
        async with connect(server, strength=2):
            pass
    assert caught.value.field == "strength"
    with pytest.raises(SettingsError):
        async with connect(server, width=100):
            pass


async def test_outputs_with_alpha_come_unpacked(server: Running, picture: Pixels) -> None:
    async with connect(server, alpha=True, codec="raw", width=320, height=192) as stream:
        await stream.send(picture)
        output = await following(stream)
        assert output.pixels.shape == (192, 320, 4)
        assert (output.pixels == server.worker.opened[stream.session].mark).all()
        await stream.update(alpha=False)
        await stream.send(picture)
        assert (await following(stream)).pixels.shape == (192, 320, 3)


async def test_a_snapshot_is_a_png_without_loss(server: Running, picture: Pixels) -> None:
    async with connect(server) as stream:
        with pytest.raises(SessionError) as caught:
            await stream.snapshot()
        assert caught.value.code == "no_output_yet"
        await stream.send(picture)
        await following(stream)
        snapshot = await stream.snapshot()
        with Image.open(io.BytesIO(snapshot.png)) as image:
            assert image.size == (snapshot.width, snapshot.height) == (256, 256)
            assert (np.asarray(image) == server.worker.opened[stream.session].mark).all()


async def test_stats_are_the_servers(server: Running, picture: Pixels) -> None:
    async with connect(server) as stream:
        await stream.send(picture)
        await following(stream)
        stats = await stream.stats()
        assert (stats.frames_in, stats.frames_out, stats.backend) == (1, 1, "none")


async def test_many_requests_at_once_get_their_own_answers(server: Running) -> None:
    async with connect(server) as stream:
        answers = await asyncio.gather(*[stream.update(seed=seed) for seed in range(20)], stream.stats())
        assert [answer.settings.seed for answer in answers[:20]] == list(range(20))  # type: ignore[union-attr]


async def test_a_pause_stops_the_engine_and_outlives_a_lost_connection(server: Running, picture: Pixels) -> None:
    async with connect(server, session="cam") as stream:
        await stream.pause()
        await lose_and_return(server, stream)
        await stream.send(picture)
        async with asyncio.timeout(10):
            while (await stream.stats()).drops.get("paused", 0) == 0:
                pass
        assert server.worker.opened["cam"].frames == []
        await stream.resume()
        await stream.send(picture)
        assert (await following(stream)).pixels.shape == (256, 256, 3)


async def test_a_viewer_sees_the_publishers_outputs(server: Running, picture: Pixels) -> None:
    async with connect(server) as publisher, connect(server, role="view", session=publisher.session) as viewer:
        await publisher.send(picture, captured_us=77)
        assert (await following(viewer)).captured_us == 77
        with pytest.raises(SessionError) as caught:
            await viewer.send(picture)
        assert caught.value.code == "not_publisher"


async def test_viewing_what_does_not_exist_is_raised(server: Running) -> None:
    with pytest.raises(SessionError) as caught:
        async with connect(server, role="view", session="nobody"):
            pass
    assert (caught.value.code, caught.value.retryable) == ("no_such_session", True)


async def test_a_second_publisher_is_refused(server: Running) -> None:
    async with connect(server, session="cam"):
        with pytest.raises(SessionError) as caught:
            async with connect(server, session="cam"):
                pass
    assert caught.value.code == "publisher_exists"


@pytest.mark.parametrize("frame", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32)])
async def test_what_is_no_frame_is_refused_before_it_is_sent(server: Running, frame: Pixels) -> None:
    async with connect(server) as stream:
        with pytest.raises(CodecError):
            await stream.send(frame)


# ------------------------------------------------------------------------------------------- losing and coming back


async def test_after_a_loss_the_session_goes_on_and_frames_are_counted_on(server: Running, picture: Pixels) -> None:
    async with connect(server, session="cam", seed=5) as stream:
        await stream.update(prompt="ink")
        await stream.send(picture)
        assert (await following(stream)).seq == 0
        await lose_and_return(server, stream)
        assert await stream.send(picture) == 1
        output = await following(stream)
        assert (output.seq, output.settings_rev) == (1, 1)
        assert stream.welcome.resumed and stream.settings.prompt == "ink" and stream.settings.seed == 5


async def test_when_the_session_has_expired_it_is_opened_anew_with_its_settings(picture: Pixels) -> None:
    async with running(resume_seconds=0.0, clock=time.monotonic) as server:
        gone = asyncio.Event()

        def wait_until_gone(attempt: int) -> float:
            gone.set()
            return 0.05

        async with connect(server, session="cam", backoff_s=wait_until_gone) as stream:
            await stream.update(prompt="ink", steps=3)
            await cut(server, "cam")
            await asyncio.wait_for(gone.wait(), 10)
            await stream.send(picture)
            assert (await following(stream)).seq == 0
            assert not stream.welcome.resumed
            assert (stream.session, stream.settings.prompt, stream.settings.steps) == ("cam", "ink", 3)


async def test_an_unreachable_server_is_raised_at_the_first_try() -> None:
    async with running() as server:
        url = server.url
    with pytest.raises(SessionError) as caught:
        async with streamgen.connect(url):
            pass
    assert (caught.value.code, caught.value.retryable) == ("unreachable", True)


async def test_a_server_that_says_nothing_is_given_up_in_time() -> None:
    async def silent(socket: ServerConnection) -> None:
        await socket.wait_closed()

    async with serve_sockets(silent, "127.0.0.1", 0, subprotocols=["streamgen.v1"]) as silence:  # type: ignore[list-item]
        port = silence.sockets[0].getsockname()[1]
        with pytest.raises(SessionError) as caught:
            async with streamgen.connect(f"ws://127.0.0.1:{port}/ws", connect_timeout_s=0.05):
                pass
    assert caught.value.code == "unreachable"


@pytest.mark.parametrize("url", ["http://127.0.0.1/ws", "nonsense"])
async def test_what_is_no_websocket_address_is_raised(url: str) -> None:
    with pytest.raises(SessionError) as caught:
        async with streamgen.connect(url):
            pass
    assert (caught.value.code, caught.value.retryable) == ("unreachable", False)


async def test_a_stream_without_reconnection_ends_with_the_reason(server: Running) -> None:
    async with connect(server, session="cam", reconnect=False) as stream:
        await cut(server, "cam")
        with pytest.raises(SessionError) as caught:
            await following(stream)
        assert caught.value.code == "too_slow"


async def test_a_session_taken_over_by_another_is_not_fought_for(server: Running, picture: Pixels) -> None:
    async with connect(server, session="cam") as stream:
        other = await server.peer()
        assert (await other.hello(resume=stream.welcome.resume))["resumed"]
        with pytest.raises(SessionError) as caught:
            await following(stream)
        assert caught.value.code == "publisher_exists"
        with pytest.raises(SessionError):
            await stream.send(picture)


async def test_a_request_that_the_connection_was_lost_under_is_raised(server: Running) -> None:
    async with connect(server, session="cam", backoff_s=lambda attempt: 60.0) as stream:
        await stream.stats()
        server.worker.automatic = False
        asking = asyncio.create_task(stream.update(steps=2))
        async with asyncio.timeout(10):
            while server.worker.opened["cam"].rev == 0:
                await asyncio.sleep(0)
        await cut(server, "cam")
        with pytest.raises(SessionError) as caught:
            await asking
        assert (caught.value.code, caught.value.retryable) == ("connection_lost", True)


async def test_an_answer_that_does_not_come_is_not_waited_for_for_ever(server: Running) -> None:
    async with connect(server, request_timeout_s=0.05) as stream:
        server.worker.automatic = False
        with pytest.raises(SessionError) as caught:
            await stream.update(steps=2)
        assert caught.value.code == "no_answer"


# ------------------------------------------------------------------------------------------------------------- closing


async def test_closing_ends_the_session_and_the_iteration(server: Running, picture: Pixels) -> None:
    async with connect(server) as stream:
        name = stream.session
        reading = asyncio.create_task(_all_of(stream))
        await stream.close()
        assert await asyncio.wait_for(reading, 10) == []
        await server.worker.gone(name)
        with pytest.raises(SessionError):
            await stream.send(picture)
        with pytest.raises(SessionError):
            await stream.update(steps=2)
        await stream.close()


async def _all_of(stream: Stream) -> list[Output]:
    return [output async for output in stream]


async def test_a_stream_must_be_entered_first(picture: Pixels) -> None:
    stream = streamgen.connect("ws://127.0.0.1:1/ws")
    with pytest.raises(SessionError):
        await stream.send(picture)
    with pytest.raises(SessionError):
        _ = stream.session


async def test_an_error_in_the_callers_block_closes_the_session(server: Running) -> None:
    with pytest.raises(ZeroDivisionError):
        async with connect(server, session="cam"):
            raise ZeroDivisionError
    await server.worker.gone("cam")


def test_the_wait_before_coming_back_is_random_and_bounded() -> None:
    waits = [full_jitter_s(attempt) for attempt in range(2000)]
    assert all(0 <= wait <= min(30, 0.5 * 2 ** min(attempt, 10)) for attempt, wait in enumerate(waits))
    assert len(set(waits)) > 1900


def test_the_sdk_imports_fast_and_without_torch_or_a_server() -> None:
    program = (
        "import sys, streamgen; streamgen.connect;"
        "print([name for name in ('torch', 'fastapi', 'uvicorn', 'av', 'starlette') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
