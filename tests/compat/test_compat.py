"""Both SDKs and a stranger's client, end to end: the golden vectors, and a real server whose engine changes nothing."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_sockets
from websockets.typing import Subprotocol

from streamgen.frames import Frame, Output, Pixels, Timing
from tests.compat.program import at_work, node_package, tool
from tests.server.conftest import Running, running
from tests.server.fake import FakeWorker

HERE = Path(__file__).parent
GOLDEN = json.loads((HERE.parent / "golden" / "protocol.json").read_text())
STRANGER = HERE.parents[1] / "docs" / "examples" / "stranger.rs"
TOKEN = "open sesame:1?>"
SIZE = (256, 192)
LANGUAGES = ["python", "javascript", "javascript, node's own socket"]
INVALID = GOLDEN["settings"]["invalid"]


class IdentityWorker(FakeWorker):
    """An engine that gives every frame back as it came; frames have to have the session's format."""

    def compute(self, session: str, frame: Frame, *, gap: bool = False, warm_up: bool = False) -> None:
        opened = self.opened.get(session)
        if opened is not None:
            timing = Timing(queued_ms=1.5, engine_ms=2.5)
            output = Output(frame.pixels, frame.seq, frame.captured_us, opened.rev, timing, warm_up)
            opened.listener.on_output(output, gap=gap)


@pytest.fixture
async def server() -> AsyncIterator[Running]:
    async with running(IdentityWorker(), clock=time.monotonic, token=TOKEN, max_sessions=4) as made:
        yield made


def command(language: str, mode: str, url: str, folder: Path) -> list[str]:
    if language == "python":
        return [sys.executable, str(HERE / "client.py"), mode, url, str(folder)]
    script = [str(HERE / "client.mjs"), mode, url, str(folder)]
    if language == "javascript, node's own socket":
        return [tool("node"), "--no-warnings", "--experimental-websocket", *script]  # from 22 on without being asked
    return [tool("node"), *script, str(node_package("ws") / "wrapper.mjs")]


