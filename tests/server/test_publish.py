"""Sessions that go out into files and to real receivers on loopback, through a real writing process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
import pytest
from websockets.asyncio.client import connect as open_socket

from streamgen.cli.app import main
from streamgen.config import ServerConfig, from_environment
from streamgen.errors import ConfigError
from streamgen.frames import Pixels
from streamgen.server import publish, publish_target, publish_writer, sessions
from streamgen.server.publish_target import Target
from streamgen.server.publish_writer import Writer
from streamgen.server.run import bind, server_for
from tests.server.conftest import Clock, Peer, Running, port_of, running
from tests.server.fake import FakeWorker
from tests.server.outputs import flowing, marked, show

SECRET = "s3cret"
BUSY_S = 30.0
"""Starting a process takes seconds where many tests run at once."""


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections count at once, and lost ones are tried again at once."""
    monkeypatch.setattr(publish_writer, "_SETTLED_S", 0.0)
    monkeypatch.setattr(publish_writer, "_BACKOFF_S", (0.01, 0.01))


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "streamgen.server")
    return caplog


@dataclass(frozen=True)
class Shot:
    """One decoded frame."""

    time_s: float
    key: bool
    pixels: Pixels


def read(source: str | Path, options: dict[str, str] | None = None) -> Iterator[Shot]:
    with av.open(str(source), options=options or {}, timeout=BUSY_S) as container:
        for frame in container.decode(video=0):
            time_s = np.nan if frame.time is None else float(frame.time)  # RTP tells it late
            yield Shot(time_s, bool(frame.key_frame), frame.to_ndarray(format="rgb24"))


def greys(shots: list[Shot]) -> list[int]:
    """What ``marked`` put into the right half of each."""
    return [round(float(shot.pixels[:, -32:].mean())) for shot in shots]


def near(found: list[int], wanted: list[int]) -> bool:
    return len(found) == len(wanted) and all(abs(a - b) <= 4 for a, b in zip(found, wanted, strict=True))


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(BUSY_S):
        while not true():
            await asyncio.sleep(0.001)


@asynccontextmanager
async def writing(target: str, clock: Callable[[], float] = time.monotonic) -> AsyncIterator[Writer]:
    """A writer by itself, for the session ``cam``."""
    writer = Writer(Target.parse(target), "cam", clock)
    writer.begin()
    try:
        yield writer
    finally:
        await asyncio.to_thread(writer.end)


