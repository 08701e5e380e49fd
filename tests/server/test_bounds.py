"""The bounds on a request, over real sockets: what goes beyond is answered with its code, and the server goes on."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from streamgen.protocol import MAX_MESSAGE_BYTES, Close
from streamgen.server.http_transport import MAX_HEAD_BYTES
from streamgen.server.webrtc.offer import MAX_SDP_BYTES
from tests.server.conftest import TIMEOUT_S, Running, running

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def answered(server: Running, *parts: bytes) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Send these very bytes, a part at a time, and read status, body and headers until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    async with asyncio.timeout(TIMEOUT_S):
        with suppress(ConnectionError):
            for part in parts:
                writer.write(part)
                await writer.drain()
        said = await reader.read()
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    head, _, body = said.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(first.split(" ")[1]), json.loads(body), headers


async def lives(server: Running) -> bool:
    async with httpx.AsyncClient(base_url=server.http, trust_env=False) as http:
        return (await http.get("/healthz")).status_code == 200


BAD_HEADS = {
    "a long header": (
        431,
        "header_too_large",
        [b"GET / HTTP/1.1\r\nX: " + b"x" * (MAX_HEAD_BYTES + 4096) + b"\r\n\r\n"],
    ),
    "many headers": (431, "header_too_large", [b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 4000 + b"\r\n"]),
    "a long path": (431, "header_too_large", [b"GET /" + b"x" * (MAX_HEAD_BYTES + 4096) + b" HTTP/1.1\r\n\r\n"]),
    "a header without an end": (431, "header_too_large", [b"GET / HTTP/1.1\r\nX: ", *[b"x" * 1000] * 20]),
    "no HTTP": (400, "bad_request", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"]),
    "two lengths": (400, "bad_request", [b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"]),
    "a negative length": (400, "bad_request", [b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"]),
    "no host": (400, "bad_request", [b"GET / HTTP/1.1\r\n\r\n"]),
}


@pytest.mark.parametrize(("status", "code", "parts"), BAD_HEADS.values(), ids=BAD_HEADS)
async def test_a_head_that_cannot_be_meant_is_refused(
    server: Running, status: int, code: str, parts: list[bytes]
) -> None:
    got, body, headers = await answered(server, *parts)
    assert (got, body["code"], headers["connection"]) == (status, code, "close")
    assert await lives(server)


UNFINISHED = {
    "nothing": [b""],
    "half a line": [b"GET / HT"],
    "headers without an end": [b"GET / HTTP/1.1\r\nHost: localhost\r\n"],
    "a body that does not come": [
        b"POST /webrtc/offer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{",
    ],
    "a chunk that does not come": [
        b"POST /webrtc/offer HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    ],
}


@pytest.mark.parametrize("parts", UNFINISHED.values(), ids=UNFINISHED)
async def test_a_request_that_does_not_end_is_given_up(parts: list[bytes]) -> None:
    async with running(request_timeout_s=0.05) as server:
        status, body, headers = await answered(server, *parts)
        assert (status, body["code"], headers["connection"]) == (408, "request_timeout", "close")
        assert await lives(server)


async def test_a_second_request_on_a_connection_has_to_end_too() -> None:
    async with running(request_timeout_s=0.05) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        async with asyncio.timeout(TIMEOUT_S):
            writer.write(HEALTH)
            assert b" 200 " in await reader.readuntil(b"\r\n")
            await reader.readuntil(b'"ok"}')
            writer.write(HEALTH[:20])
            assert b" 408 " in await reader.readuntil(b"\r\n")
            await reader.read()
        writer.close()
        await writer.wait_closed()


async def test_an_endless_answer_and_a_websocket_outlast_the_time_for_a_request() -> None:
    async with running(request_timeout_s=0.05) as server:
        peer = await server.publisher(session="cam")
        async with (
            httpx.AsyncClient(base_url=server.http, trust_env=False) as http,
            http.stream("GET", "/mjpeg/cam") as pictures,
        ):
            passed = asyncio.Event()
            asyncio.get_running_loop().call_later(0.2, passed.set)
            await passed.wait()
            assert not pictures.is_closed
            assert (await peer.ask("stats"))["viewers"] == 1


@pytest.mark.parametrize(
    ("method", "path", "type", "size", "code"),
    [
        ("POST", "/webrtc/offer", "application/json", 400_000, "body_too_large"),
        ("POST", "/whip/cam", "application/sdp", MAX_SDP_BYTES + 1, "body_too_large"),
        ("POST", "/whep/cam", "application/sdp", MAX_SDP_BYTES + 1, "body_too_large"),
        ("POST", "/api/v1/tokens", "application/json", 20_000, "body_too_large"),
    ],
)
async def test_a_body_too_large_is_refused(
    server: Running, method: str, path: str, type: str, size: int, code: str
) -> None:
    async with httpx.AsyncClient(base_url=server.http, trust_env=False) as http:
        answer = await http.request(method, path, content=b"x" * size, headers={"content-type": type})
        assert (answer.status_code, answer.json()["code"]) == (413, code)
        sdp = json.dumps({"type": "offer", "sdp": "v=0\n" + "x" * MAX_SDP_BYTES})
        answer = await http.post("/webrtc/offer", content=sdp)
        assert (answer.status_code, answer.json()["code"]) == (413, "sdp_too_large")


async def test_a_message_too_big_ends_its_connection(server: Running) -> None:
    peer = await server.publisher()
    await peer.socket.send(b"x" * (MAX_MESSAGE_BYTES + 1))
    assert await peer.closed() == Close.TOO_BIG


# ---------------------------------------------------------------------------------------------------------- by address


async def test_a_connection_too_many_is_answered_and_closed() -> None:
    async with running(address_connections=2) as server:
        kept = [await server.publisher(), await server.peer()]
        status, body, headers = await answered(server, HEALTH)
        assert (status, body["code"], headers["retry-after"]) == (429, "too_many_requests", "60")
        with pytest.raises(InvalidStatus) as caught:
            await server.peer()
        assert caught.value.response.status_code == 429
        await kept[1].socket.close()
        async with asyncio.timeout(TIMEOUT_S):
            while (await answered(server, HEALTH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")))[0] == 429:
                pass
        assert (await kept[0].ask("stats"))["type"] == "stats"


async def test_connections_that_ended_any_way_are_counted_no_more(server: Running) -> None:
    limits = server.house.limits
    peers = [await server.peer() for _ in range(3)]
    await answered(server, b"nonsense\r\n\r\n")
    assert await lives(server)
    peers[0].socket.transport.abort()
    for peer in peers[1:]:
        await peer.socket.close()
    async with asyncio.timeout(TIMEOUT_S):
        while limits._open:
            await asyncio.sleep(0)


async def test_requests_too_many_are_told_when_to_come_back() -> None:
    async with (
        running(address_requests=2) as server,
        httpx.AsyncClient(base_url=server.http, trust_env=False) as http,
    ):
        answers = [await http.get("/api/v1/models") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert answers[-1].headers["retry-after"] == "60"
        assert (await http.get("/healthz")).status_code == 200
        peer = await server.peer()
        assert (await peer.hear("error"))["retryable"]
        assert await peer.closed() == Close.TOO_MANY
        server.clock.now_s += 60
        assert (await (await server.peer()).hello())["type"] == "welcome"


async def test_guessing_the_token_is_stopped() -> None:
    async with (
        running(token="the-secret-of-this-server", address_failures=2) as server,
        httpx.AsyncClient(base_url=server.http, trust_env=False) as http,
    ):
        guesses = [await http.get("/api/v1/models", headers={"authorization": f"Bearer {n}"}) for n in range(3)]
        assert [answer.status_code for answer in guesses] == [401, 401, 429]