@pytest.fixture
def photo(tmp_path: Path) -> Pixels:
    """uint8 [192, 256, 3], also in the folder with what the clients are to do."""
    y, x = np.mgrid[0 : SIZE[1], 0 : SIZE[0]]
    pixels = np.stack([x, y, 255 - x // 2 - y // 2], axis=-1).astype(np.uint8)
    (tmp_path / "photo.rgb").write_bytes(pixels.tobytes())
    (tmp_path / "photo.jpg").write_bytes(simplejpeg.encode_jpeg(pixels, quality=95, colorspace="RGB"))
    task = {"size": SIZE, "token": TOKEN, "refused": [vector["changes"] for vector in INVALID]}
    (tmp_path / "task.json").write_text(json.dumps(task))
    return pixels


async def cut(server: Running, name: str) -> None:
    session = server.sessions.get(name)
    assert session is not None and session.publisher is not None
    session.publisher.end(4410, "too slow")


@pytest.mark.parametrize("language", LANGUAGES)
async def test_an_sdk_does_all_there_is_to_do(server: Running, photo: Pixels, tmp_path: Path, language: str) -> None:
    async with at_work(*command(language, "live", server.url, tmp_path)) as client:
        assert await client.line() == {"session": "cam", "role": "publish", "model": "fake", "prompt": "ink"}
        assert await client.line() == {"captured_us": 1_780_000_000_000_001, "rev": 0, "queued_ms": 1.5}
        expected = [["SettingsError", vector["code"], vector["field"]] for vector in INVALID]
        assert (await client.line())["refused"] == expected
        assert await client.line() == {"rev": 1, "prompt": "oil", "steps": 2, "styles": {"oil": 1.0}}
        assert await client.line() == {"width": SIZE[0], "height": SIZE[1]}
        assert await client.line() == {"frames_in": 1, "frames_out": 1, "drops": {}}
        assert await client.line() == {"format": {"width": 320, "height": SIZE[1], "fit": "cover", "upscale": 1}}
        assert [await client.line(), await client.line()] == [{"paused": True}, {"paused": False}]
        assert await client.line() == {"cut": True}
        await cut(server, "cam")
        assert await client.line() == {"resumed": True, "prompt": "oil", "width": 320}
        assert await client.line() == {"sent": 1, "replaced": 0, "received": 1, "again": 1}
        assert await client.line() == {"states": ["open", "reconnecting", "connecting", "open", "closed"]}
        assert await client.end() == (0, "")
    output = np.frombuffer((tmp_path / "output.rgb").read_bytes(), np.uint8).reshape(photo.shape)
    assert np.abs(output.astype(int) - photo).mean() < 3
    assert (tmp_path / "snapshot.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("language", LANGUAGES)
async def test_an_sdk_understands_every_golden_message_of_a_server(
    photo: Pixels, tmp_path: Path, language: str
) -> None:
    messages = {vector["name"]: vector["message"] for vector in GOLDEN["server_messages"]["valid"]}
    outputs = [vector for vector in GOLDEN["frames"]["valid"] if vector["header"]["kind"] == 2]
    acknowledged: set[int] = set()

    async def everything(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(json.dumps(messages["a publisher's welcome"]))
        for output in outputs:
            await socket.send(bytes.fromhex(output["hex"]))
        for message in messages.values():
            if message["type"] != "bye":
                await socket.send(json.dumps(message))
        async for text in socket:
            said = json.loads(text)
            if said["type"] == "ack":
                acknowledged.add(said["seq"])
            if said["type"] == "bye":
                return
            if said["type"] == "stats":
                await socket.send(json.dumps({**messages["stats"], "ref": said["ref"]}))

    async with serve_sockets(everything, "127.0.0.1", 0, subprotocols=[Subprotocol("streamgen.v1")]) as fake:
        url = f"ws://127.0.0.1:{fake.sockets[0].getsockname()[1]}/ws"
        async with at_work(*command(language, "replay", url, tmp_path)) as client:
            stats = {name: value for name, value in messages["stats"].items() if name not in ("type", "ref")}
            assert await client.line() == {"stats": stats}
            styles = messages["restyled"]["styles"]
            assert await client.line() == {"prompt": "ink drawing", "model": "stabilityai/sd-turbo", "styles": styles}
            assert await client.end() == (0, "")
    if language != "python":  # which acknowledges what its program takes, and this one takes none
        assert max(vector["header"]["seq"] for vector in outputs) in acknowledged


async def test_a_server_that_is_away_ends_no_program_of_node(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        url = f"ws://127.0.0.1:{probe.getsockname()[1]}/ws"
    async with at_work(*command("javascript", "away", url, tmp_path)) as client:
        said = [await client.line() for _ in range(3)]
        assert [line["state"] for line in said] == ["reconnecting", "connecting", "closed"]
        assert said[0]["code"] == "connection_lost"
        assert await client.end() == (0, "")


# -------------------------------------------------------------------------------------------------------- the stranger


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A client that was written from docs/protocol.md alone, compiled."""
    program = tmp_path_factory.mktemp("stranger") / "stranger"
    build = [tool("rustc"), "--edition", "2021", "-D", "warnings", "-o", str(program), str(STRANGER)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return str(program)


def test_the_stranger_is_a_short_program_without_dependencies() -> None:
    lines = STRANGER.read_text().splitlines()
    assert len(lines) <= 120 and max(map(len, lines)) <= 120
    used = [line.removeprefix("use ") for line in lines if line.startswith(("use ", "extern "))]
    assert used and all(name.startswith("std::") for name in used)


def test_the_stranger_reads_every_golden_header_and_refuses_every_bad_one(stranger: str) -> None:
    frames = GOLDEN["frames"]
    vectors = [*frames["valid"], *frames["invalid"]]
    text = "".join(vector["hex"] + "\n" for vector in vectors)
    done = subprocess.run([stranger, "--headers"], input=text, capture_output=True, text=True, check=True)
    names = ("kind", "codec", "flags", "seq", "source_seq", "settings_rev", "width", "height", "captured_us")
    names += ("queue_us", "engine_us", "encode_us")
    expected = [" ".join(str(vector["header"][name]) for name in names) for vector in frames["valid"]]
    assert done.stdout.splitlines() == [*expected, *(vector["code"] for vector in frames["invalid"])]


def errand(stranger: str, server: Running, folder: Path, settings: dict[str, Any], token: str = TOKEN) -> list[str]:
    host = f"127.0.0.1:{server.port}"
    size = [str(side) for side in SIZE]
    files = [str(folder / "photo.jpg"), *size, str(folder / "output.jpg")]
    return [stranger, host, *files, json.dumps(settings), token]


async def test_the_stranger_has_a_photo_stylised(stranger: str, server: Running, photo: Pixels, tmp_path: Path) -> None:
    async with at_work(*errand(stranger, server, tmp_path, {"prompt": "ink"})) as client:
        assert await client.end() == (0, "")
    output = simplejpeg.decode_jpeg((tmp_path / "output.jpg").read_bytes(), colorspace="RGB")
    assert output.shape == photo.shape and np.abs(output.astype(int) - photo).mean() < 4


@pytest.mark.parametrize("vector", INVALID, ids=lambda vector: vector["name"])
async def test_the_stranger_is_told_what_is_wrong(
    stranger: str, server: Running, photo: Pixels, tmp_path: Path, vector: dict[str, Any]
) -> None:
    async with at_work(*errand(stranger, server, tmp_path, vector["changes"])) as client:
        code, errors = await client.end()
    assert code == 1 and vector["code"] in errors and vector["field"] in errors


async def test_the_stranger_is_told_that_its_token_is_wrong(
    stranger: str, server: Running, photo: Pixels, tmp_path: Path
) -> None:
    async with at_work(*errand(stranger, server, tmp_path, {}, token="guess")) as client:
        code, errors = await client.end()
    assert code == 1 and "unauthorised" in errors