async def write(writer: Writer, pixels: Pixels) -> None:
    """Put a picture, and wait until it is written."""
    before = writer.written
    writer.put(pixels)
    await until(lambda: writer.written > before)


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    with socket.socket(type=kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Receiver:
    """Reads a stream in a thread of its own, and stops reading while ``may_read`` is not set.

    Args:
        count: shots after which it closes.
    """

    url: str
    options: dict[str, str] = field(default_factory=dict)
    count: int = 10
    shots: list[Shot] = field(default_factory=list)
    may_read: threading.Event = field(default_factory=threading.Event)
    failure: Exception | None = None
    over: bool = False

    def run(self) -> None:
        try:
            with contextlib.closing(read(self.url, self.options)) as shots:
                for shot in shots:
                    self.shots.append(shot)
                    self.may_read.wait(BUSY_S)
                    if len(self.shots) == self.count:
                        return
        except (OSError, av.FFmpegError) as error:
            self.failure = error
        finally:
            self.over = True


@contextmanager
def receiving(url: str, options: dict[str, str] | None = None, count: int = 10) -> Iterator[Receiver]:
    receiver = Receiver(url, options or {}, count)
    receiver.may_read.set()
    thread = threading.Thread(target=receiver.run)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.may_read.set()
        thread.join(BUSY_S)
        assert not thread.is_alive()


# ----------------------------------------------------------------------------------------------------- the targets


@pytest.mark.parametrize(
    ("text", "session", "where", "label"),
    [
        ("out.mp4", None, "out.mp4", "out.mp4"),
        ("cam=out.mkv", "cam", "out.mkv", "out.mkv"),
        ("rtmp://host/live/s3cret", None, "rtmp://host/live/s3cret", "rtmp://host/***"),
        ("cam=RTMPS://u:s3cret@host:443/a/b", "cam", "RTMPS://u:s3cret@host:443/a/b", "rtmps://host:443/***"),
        ("srt://[::1]:9?streamid=s3cret", None, "srt://[::1]:9?streamid=s3cret", "srt://[::1]:9/***"),
        ("cam=udp://127.0.0.1:9", "cam", "udp://127.0.0.1:9", "udp://127.0.0.1:9/***"),
        ("rtmp://u:p@s3cret@host/a", None, "rtmp://u:p@s3cret@host/a", "rtmp:///***"),
        ("rtmp://u:p/s3cret@host/a", None, "rtmp://u:p/s3cret@host/a", "rtmp:///***"),
        ("rtmp://u:1/s3cret@host/a", None, "rtmp://u:1/s3cret@host/a", "rtmp:///***"),
    ],
)
def test_a_target_is_a_url_or_a_file_with_or_without_a_session(
    text: str, session: str | None, where: str, label: str
) -> None:
    target = Target.parse(text)
    assert (target.session, target.where, target.label) == (session, where, label)
    assert target.live == ("://" in text)


@pytest.mark.parametrize(
    "text", ["", "cam=", "out", "out.avi", "https://u:s3cret@host/s3cret", "cam=file:///tmp/out.mp4", "udp:host.ts:1"]
)
def test_another_target_is_a_typed_error_that_tells_no_secret(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Target.parse(text)
    assert (caught.value.code, caught.value.field) == ("bad_publish", "publish")
    assert SECRET not in caught.value.message


def test_targets_come_from_the_environment_too() -> None:
    environ = {"STREAMGEN_PUBLISH": "cam=rtmp://host/live/key, out.mp4"}
    assert from_environment(environ).publish == ("cam=rtmp://host/live/key", "out.mp4")


def test_a_file_that_cannot_be_written_ends_the_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--port", "0", "--publish", str(tmp_path / "nowhere" / "out.mp4")]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "out.mp4: no such file or directory" in line


def test_looking_at_a_file_leaves_nothing_behind(tmp_path: Path) -> None:
    Target.parse(str(tmp_path / "out.mp4")).check()
    assert list(tmp_path.iterdir()) == []


def test_a_protocol_that_ffmpeg_lacks_ends_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish_target, "_knows", lambda scheme: False)
    with pytest.raises(ConfigError) as caught:
        Target.parse(f"srt://host:9?passphrase={SECRET}").check()
    assert "built without srt" in caught.value.message
    assert SECRET not in caught.value.message


# -------------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "webm", "flv"])
async def test_a_file_holds_the_pictures_at_their_times(tmp_path: Path, suffix: str) -> None:
    clock = Clock()
    async with writing(f"{tmp_path}/out.{suffix}", clock) as writer:
        for mark, step_s in ((40, 0.25), (80, 0.5), (120, 1.5), (160, 0.0), (200, 1.0)):
            await write(writer, marked(mark, 128))
            clock.now_s += step_s
    shots = list(read(tmp_path / f"out.{suffix}"))
    assert near(greys(shots), [40, 80, 120, 160, 200])
    times_s = np.array([shot.time_s - shots[0].time_s for shot in shots])
    # Two pictures of one moment stay two, the later one a millisecond later.
    assert np.allclose(times_s, [0, 0.25, 0.75, 2.25, 2.251], atol=0.0011)
    assert (np.diff(times_s) > 0).all()
    assert [shot.key for shot in shots] == [True, False, False, True, False]


async def test_every_session_gets_a_file_and_none_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out.mp4").write_bytes(b"from yesterday")
    for mark in (60, 120):
        async with writing(f"{tmp_path}/out.mp4") as writer:
            await write(writer, marked(mark, 128))
    assert (tmp_path / "out.mp4").read_bytes() == b"from yesterday"
    for number, mark in ((2, 60), (3, 120)):
        assert near(greys(list(read(tmp_path / f"out-{number}.mp4"))), [mark])


async def test_a_session_without_a_picture_leaves_no_file(tmp_path: Path) -> None:
    async with writing(f"{tmp_path}/out.mp4"):
        pass
    assert list(tmp_path.iterdir()) == []


async def test_another_size_is_fitted_into_the_first(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    async with writing(f"{tmp_path}/out.mp4") as writer:
        await write(writer, np.full((128, 128, 3), 200, np.uint8))
        for _ in range(2):
            await write(writer, np.full((128, 256, 3), 200, np.uint8))
    shots = list(read(tmp_path / "out.mp4"))
    assert [shot.pixels.shape for shot in shots] == [(128, 128, 3)] * 3
    last = shots[-1].pixels[:, 64].mean(axis=-1)
    assert (last[:28] < 12).all() and (last[36:92] > 190).all() and (last[100:] < 12).all()
    assert [record.message for record in log.records if "is fitted" in record.message] == [
        f"publishing cam to {tmp_path}/out.mp4: 256x128 is fitted into 128x128"
    ]


async def test_alpha_is_shown_over_black(tmp_path: Path) -> None:
    async with writing(f"{tmp_path}/out.mp4") as writer:
        await write(writer, np.dstack([marked(200, 128), np.full((128, 128, 1), 128, np.uint8)]))
    assert near(greys(list(read(tmp_path / "out.mp4"))), [100])


async def test_a_name_that_means_something_to_ffmpeg_is_a_name(tmp_path: Path) -> None:
    async with writing(f"{tmp_path}/concat:%03d|a.mp4") as writer:
        await write(writer, marked(60, 128))
    [path] = tmp_path.iterdir()
    assert path.name == "concat:%03d|a.mp4"
    assert len(list(read(f"file:{path}"))) == 1


async def test_a_writing_process_that_dies_leaves_a_file_that_plays_and_is_replaced(
    tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    async with writing(f"{tmp_path}/out.mp4", clock) as writer:
        for mark in range(20, 220, 20):
            await write(writer, marked(mark, 128))
            clock.now_s += 0.5
        [process] = [child for child in multiprocessing.active_children() if child.name == "streamgen-publish"]
        process.kill()
        process.join()
        writer.put(marked(60, 128))
        await until(lambda: "trying again" in log.text)
        await write(writer, marked(90, 128))
    kept = greys(list(read(tmp_path / "out.mp4")))
    assert len(kept) >= 6 and near(kept, list(range(20, 20 + 20 * len(kept), 20)))
    assert near(greys(list(read(tmp_path / "out-2.mp4"))), [90])
    assert "its process ended; trying again" in log.text


async def test_a_folder_that_has_gone_is_said_once_and_waited_for(
    tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    async with writing(f"{tmp_path}/gone/out.mp4") as writer:
        writer.put(marked(60, 128))
        await until(lambda: "no such file or directory; trying again" in log.text)
        writer.put(marked(60, 128))
        (tmp_path / "gone").mkdir()
        await write(writer, marked(90, 128))
    assert near(greys(list(read(tmp_path / "gone" / "out.mp4"))), [90])
    assert log.text.count("trying again") == 1


# -------------------------------------------------------------------------------------------------- live connections


async def test_udp_carries_the_stream(log: pytest.LogCaptureFixture) -> None:
    port = free_port(socket.SOCK_DGRAM)
    with receiving(f"udp://127.0.0.1:{port}", {"timeout": str(int(BUSY_S * 1e6))}) as receiver:
        async with writing(f"udp://127.0.0.1:{port}") as writer:
            while not receiver.over:
                await write(writer, marked(60, 128))
    assert near(greys(receiver.shots)[-5:], [60] * 5)
    assert f"publishing cam to udp://127.0.0.1:{port}/***: 128x128" in log.text


@pytest.mark.parametrize("scheme", ["rtmp", "rtsp"])
async def test_a_receiver_that_comes_up_late_gets_the_stream_and_no_log_the_key(
    scheme: str, log: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    url = f"{scheme}://user:{SECRET}@127.0.0.1:{port}/live/{SECRET}"
    listen = {"rtmp": {"listen": "1"}, "rtsp": {"rtsp_flags": "listen", "listen_timeout": "20"}}[scheme]
    async with writing(url) as writer:
        writer.put(marked(60, 128))
        await until(lambda: "connection refused" in log.text)
        with receiving(f"{scheme}://127.0.0.1:{port}/live/{SECRET}", listen) as receiver:
            while not receiver.over:
                writer.put(marked(60, 128))
                await asyncio.sleep(0.001)
    assert receiver.failure is None
    assert near(greys(receiver.shots)[-5:], [60] * 5)
    times_s = [shot.time_s for shot in receiver.shots if not np.isnan(shot.time_s)]
    assert times_s == sorted(set(times_s))
    assert log.text.count("connection refused; trying again") == 1
    assert SECRET not in log.text
    assert "live" not in log.text


async def test_a_receiver_that_stops_reading_holds_nobody_and_is_given_up(
    log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish_writer, "_PATIENCE_S", 3.0)
    monkeypatch.setattr(publish_target, "_MAX_BITS_PER_PIXEL", 1000.0)  # fills what the kernel buffers
    port = free_port()
    url = f"rtmp://127.0.0.1:{port}/live/a"
    with receiving(url, {"listen": "1"}, count=1 << 30) as receiver:
        async with running(clock=time.monotonic, publish=(url,)) as server:
            publisher = await server.publisher(session="cam")
            async with flowing(server, publisher, marked(60), marked(120)):
                await until(lambda: len(receiver.shots) >= 3)
                receiver.may_read.clear()
                await until(lambda: "the other end takes nothing" in log.text)
            stats = await publisher.ask("stats")
            assert (stats["viewers"], stats["drops"]) == (1, {})
            assert stats["frames_out"] > len(receiver.shots)


async def test_a_server_that_says_nothing_is_given_up_and_does_not_hold_the_end(
    log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish_writer, "_PATIENCE_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with writing(f"rtmp://127.0.0.1:{silent.getsockname()[1]}/live/a") as writer:
            writer.put(marked(60, 128))
            await until(lambda: "the other end takes nothing; trying again" in log.text)
            monkeypatch.setattr(publish_writer, "_PATIENCE_S", 1000.0)
            monkeypatch.setattr(publish_writer, "_FINISH_S", 0.3)
            writer.put(marked(60, 128))
    assert writer.written == 0


async def test_the_last_picture_is_held_while_no_other_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish_writer, "_HOLD_S", 0.02)
    port = free_port()
    with receiving(f"rtmp://127.0.0.1:{port}/live/a", {"listen": "1"}) as receiver:
        async with writing(f"rtmp://127.0.0.1:{port}/live/a") as writer:
            writer.put(marked(60, 128))
            await until(lambda: receiver.over)
    assert near(greys(receiver.shots), [60] * 10)
    assert writer.written == 1


async def test_a_session_that_rests_is_connected_all_the_same(
    log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish_writer, "_HOLD_S", 0.02)
    port = free_port()
    async with writing(f"rtmp://127.0.0.1:{port}/live/a") as writer:
        writer.put(marked(60, 128))
        await until(lambda: "connection refused" in log.text)
        with receiving(f"rtmp://127.0.0.1:{port}/live/a", {"listen": "1"}) as receiver:
            await until(lambda: receiver.over)
    assert near(greys(receiver.shots), [60] * 10)


# --------------------------------------------------------------------------------------------------- the whole server


async def until_shown(server: Running, peer: Peer, path: Path, session: str = "cam") -> None:
    """Show pictures until the file holds some."""
    async with flowing(server, peer, marked(60, 128), session=session):
        await until(lambda: path.exists() and path.stat().st_size > 10_000)


async def test_a_session_is_waited_for_written_and_waited_for_again(tmp_path: Path) -> None:
    async with running(clock=time.monotonic, publish=(f"cam={tmp_path}/out.mp4",)) as server:
        other = await server.publisher(session="other")
        show(server, marked(200, 128), "other")
        await other.see()
        for number in ("out", "out-2"):
            publisher = await server.publisher(session="cam")
            await until_shown(server, publisher, tmp_path / f"{number}.mp4")
            assert (await publisher.ask("stats"))["viewers"] == 1
            await publisher.say("bye")
            await publisher.closed()
        assert (await other.ask("stats"))["viewers"] == 0
    for number in ("out", "out-2"):
        assert set(greys(list(read(tmp_path / f"{number}.mp4")))) <= set(range(56, 65))


async def test_without_a_name_it_is_the_session_that_is_open_the_longest(tmp_path: Path) -> None:
    async with running(clock=time.monotonic, publish=(f"{tmp_path}/out.mp4",)) as server:
        first, second = [await server.publisher(session=name) for name in ("first", "second")]
        await until_shown(server, first, tmp_path / "out.mp4", "first")
        assert (await second.ask("stats"))["viewers"] == 0
        await first.say("bye")
        await until_shown(server, second, tmp_path / "out-2.mp4", "second")


def boxes(path: Path) -> set[str]:
    """The names of what an MP4 file is made of."""
    data, at, names = path.read_bytes(), 0, set()
    while at < len(data):
        names.add(data[at + 4 : at + 8].decode())
        at += int.from_bytes(data[at : at + 4], "big")
    return names


async def test_a_server_that_is_stopped_completes_the_file(tmp_path: Path) -> None:
    config = ServerConfig(port=0, model="fake", publish=(f"{tmp_path}/out.mp4",))
    listener, worker = bind(config), FakeWorker()
    server = server_for(config, worker)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    async with open_socket(f"ws://127.0.0.1:{port_of(listener)}/ws", subprotocols=["streamgen.v1"]) as client:
        peer = Peer(client)
        await peer.hello(session="cam")
        async with flowing(worker, peer, marked(60, 128)):
            await until(lambda: (tmp_path / "out.mp4").exists() and (tmp_path / "out.mp4").stat().st_size > 10_000)
        server.should_exit = True
        await asyncio.wait_for(serving, BUSY_S)
    assert {"ftyp", "moov", "mdat"} <= boxes(tmp_path / "out.mp4") <= {"ftyp", "free", "moov", "mdat"}  # in one piece
    assert len(list(read(tmp_path / "out.mp4"))) >= 3


async def test_viewers_that_fill_the_session_do_not_end_the_publication(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "_RETRY_S", 0.01)
    monkeypatch.setattr(sessions, "MAX_VIEWERS", 0)
    async with running(clock=time.monotonic, publish=(f"cam={tmp_path}/out.mp4",)) as server:
        publisher = await server.publisher(session="cam")
        await publisher.ask("stats")
        monkeypatch.setattr(sessions, "MAX_VIEWERS", 1)
        await until_shown(server, publisher, tmp_path / "out.mp4")
