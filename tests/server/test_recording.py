"""Recordings through the server and a real worker process: what is computed again is what was live, bit for bit."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import pytest_asyncio
import torch

import streamgen
from streamgen.cli.app import main
from streamgen.config import ServerConfig
from streamgen.engine import build_engine
from streamgen.engine.replay import Replay, spec_of
from streamgen.frames import Output, Pixels
from streamgen.lossless import read_lossless
from streamgen.models.tiny import TinyModel
from streamgen.models.tiny_unet import TinyUNet
from streamgen.models.tiny_weights import load_network, save_network
from streamgen.recording import Recording
from streamgen.server.pool import Worker
from streamgen.timeline import Ended, parse_event
from tests.server.conftest import Running, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

SMALL = {"width": 128, "height": 128}
LIVELY = {"prompt": "pencil sketch", "seed_speed": 2.0, "feedback": 0.5, "transition_ms": 300, "max_fps": 60}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def weights(folder: Path) -> Path:
    """Of a network with random numbers, under the names of the styles that are shipped."""

    _, names = load_network(TinyModel.default_weights)
    torch.manual_seed(7)
    network = TinyUNet(styles=len(names))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    save_network(network, names, folder / "random.safetensors")
    return folder / "random.safetensors"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(folder: Path, weights: Path) -> AsyncIterator[Running]:
    config = ServerConfig(port=0, backend="eager", dtype="float32", threads=1, weights=weights, data=folder, min_fps=1)
    async with running(Worker(config), time.monotonic, config=config) as made:  # type: ignore[arg-type]
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def http(server: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.http) as client:
        yield client


def picture(index: int, side: int = 96) -> Pixels:
    rows, columns = np.mgrid[:side, :side]
    noise = np.random.default_rng(index).integers(0, 40, (side, side, 3))
    return (np.stack([rows * 2 + index * 5, columns * 2, rows + columns], -1) % 200 + noise).astype(np.uint8)


def recording_of(folder: Path, name: str) -> Recording:
    return Recording.open(folder / "recordings" / f"{name}.jsonl")


def replayed(recording: Recording, **options: Any) -> list[Output]:
    replay = Replay(recording, lambda model: build_engine(spec_of(model), model.backend, model.threads), **options)
    outputs = list(replay.pictures())
    replay.close()
    return outputs


def events_of(folder: Path, name: str) -> list[Any]:
    return [parse_event(line + b"\n") for line in (folder / "recordings" / f"{name}.jsonl").read_bytes().splitlines()]


def listen(server: Running, name: str) -> list[Output]:
    """Every picture of a session from now on, as the engine made it."""
    session = server.sessions.get(name)
    assert session is not None
    live: list[Output] = []
    tell = session.on_output

    def hear(output: Output, *, gap: bool) -> None:
        live.append(output)
        tell(output, gap=gap)

    session.on_output = hear  # type: ignore[method-assign]
    return live


async def test_what_is_computed_again_is_what_was_live_bit_for_bit(
    server: Running, http: httpx.AsyncClient, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"connect_timeout_s": 60, "request_timeout_s": 60, **SMALL, **LIVELY}
    async with streamgen.connect(server.url, session="cam", **options) as stream:
        live = listen(server, "cam")

        async def show(first: int, count: int, side: int = 96) -> None:
            for index in range(first, first + count):
                await stream.send(picture(index, side))
                await anext(stream)

        await show(0, 3)
        live.clear()
        began = await http.post("/api/v1/sessions/cam/recording", json={"what": "input"})
        assert began.status_code == 201
        await show(3, 5)
        await stream.update(prompt="van gogh", steps=2)  # fades while the next ones are computed
        await show(8, 4)
        await show(12, 3, side=64)
        await stream.reformat(width=160, height=128)
        await stream.update(seed=9, strength=0.7)
        await show(15, 4)
        [status] = (await http.delete("/api/v1/sessions/cam/recording")).json()["recordings"]
    assert status["lost"] == 0 and status["frames"] >= 16
    recording = recording_of(folder, status["name"])
    assert recording.survey.complete and recording.survey.missing == 0
    again = {output.seq: output for output in replayed(recording)}
    shown = {output.seq: output for output in live}
    assert len(again) >= 16 and set(shown) <= set(again)
    assert {output.pixels.shape for output in shown.values()} == {(128, 128, 3), (128, 160, 3)}
    for seq, output in shown.items():
        np.testing.assert_array_equal(output.pixels, again[seq].pixels)
        assert output.settings_rev == again[seq].settings_rev

    # The command writes the same into files, one for each size.
    assert main(["replay", str(recording.timeline), str(tmp_path / "again.mkv")]) == 0
    written = [*read_lossless(tmp_path / "again.mkv"), *read_lossless(tmp_path / "again-2.mkv")]
    for output, pixels in zip(again.values(), written, strict=True):
        np.testing.assert_array_equal(output.pixels, pixels)
    assert "not bit for bit" not in capsys.readouterr().err

    # In another size it is another picture, and says so.
    assert main(["replay", str(recording.timeline), str(tmp_path / "wide.mp4"), "--size", "192x128"]) == 0
    assert "not bit for bit" in capsys.readouterr().err


async def test_a_prompt_stream_is_computed_again_from_the_clock_alone(
    server: Running, http: httpx.AsyncClient, folder: Path
) -> None:
    settings = {"source": "prompt", "prompt": "ink", "seed_speed": 1.0, "max_fps": 20}
    options = {"connect_timeout_s": 60, "request_timeout_s": 60, **SMALL, **settings}
    async with streamgen.connect(server.url, session="dream", **options) as stream:
        live = listen(server, "dream")
        assert (await http.post("/api/v1/sessions/dream/recording", json={"what": "input"})).status_code == 201
        live.clear()
        async with asyncio.timeout(60):
            while len(live) < 6:
                await anext(stream)
        [status] = (await http.delete("/api/v1/sessions/dream/recording?what=input")).json()["recordings"]
    recording = recording_of(folder, status["name"])
    assert recording.survey.given == 0
    again = {output.seq: output.pixels for output in replayed(recording)}
    shown = {output.seq: output.pixels for output in live if output.seq in again}
    assert len(shown) >= 4
    for seq, pixels in shown.items():
        np.testing.assert_array_equal(pixels, again[seq])


async def test_the_end_of_a_session_completes_its_recording(
    server: Running, http: httpx.AsyncClient, folder: Path
) -> None:
    async with streamgen.connect(
        server.url, session="short", connect_timeout_s=60, request_timeout_s=60, **SMALL
    ) as stream:
        name = (await http.post("/api/v1/sessions/short/recording", json={"what": "input"})).json()["name"]
        [status] = (await http.get("/api/v1/sessions/short/recording")).json()["recordings"]
        assert (status["what"], status["name"]) == ("input", name)
        again = await http.post("/api/v1/sessions/short/recording", json={"what": "input"})
        assert (again.status_code, again.json()["code"]) == (409, "already_recording")
        await stream.send(picture(1))
        await anext(stream)
    path = folder / "recordings" / f"{name}.jsonl"
    async with asyncio.timeout(20):
        while b'"ended"' not in path.read_bytes():
            await asyncio.sleep(0)
    assert parse_event(path.read_bytes().splitlines()[-1]) == Ended(reason="session_ended", frames=1, lost=0)


async def test_other_weights_than_the_recordings_are_refused_unless_asked_for(
    server: Running, http: httpx.AsyncClient, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with streamgen.connect(
        server.url, session="own", connect_timeout_s=60, request_timeout_s=60, **SMALL
    ) as stream:
        name = (await http.post("/api/v1/sessions/own/recording", json={"what": "input"})).json()["name"]
        await stream.send(picture(1))
        await anext(stream)
        await http.delete("/api/v1/sessions/own/recording")
    timeline = folder / "recordings" / f"{name}.jsonl"
    foreign = re.sub(rb'"weights":"[0-9a-f]{64}"', b'"weights":"' + b"0" * 64 + b'"', timeline.read_bytes())
    timeline.write_bytes(foreign)
    output = tmp_path / "out.mkv"
    assert main(["replay", str(timeline), str(output)]) == 2
    assert "the weights differ" in capsys.readouterr().err
    assert not output.exists()
    assert main(["replay", str(timeline), str(output), "--any-weights", "--every-frame"]) == 0
    assert "the weights differ" in capsys.readouterr().err
    # A recording that was cut off is computed up to there, and the exit code tells.
    timeline.write_bytes(b"".join(timeline.read_bytes().splitlines(keepends=True)[:-1]))
    assert main(["replay", str(timeline), str(output), "--any-weights"]) == 2
    assert "cut off" in capsys.readouterr().err
    assert len(list(read_lossless(output))) == 1
