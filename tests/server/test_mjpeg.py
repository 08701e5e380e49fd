"""Motion JPEG over real sockets: what a reader gets, what becomes of one that goes or stalls, and real players."""

from __future__ import annotations

import asyncio
import base64
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import av
import httpx
import numpy as np
import pytest
import simplejpeg

from streamgen.frames import Pixels
from streamgen.protocol import SUBPROTOCOL
from streamgen.server import mjpeg
from streamgen.server.session import MAX_VIEWERS
from tests.server.conftest import TIMEOUT_S, Running, running
from tests.server.outputs import flowing, mark_of, marked, show

WINDOW = 4096
TOKEN = "a-token-that-is-long-enough"


class Reader:
    """An HTTP client that takes one part at a time, and only when told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._body = bytearray()
        self.head: list[str] = []

    @classmethod
    async def open(cls, server: Running, path: str, version: str = "1.1", window: int | None = None) -> Reader:
        sock = socket.socket()
        if window is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", server.port))
        made = cls(*await asyncio.open_connection(sock=sock, limit=window or 1 << 16))
        made._writer.write(f"GET {path} HTTP/{version}\r\nHost: localhost\r\n\r\n".encode())
        async with asyncio.timeout(TIMEOUT_S):
            head = await made._reader.readuntil(b"\r\n\r\n")
        made.head = head.decode().lower().split("\r\n")
        return made

    async def part(self) -> bytes:
        """The body of the next part, after its headers were checked."""
        async with asyncio.timeout(TIMEOUT_S):
            while (end := self._body.find(b"\r\n\r\n")) < 0:
                await self._take()
            boundary, *headers = bytes(self._body[:end]).decode().split("\r\n")
            assert boundary == "--streamgen"
            assert headers[0] == "Content-Type: image/jpeg"
            name, _, length = headers[1].partition(": ")
            assert (name, len(headers)) == ("Content-Length", 2)
            total = end + 4 + int(length)
            while len(self._body) < total + 2:
                await self._take()
        payload = bytes(self._body[end + 4 : total])
        assert self._body[total : total + 2] == b"\r\n"
        del self._body[: total + 2]
        return payload

    async def picture(self) -> Pixels:
        """The next part, decoded."""
        pixels: Pixels = simplejpeg.decode_jpeg(await self.part())
        return pixels

    async def boundary(self) -> None:
        """Wait for what comes before the first picture."""
        async with asyncio.timeout(TIMEOUT_S):
            while len(self._body) < len("--streamgen"):
                await self._take()
        assert self._body == b"--streamgen"

    async def end(self) -> bytes:
        """What is left when the server has closed, pictures and all."""
        async with asyncio.timeout(TIMEOUT_S):
            with suppress(asyncio.IncompleteReadError):
                while True:
                    await self._take()
        return bytes(self._body)

    def close(self) -> None:
        self._writer.close()

    async def _take(self) -> None:
        """One chunk of the body."""
        if "transfer-encoding: chunked" not in self.head:
            data = await self._reader.read(1 << 16)
            if not data:
                raise asyncio.IncompleteReadError(b"", None)
        else:
            length = int(await self._reader.readuntil(b"\r\n"), 16)
            data = (await self._reader.readexactly(length + 2))[:-2]
            if not length:
                raise asyncio.IncompleteReadError(b"", None)
        self._body += data


@asynccontextmanager
async def reading(server: Running, path: str, version: str = "1.1", window: int | None = None) -> AsyncIterator[Reader]:
    reader = await Reader.open(server, path, version, window)
    try:
        yield reader
    finally:
        reader.close()


async def left(server: Running, session: str = "cam") -> None:
    """Wait until the session has no viewer."""
    found = server.sessions.get(session)
    assert found is not None
    async with asyncio.timeout(TIMEOUT_S):
        while found.viewers:
            await asyncio.sleep(0)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_a_reader_gets_each_picture_as_a_part(server: Running, version: str) -> None:
    await server.publisher(session="cam")
    async with reading(server, "/mjpeg/cam", version) as reader:
        assert " 200 " in reader.head[0]
        assert "content-type: multipart/x-mixed-replace; boundary=streamgen" in reader.head
        assert "cache-control: no-store" in reader.head
        for mark in (30, 60, 90):
            show(server, marked(mark))
            assert mark_of(await reader.picture()) == mark


async def test_a_reader_waits_without_a_word_until_there_is_a_picture(server: Running) -> None:
    await server.publisher(session="cam")
    async with reading(server, "/mjpeg/cam") as reader:
        await reader.boundary()
        show(server, marked(60))
        assert mark_of(await reader.picture()) == 60


async def test_a_session_that_rests_shows_its_last_picture(server: Running) -> None:
    publisher = await server.publisher(session="cam")
    show(server, marked(60))
    await publisher.see()
    async with reading(server, "/mjpeg/cam") as reader:
        assert mark_of(await reader.picture()) == 60


async def test_a_picture_is_encoded_once_for_all(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher = await server.publisher(session="cam")
    encoded: list[object] = []

    def encode(*given: object) -> bytes:
        encoded.append(given)
        return b"encoded once"

    monkeypatch.setattr("streamgen.server.picture.encode", encode)
    async with reading(server, "/mjpeg/cam") as first, reading(server, "/mjpeg/cam") as second:
        for reader in (first, second):
            await reader.boundary()
        show(server, marked(60))
        assert (await publisher.see())[1] == b"encoded once"
        assert [await reader.part() for reader in (first, second)] == [b"encoded once"] * 2
    assert len(encoded) == 1


async def test_a_slow_reader_gets_the_newest_picture_and_no_queue(server: Running) -> None:
    publisher = await server.publisher(session="cam")
    async with reading(server, "/mjpeg/cam", window=WINDOW) as reader:
        for mark in range(20, 220, 20):
            show(server, marked(mark))
            seq = (await publisher.see())[0].seq
            await publisher.say("ack", seq=seq)
            await publisher.ask("stats")
        # The first was on its way before the second was made.
        assert [mark_of(await reader.picture()) for _ in range(2)] == [20, 200]


async def test_a_reader_that_takes_nothing_is_cut_off_and_nobody_else_is() -> None:
    async with running(send_timeout_s=0.02) as server:
        publisher = await server.publisher(session="cam")
        async with reading(server, "/mjpeg/cam", window=WINDOW) as stalled, reading(server, "/mjpeg/cam") as other:
            show(server, marked(60))
            await publisher.see()
            assert mark_of(await other.picture()) == 60
            session = server.sessions.get("cam")
            assert session is not None
            async with asyncio.timeout(TIMEOUT_S):
                while len(session.viewers) == 2:
                    await asyncio.sleep(0)
            assert b"--streamgen--" not in await stalled.end()
            show(server, marked(90))
            assert mark_of(await other.picture()) == 90


async def test_a_reader_that_goes_leaves_no_viewer_behind(server: Running) -> None:
    publisher = await server.publisher(session="cam")
    async with reading(server, "/mjpeg/cam") as reader:
        await reader.boundary()
        assert (await publisher.ask("stats"))["viewers"] == 1
    await left(server)
    assert (await publisher.ask("stats"))["viewers"] == 0


async def test_a_reader_gets_no_more_pictures_than_it_asks_for(server: Running) -> None:
    publisher = await server.publisher(session="cam")
    async with reading(server, "/mjpeg/cam?fps=5") as reader:
        began_s = asyncio.get_running_loop().time()
        for _ in range(3):
            async with flowing(server, publisher, marked(60, 128)):
                await reader.part()
        assert asyncio.get_running_loop().time() - began_s >= 2 / 5


async def test_a_picture_that_nothing_follows_is_sent_again(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    for pause in ("_REPEAT_S", "_KEEP_ALIVE_S"):
        monkeypatch.setattr(mjpeg, pause, 0.01)
    await server.publisher(session="cam")
    async with reading(server, "/mjpeg/cam") as reader:
        show(server, marked(60))
        assert [mark_of(await reader.picture()) for _ in range(3)] == [60] * 3


@pytest.mark.parametrize("query", ["", "?fps=0.1"])
async def test_the_end_of_the_session_ends_the_response(server: Running, query: str) -> None:
    publisher = await server.publisher(session="cam")
    async with reading(server, f"/mjpeg/cam{query}") as reader:
        show(server, marked(60))
        await reader.part()
        await publisher.say("bye")
        assert await reader.end() == b"--streamgen--"


async def test_a_server_that_stops_ends_the_response(server: Running) -> None:
    await server.publisher(session="cam")
    async with reading(server, "/mjpeg/cam") as reader:
        await reader.boundary()
        await server.stop()
        assert await reader.end() == b"--streamgen--"


async def test_a_picture_with_alpha_is_shown_over_black(server: Running) -> None:
    await server.publisher(session="cam")
    async with reading(server, "/mjpeg/cam") as reader:
        show(server, np.dstack([np.full((64, 64, 3), 200, np.uint8), np.full((64, 64, 1), 128, np.uint8)]))
        pixels = await reader.picture()
        assert (pixels.shape, mark_of(pixels)) == ((64, 64, 3), 100)


@pytest.fixture
async def http(server: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.http, trust_env=False) as client:
        yield client


@pytest.mark.parametrize("name", ["nobody", "no%20name", "x" * 100])
async def test_an_unknown_session_is_a_typed_error(http: httpx.AsyncClient, name: str) -> None:
    answer = await http.get(f"/mjpeg/{name}")
    assert answer.status_code == 404
    error = answer.json()
    assert (error["type"], error["code"], error["retryable"], error["close"]) == (
        "error",
        "no_such_session",
        True,
        4404,
    )
    assert (await http.head(f"/mjpeg/{name}")).status_code == 404


@pytest.mark.parametrize("fps", ["0", "-1", "many", "nan", "1e9"])
async def test_a_rate_that_makes_no_sense_is_a_typed_error(server: Running, http: httpx.AsyncClient, fps: str) -> None:
    await server.publisher(session="cam")
    answer = await http.get(f"/mjpeg/cam?fps={fps}")
    assert (answer.status_code, answer.json()["field"]) == (400, "fps")


async def test_a_head_request_is_answered_and_no_viewer(server: Running, http: httpx.AsyncClient) -> None:
    await server.publisher(session="cam")
    answer = await http.head("/mjpeg/cam")
    assert (answer.status_code, answer.headers["content-type"]) == (
        200,
        "multipart/x-mixed-replace; boundary=streamgen",
    )
    await left(server)


async def test_readers_count_as_viewers(server: Running, http: httpx.AsyncClient) -> None:
    await server.publisher(session="cam")
    for _ in range(MAX_VIEWERS):
        await server.viewer("cam")
    answer = await http.get("/mjpeg/cam")
    assert (answer.status_code, answer.json()["code"]) == (503, "server_full")


async def test_a_page_of_another_site_is_refused(server: Running, http: httpx.AsyncClient) -> None:
    await server.publisher(session="cam")
    answer = await http.get("/mjpeg/cam", headers={"Origin": "https://evil.example"})
    assert (answer.status_code, answer.json()["code"]) == (403, "origin_not_allowed")


async def test_a_token_is_asked_for_and_taken_either_way() -> None:
    async with running(token=TOKEN) as server, httpx.AsyncClient(base_url=server.http, trust_env=False) as http:
        answer = await http.head("/mjpeg/cam")
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Basic realm="streamgen"')
        assert (await http.get("/mjpeg/cam", headers={"Authorization": "Bearer wrong"})).json()["close"] == 4401
        for known in (f"Bearer {TOKEN}", "Basic " + base64.b64encode(f"any:{TOKEN}".encode()).decode()):
            answer = await http.get("/mjpeg/cam", headers={"Authorization": known})
            assert answer.json()["code"] == "no_such_session"


@pytest.mark.parametrize("format", [None, "mpjpeg"])
async def test_ffmpeg_reads_it_and_leaves_no_viewer_behind(server: Running, format: str | None) -> None:
    publisher = await server.publisher(session="cam")
    async with flowing(server, publisher, marked(60, 128)):
        shapes = await asyncio.to_thread(read_frames, f"{server.http}/mjpeg/cam", 10, format)
        assert shapes == [(128, 128, 3)] * 10
        await left(server)


async def test_ffmpeg_sees_the_end_of_the_session(server: Running) -> None:
    publisher = await server.publisher(session="cam")
    shapes: list[tuple[int, ...]] = []
    reading_all = asyncio.create_task(asyncio.to_thread(read_frames, f"{server.http}/mjpeg/cam", 1 << 30, into=shapes))
    async with asyncio.timeout(TIMEOUT_S), flowing(server, publisher, marked(60, 128)):
        while len(shapes) < 5:
            await asyncio.sleep(0)
    await publisher.say("bye")
    async with asyncio.timeout(TIMEOUT_S):
        await reading_all


def read_frames(
    url: str, count: int, format: str | None = None, into: list[tuple[int, ...]] | None = None
) -> list[tuple[int, ...]]:
    """The shapes of the first ``count`` frames, or of all until the stream ends."""
    shapes: list[tuple[int, ...]] = [] if into is None else into
    with av.open(url, format=format, timeout=TIMEOUT_S) as container:
        for frame in container.decode(video=0):
            shapes.append(frame.to_ndarray(format="rgb24").shape)
            if len(shapes) == count:
                break
    return shapes


async def test_ffmpeg_carries_the_token_of_a_url() -> None:
    async with running(token=TOKEN) as server:
        offered = base64.urlsafe_b64encode(TOKEN.encode()).decode().rstrip("=")
        publisher = await server.peer(subprotocols=[SUBPROTOCOL, f"token.{offered}"])
        await publisher.hello(session="cam")
        async with flowing(server, publisher, marked(60, 128)):
            url = server.http.replace("//", f"//any:{TOKEN}@")
            assert len(await asyncio.to_thread(read_frames, f"{url}/mjpeg/cam", 3)) == 3


COLOUR = """() => {
  const canvas = new OffscreenCanvas(1, 1), brush = canvas.getContext("2d");
  brush.drawImage(document.images[0], -100, 0);
  return brush.getImageData(0, 0, 1, 1).data[0];
}"""


@pytest.mark.browser
async def test_an_image_element_shows_every_picture(server: Running) -> None:
    from playwright.async_api import async_playwright

    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium on PATH")
    await server.publisher(session="cam")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        page = await browser.new_page()
        await page.goto(f"{server.http}/healthz")
        await page.evaluate("() => { document.body.innerHTML = '<img src=/mjpeg/cam>' }")
        for mark in (60, 120, 180):
            show(server, marked(mark, 128))
            await page.wait_for_function(f"() => Math.abs(({COLOUR})() - {mark}) < 4", timeout=TIMEOUT_S * 1000)
        await browser.close()
    await left(server)
