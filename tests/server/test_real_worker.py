"""The whole way through server, worker process and embedded model: prompt streams, and changes while frames flow."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

import streamgen
from streamgen.client import Stream
from streamgen.config import ModelSpec, ServerConfig
from streamgen.errors import ConfigError, SessionError, SettingsError, WeightsError
from streamgen.frames import Output, Pixels
from streamgen.server.pool import Worker
from streamgen.wire import parse_frame
from tests.server.conftest import Peer, Running, running
from tests.test_examples import load

pytestmark = pytest.mark.asyncio(loop_scope="module")

SMALL = {"width": 128, "height": 128}
TIMEOUT_S = 60


class Models(ServerConfig):
    """The embedded model under two names, the second with fewer steps, and one that cannot be loaded."""

    @property
    def specs(self) -> dict[str, ModelSpec]:
        tiny = self.spec
        return {
            "tiny": tiny,
            "again": replace(tiny, max_steps=2),
            "broken": replace(tiny, weights=Path("/nowhere/broken.safetensors")),
        }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Running]:
    config = Models(port=0, backend="eager", dtype="float32", threads=1)
    async with running(Worker(config), time.monotonic, config=config) as made:  # type: ignore[arg-type]
        yield made


def connect(server: Running, **options: Any) -> Stream:
    options = {"connect_timeout_s": TIMEOUT_S, "request_timeout_s": TIMEOUT_S, "max_fps": 60, **SMALL, **options}
    if options.get("role") == "view":
        options = {name: value for name, value in options.items() if name not in (*SMALL, "max_fps")}
    return streamgen.connect(server.url, **options)


async def take(stream: Stream, count: int) -> list[Output]:
    async with asyncio.timeout(TIMEOUT_S):
        return [await anext(stream) for _ in range(count)]


@asynccontextmanager
async def sending(stream: Stream, picture: Pixels) -> AsyncIterator[list[Output]]:
    """Send the picture all the time; what came back until now is in the list."""
    outputs: list[Output] = []

    async def send() -> None:
        while True:
            await stream.send(picture)
            outputs.append(await anext(stream))

    task = asyncio.create_task(send())
    try:
        yield outputs
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            await task


async def grow(outputs: list[Output], count: int) -> None:
    """Wait for so many more outputs."""
    enough = len(outputs) + count
    async with asyncio.timeout(TIMEOUT_S):
        while len(outputs) < enough:
            await asyncio.sleep(0)


def difference(one: Output, other: Output) -> float:
    return float(np.abs(one.pixels.astype(int) - other.pixels).mean())


# ------------------------------------------------------------------------------------------------------ prompt streams


async def test_a_prompt_stream_brings_pictures_though_none_are_sent(server: Running) -> None:
    began_us = time.time_ns() // 1000
    async with connect(server, source="prompt", prompt="van gogh", seed=3) as stream:
        outputs = await take(stream, 5)
        assert stream.settings.source == "prompt"
    assert {output.pixels.shape for output in outputs} == {(128, 128, 3)}
    assert all(earlier.seq < later.seq for earlier, later in itertools.pairwise(outputs))
    stamps = [output.captured_us for output in outputs]
    assert began_us <= stamps[0] and stamps == sorted(stamps) and stamps[-1] <= time.time_ns() // 1000
    assert outputs[0].pixels.std() > 10
    assert difference(outputs[0], outputs[-1]) > 0


async def test_the_example_of_a_prompt_stream_runs_as_it_stands(
    server: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    await load("prompt_stream").main(server.url)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 20
    assert "(256, 256, 3)" in lines[0]  # the embedded model's own size


async def test_a_prompt_stream_counts_from_0_and_keeps_to_its_rate(server: Running) -> None:
    peer = await server.publisher(format=SMALL, settings={"source": "prompt", "max_fps": 20})
    headers = []
    for _ in range(6):
        header, _ = await peer.see()
        await peer.say("ack", seq=header.seq)
        headers.append(header)
    assert [header.source_seq for header in headers][:2] == [0, 1]
    seconds = (headers[-1].captured_us - headers[0].captured_us) / 1e6
    assert seconds >= (headers[-1].source_seq - headers[0].source_seq) / 20 - 0.045
    await peer.say("bye")
    await peer.closed()


async def test_a_viewer_sees_a_prompt_stream_and_goes_on_when_its_publisher_is_lost(server: Running) -> None:
    publisher = await server.publisher(session="dream", format=SMALL, settings={"source": "prompt", "max_fps": 60})
    async with connect(server, role="view", session="dream") as viewer:
        first = await take(viewer, 2)
        publisher.socket.transport.abort()
        await publisher.socket.wait_closed()
        async with asyncio.timeout(TIMEOUT_S):
            while (session := server.sessions.get("dream")) is not None and session.publisher is not None:
                await asyncio.sleep(0)
        later = await take(viewer, 4)
        assert later[-1].seq > first[-1].seq
    assert session is not None
    server.sessions.end(session)


async def test_frames_sent_to_a_prompt_stream_are_counted_as_source(server: Running, picture: Pixels) -> None:
    async with connect(server, source="prompt") as stream:
        for _ in range(3):
            await stream.send(picture)
            await take(stream, 1)
        async with asyncio.timeout(TIMEOUT_S):
            while (await stream.stats()).drops.get("source", 0) < 2:
                pass
        await stream.update(source="frames")
        await take_until(stream, await stream.send(picture, captured_us=7), captured_us=7)


async def take_until(stream: Stream, seq: int, captured_us: int) -> None:
    """Skip pictures until the one of a frame that was sent."""
    async with asyncio.timeout(TIMEOUT_S):
        async for output in stream:
            if (output.seq, output.captured_us) == (seq, captured_us):
                return


async def test_pausing_a_prompt_stream_stops_it_and_resuming_starts_it_again(server: Running) -> None:
    async with connect(server, source="prompt") as stream, connect(server, source="prompt") as metronome:
        await take(stream, 1)
        await stream.pause()
        await stream.update(seed=1)  # answered after the worker has obeyed both
        made = (await stream.stats()).frames_out
        await take(metronome, 8)
        assert (await stream.stats()).frames_out == made
        await stream.resume()
        last = (await take(stream, 3))[-1]
        assert last.settings_rev == 1


# ------------------------------------------------------------------------------------------------------------ reformat


async def hear_all(peer: Peer, pictures_after: int) -> list[Any]:
    """Headers of pictures and formats of ``reformatted``, in their order, until so many pictures after the latter."""
    heard: list[Any] = []
    async with asyncio.timeout(TIMEOUT_S):
        while pictures_after:
            data = await peer.socket.recv()
            if isinstance(data, bytes):
                header = parse_frame(data)[0]
                heard.append((header.width, header.height, header.source_seq))
                await peer.say("ack", seq=header.seq)
                pictures_after -= any(isinstance(item, str) for item in heard)
            elif '"reformatted"' in data:
                heard.append("reformatted")
    return heard


@pytest.mark.parametrize("source", ["prompt", "frames"])
async def test_another_format_comes_without_a_gap_and_never_out_of_order(
    server: Running, picture: Pixels, source: str
) -> None:
    publisher = await server.publisher(session="cam", format=SMALL, settings={"source": source, "max_fps": 60})
    viewer = await server.viewer("cam")

    async def send() -> None:
        for seq in itertools.count():
            await publisher.frame(picture, seq=seq)
            await asyncio.sleep(1 / 50)

    task = asyncio.create_task(send())
    watchers = [asyncio.create_task(hear_all(peer, 5)) for peer in (publisher, viewer)]
    await publisher.say("reformat", format={"width": 256, "height": 160}, ref="f")
    for watcher in watchers:
        heard = await watcher
        at = heard.index("reformatted")
        assert {item[:2] for item in heard[:at]} <= {(128, 128)}
        assert {item[:2] for item in heard[at + 1 :]} == {(256, 160)}
        seqs = [item[2] for item in heard if item != "reformatted"]
        assert seqs == sorted(set(seqs))
    task.cancel()
    await asyncio.wait([task])
    await publisher.say("bye")
    await publisher.closed()


async def test_the_sdk_changes_the_format_and_its_viewers_learn_of_it(server: Running) -> None:
    async with connect(server, source="prompt", fit="contain") as stream:
        async with connect(server, role="view", session=stream.session) as viewer:
            await take(viewer, 1)
            format = await stream.reformat(width=192)
            assert (format.width, format.height, format.fit) == (192, 128, "contain")
            assert stream.format == format
            assert (await take(stream, 2))[-1].pixels.shape == (128, 192, 3)
            assert (await take(viewer, 2))[-1].pixels.shape == (128, 192, 3)
            assert viewer.format == format
            with pytest.raises(SessionError, match="only the publisher"):
                await viewer.reformat(width=128)
        with pytest.raises(SettingsError) as caught:
            await stream.reformat(height=100)
        assert caught.value.field == "height"
        assert (await take(stream, 2))[-1].pixels.shape == (128, 192, 3)


async def test_pictures_are_upscaled_from_one_format_on_and_no_longer_from_another(server: Running) -> None:
    async with connect(server, source="prompt") as stream:
        for side, upscale in ((256, 2), (512, 4), (128, 1)):
            await stream.reformat(side, side, upscale=upscale)
            [*_, output] = await take(stream, 2)
            assert output.pixels.shape == (side, side, 3) and output.pixels.any()


async def test_a_session_that_changes_its_format_never_meets_its_neighbour(server: Running) -> None:
    """Strength 0 gives the plain frame back, so a colour tells whose it is."""
    colours = {"a": (200, 30, 30), "b": (30, 30, 200)}
    async with connect(server, strength=0.0) as a, connect(server, strength=0.0) as b:
        streams = {"a": a, "b": b}
        sizes: dict[str, set[tuple[int, int]]] = {"a": set(), "b": set()}

        async def exchange(name: str) -> None:
            pixels = np.full((64, 64, 3), colours[name], np.uint8)
            for _ in range(12):
                await streams[name].send(pixels)
                [output] = await take(streams[name], 1)
                assert np.abs(output.pixels.mean((0, 1)) - colours[name]).max() < 6
                sizes[name].add(output.pixels.shape[:2])  # type: ignore[arg-type]

        async def change() -> None:
            for width in (160, 192, 128, 224):
                await a.reformat(width=width)

        await asyncio.gather(exchange("a"), exchange("b"), change())
        await exchange("a")
        assert (128, 224) in sizes["a"]
        assert sizes["b"] == {(128, 128)}


# -------------------------------------------------------------------------------------------------------------- switch


async def test_another_model_takes_over_while_frames_flow(
    server: Running, picture: Pixels, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "streamgen.server.pool")
    async with connect(server, prompt="comic", seed=7, steps=4, transition_ms=0) as stream:
        async with connect(server, role="view", session=stream.session) as viewer, sending(stream, picture) as outputs:
            await grow(outputs, 2)
            before = len(outputs)
            switched = await stream.switch("again")
            during = len(outputs) - before
            assert (switched.model, switched.backend) == ("again", "eager float32")
            assert switched.unused == tuple(sorted(switched.unused)) and "loras" in switched.unused
            async with asyncio.timeout(TIMEOUT_S):
                while stream.settings.steps == 4:  # what the new model cannot do is fitted to it
                    await asyncio.sleep(0)
            assert (stream.settings.steps, stream.settings.seed, stream.settings.prompt) == (2, 7, "comic")
            await stream.update(transition_ms=1)
            await grow(outputs, 2)
            assert during > 0
            assert outputs[-1].settings_rev == 2
            seqs = [output.seq for output in outputs]
            assert seqs == sorted(set(seqs))
            async with asyncio.timeout(TIMEOUT_S):
                while viewer.welcome.model != "again" or viewer.settings.steps != 2:
                    await asyncio.sleep(0)
        with pytest.raises(SettingsError):
            await stream.update(steps=3)
        await stream.switch("tiny")
    async with asyncio.timeout(TIMEOUT_S):
        while caplog.text.count("gave back") < 2:
            await asyncio.sleep(0)


async def test_the_same_weights_under_another_name_make_the_same_picture(server: Running, picture: Pixels) -> None:
    async with connect(server, prompt="pencil", seed=9) as stream:
        await stream.send(picture)
        [before] = await take(stream, 1)
        await stream.switch("again")
        await stream.send(picture)
        [after] = await take(stream, 1)
        assert difference(before, after) < 1
        assert stream.settings.seed == 9


async def test_a_model_that_is_unknown_or_cannot_be_loaded_leaves_the_present_one(
    server: Running, picture: Pixels
) -> None:
    async with connect(server) as stream:
        present = server.worker.info
        with pytest.raises(ConfigError) as caught:
            await stream.switch("sdxl")
        assert (caught.value.code, caught.value.field) == ("unknown_model", "model")
        with pytest.raises(WeightsError) as caught:
            await stream.switch("broken")
        assert caught.value.code == "weights_missing"
        assert server.worker.info == present
        await stream.send(picture)
        await take(stream, 1)


async def test_the_embedded_model_takes_no_reference_picture_and_says_so(server: Running, picture: Pixels) -> None:
    async with connect(server) as stream:
        assert not stream.welcome.reference
        with pytest.raises(SettingsError) as caught:
            await stream.reference(picture)
        assert caught.value.code == "no_reference"
        await stream.reference(None)
        await stream.send(picture)
        await take(stream, 1)


async def test_a_worker_that_dies_comes_back_with_the_model_that_was_in_force(server: Running, picture: Pixels) -> None:
    worker: Any = server.worker
    async with connect(server, prompt="comic", source="prompt") as stream:
        await stream.switch("again")
        await take(stream, 1)
        os.kill(worker._current.process.pid, signal.SIGKILL)
        async with asyncio.timeout(TIMEOUT_S):
            while worker.ready:
                await asyncio.sleep(0)
            while not worker.ready:
                await asyncio.sleep(0.01)
        await stream.update(seed=1)
        async with asyncio.timeout(TIMEOUT_S):
            while (await anext(stream)).settings_rev != 1:
                pass
        assert (worker.info.model, worker.info.max_steps) == ("again", 2)
        with pytest.raises(SettingsError):
            await stream.update(steps=3)


async def test_a_worker_that_dies_while_it_loads_a_model_says_so_to_who_asked(server: Running) -> None:
    worker: Any = server.worker
    async with connect(server) as stream:
        present = worker.info.model
        os.kill(worker._current.process.pid, signal.SIGSTOP)  # it cannot answer any more
        asking = asyncio.create_task(stream.switch("tiny"))
        async with asyncio.timeout(TIMEOUT_S):
            while worker._switch is None:
                await asyncio.sleep(0)
        os.kill(worker._current.process.pid, signal.SIGKILL)
        with pytest.raises(streamgen.StreamgenError) as caught:
            await asking
        assert (caught.value.code, caught.value.retryable) == ("worker_died", True)
        async with asyncio.timeout(TIMEOUT_S):
            while not worker.ready:
                await asyncio.sleep(0.01)
        assert worker.info.model == present
