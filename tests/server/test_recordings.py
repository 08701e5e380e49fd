"""The recording API with a fake worker: who may, what is refused, output files, and disks that are full."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import av
import httpx
import pytest

from streamgen.server import recordings as module
from streamgen.timeline import Header, parse_event
from tests.server.conftest import Running, running
from tests.server.outputs import flowing, marked
from tests.server.test_recorder import FullDisk

CAM = "/api/v1/sessions/cam/recording"
BUSY_S = 30.0


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(data=tmp_path) as made:
        yield made


@pytest.fixture
async def http(server: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.http, timeout=BUSY_S) as client:
        yield client


@pytest.mark.parametrize("format", ["mp4", "webm"])
async def test_what_a_session_shows_is_recorded_into_a_file_that_plays(
    server: Running, http: httpx.AsyncClient, tmp_path: Path, format: str
) -> None:
    peer = await server.publisher(session="cam")
    answer = await http.post(CAM, json={"what": "output", "format": format})
    assert answer.status_code == 201
    name = answer.json()["name"]
    assert name.endswith(f".{format}") and "/" not in name
    async with flowing(server, peer, marked(50, 128), marked(200, 128)), asyncio.timeout(BUSY_S):
        while (await http.get(CAM)).json()["recordings"][0]["frames"] < 3:
            server.clock.now_s += 0.1
    [status] = (await http.delete(CAM, params={"what": "output"})).json()["recordings"]
    assert status["name"] == name and status["frames"] >= 3
    with av.open(str(tmp_path / "recordings" / name)) as container:
        assert len(list(container.decode(video=0))) == status["frames"]
    assert (await http.delete(CAM)).json()["code"] == "not_recording"


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/api/v1/sessions/nobody/recording", {"what": "input"}, 404, "no_such_session"),
        (CAM, {"what": "both"}, 400, "invalid_message"),
        (CAM, {}, 400, "invalid_message"),
        (CAM, {"what": "output", "format": "exe"}, 400, "invalid_message"),
        (CAM, {"what": "input", "file": "/tmp/x"}, 400, "invalid_message"),
    ],
)
async def test_what_cannot_be_recorded_is_a_typed_error(
    server: Running, http: httpx.AsyncClient, path: str, body: dict[str, Any], status: int, code: str
) -> None:
    await server.publisher(session="cam")
    answer = await http.post(path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_recordings_are_for_those_alone_who_may_come_in(tmp_path: Path) -> None:
    async with running(data=tmp_path, token="s3cret") as server, httpx.AsyncClient(base_url=server.http) as http:
        for method in ("GET", "POST", "DELETE"):
            assert (await http.request(method, CAM)).status_code == 401


async def test_a_server_without_a_folder_says_so() -> None:
    async with running() as server, httpx.AsyncClient(base_url=server.http) as http:
        await server.publisher(session="cam")
        answer = await http.post(CAM, json={"what": "input"})
        assert (answer.status_code, answer.json()["code"]) == (507, "recording_failed")


async def test_with_record_every_session_is_recorded_under_names_of_the_servers_own(tmp_path: Path) -> None:
    async with running(record=tmp_path / "all") as server:
        for name in ("one", "two"):
            await server.publisher(session=name)
        async with asyncio.timeout(BUSY_S):
            while not all(opened.recorded for opened in server.worker.opened.values()):
                await asyncio.sleep(0)
    headers = [parse_event(path.read_bytes().splitlines()[0]) for path in (tmp_path / "all").iterdir()]
    assert sorted(header.session for header in headers if isinstance(header, Header)) == ["one", "two"]


async def test_a_disk_that_fills_up_ends_the_recording_and_the_session_lives_on(
    server: Running, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [30_000]

    class Full(module.Recorder):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, open_file=lambda path: FullDisk(path, left))  # type: ignore[arg-type, return-value]

    monkeypatch.setattr(module, "Recorder", Full)
    peer = await server.publisher(session="cam")
    assert (await http.post(CAM, json={"what": "input"})).status_code == 201
    for seq in range(12):
        server.clock.now_s += 1
        await peer.frame(marked(seq, 128), seq)
        header, _ = await peer.see() if seq == 0 else (None, None)
        if header is not None:
            await peer.say("ack", seq=header.seq)
    warning = await peer.hear("warning")
    assert warning["code"] == "recording_failed"
    assert (await http.get(CAM)).json() == {"recordings": []}
    assert not server.worker.opened["cam"].recorded
    assert (await peer.ask("stats"))["type"] == "stats"
