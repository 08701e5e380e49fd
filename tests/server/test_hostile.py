"""What clients do that mean harm, over real sockets: it ends with them, and everybody else goes on."""

from __future__ import annotations

import asyncio
import struct
from contextlib import suppress

import numpy as np
import pytest

from streamgen.codec import encode
from streamgen.frames import Pixels
from streamgen.protocol import CREDITS, SUBPROTOCOL, Close
from streamgen.wire import Codec, FrameHeader, Kind, pack_frame
from tests.server.conftest import TIMEOUT_S, Peer, Running

TEXT, BINARY, CLOSE = 1, 2, 8
UPGRADE = (
    "GET /ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
)


def fragment(opcode: int, payload: bytes = b"", *, last: bool = True, masked: bool = True) -> bytes:
    """One WebSocket frame as a client sends it, masked with zeros."""
    length = struct.pack(">BQ", 127 | masked << 7, len(payload))
    return bytes([opcode | last << 7]) + length + bytes(4 * masked) + payload


async def close_code(server: Running, sent: bytes, host: str = "localhost") -> int:
    """Shake hands, send these very bytes, and read the code that the server closes with, whatever it says before."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    async with asyncio.timeout(TIMEOUT_S):
        writer.write(UPGRADE.format(host=host).encode())
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        writer.write(sent)
        opcode = 0
        while opcode != CLOSE | 0x80:
            opcode, length = await reader.readexactly(2)
            if length == 126:
                length = int.from_bytes(await reader.readexactly(2), "big")
            payload = await reader.readexactly(length)
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    return int.from_bytes(payload[:2], "big")


async def goes_on(peer: Peer, picture: Pixels) -> None:
    await peer.frame(picture)
    assert (await peer.see())[0].kind == Kind.OUTPUT


MEBIBYTE = bytes(1 << 20)
BROKEN_FRAMING = {
    "unmasked": (fragment(TEXT, b"{}", masked=False), 1002),
    "a reserved opcode": (fragment(3), 1002),
    "reserved bits": (b"\xff" * 14, 1002),
    "a continuation of nothing": (fragment(0, b"x"), 1002),
    "an endless length": (b"\x82\xff" + (1 << 62).to_bytes(8, "big") + bytes(4), Close.TOO_BIG),
    "fragments that are too big together": (
        fragment(BINARY, MEBIBYTE, last=False) + fragment(0, MEBIBYTE, last=False) + fragment(0, b"x"),
        Close.TOO_BIG,
    ),
}


@pytest.mark.parametrize(("sent", "code"), BROKEN_FRAMING.values(), ids=BROKEN_FRAMING)
async def test_a_connection_that_speaks_no_websocket_ends_alone(
    server: Running, picture: Pixels, sent: bytes, code: int
) -> None:
    neighbour = await server.publisher()
    assert await close_code(server, sent) == code
    await goes_on(neighbour, picture)


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "0.0.0.0", "2130706433", "[::1"])
async def test_a_name_that_was_pointed_at_this_machine_is_turned_away(server: Running, host: str) -> None:
    assert await close_code(server, b"", host) == Close.ORIGIN


@pytest.mark.parametrize(
    "path", ["/../setup.py", "/..%2fsetup.py", "/js/..%2f..%2fsetup.py", "//etc/passwd", "/index.html%00", "/%ff"]
)
async def test_no_spelling_of_a_path_leads_out_of_the_pages(server: Running, path: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    async with asyncio.timeout(TIMEOUT_S):
        assert (await reader.read()).split(b"\r\n")[0] == b"HTTP/1.1 404 Not Found"
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(("width", "height"), [(1, 1), (65_500, 1), (1, 65_500), (65_500, 61)])
async def test_a_frame_of_an_odd_shape_is_decoded_like_any_other(server: Running, width: int, height: int) -> None:
    peer = await server.publisher(session="cam")
    payload = encode(np.zeros((height, width, 3), np.uint8), Codec.JPEG)
    await peer.socket.send(pack_frame(FrameHeader(Kind.INPUT, Codec.JPEG, width, height, seq=0), payload))
    (frame,) = await server.worker.frames("cam", 1)
    assert frame.pixels.shape == (height, width, 3)


async def test_acknowledging_what_was_never_sent_buys_no_outputs(server: Running, picture: Pixels) -> None:
    peer = await server.publisher(session="cam")
    for seq in range(CREDITS + 3):
        for absurd in (7, 2**31, 2**32 - 1):
            await peer.say("ack", seq=absurd)
        server.clock.now_s += 1 / 30
        await peer.frame(picture, seq=seq)
        await server.worker.frames("cam", seq + 1)
        if seq < CREDITS:
            assert (await peer.see())[0].seq == seq
    stats = await peer.ask("stats")
    assert (stats["frames_out"], stats["drops"]) == (CREDITS + 3, {"no_credit": 2})


async def test_guessing_tokens_opens_nothing_and_disturbs_nobody(server: Running, picture: Pixels) -> None:
    owner = await server.peer()
    token = (await owner.hello(session="cam"))["resume"]
    guesser = await server.peer()
    for guess in ("", "x" * 128, token[:-1], token + "A", token.swapcase()):
        assert (await guesser.hello(resume=guess))["code"] == "bad_resume_token"
    await goes_on(owner, picture)


async def test_a_token_makes_no_publisher_of_a_viewer(server: Running, picture: Pixels) -> None:
    owner = await server.peer()
    token = (await owner.hello(session="cam"))["resume"]
    viewer = await server.viewer("cam", resume=token)
    assert (await viewer.ask("update", settings={"steps": 2}))["code"] == "not_publisher"
    await goes_on(owner, picture)


async def test_a_session_that_is_taken_over_again_and_again_has_one_publisher(server: Running, picture: Pixels) -> None:
    peers = [await server.peer()]
    token = (await peers[0].hello(session="cam"))["resume"]
    for _ in range(5):
        peers.append(await server.peer())
        assert (await peers[-1].hello(resume=token))["resumed"]
    for loser in peers[:-1]:
        assert await loser.closed() == Close.PUBLISHER_EXISTS
    assert len(server.sessions) == 1
    await goes_on(peers[-1], picture)


async def test_hello_and_bye_in_one_breath_leave_nothing_behind(server: Running) -> None:
    for _ in range(30):
        peer = await server.peer()
        await peer.say("hello", session="cam")
        await peer.say("bye")
        assert await peer.closed() == Close.NORMAL
    assert len(server.sessions) == 0
    assert server.worker.opened == {}


async def test_viewers_that_break_off_are_forgotten(server: Running, picture: Pixels) -> None:
    publisher = await server.publisher(session="cam")
    viewers = [await server.viewer("cam") for _ in range(10)]
    for viewer in viewers:
        viewer.socket.transport.abort()
    async with asyncio.timeout(TIMEOUT_S):
        while (await publisher.ask("stats"))["viewers"]:
            pass
    await goes_on(publisher, picture)


@pytest.mark.parametrize("extra", [b"\x89\x80" + bytes(4), fragment(0, last=False)], ids=["pings", "empty fragments"])
async def test_a_flood_of_what_is_no_message_is_cut(server: Running, picture: Pixels, extra: bytes) -> None:
    publisher = await server.publisher(session="cam")
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    async with asyncio.timeout(TIMEOUT_S):
        writer.write(UPGRADE.format(host="localhost").encode())
        await reader.readuntil(b"\r\n\r\n")
        writer.write(fragment(TEXT, b"{", last=False) + extra * 20_000)
        with suppress(ConnectionError):
            await reader.read()  # ends when the server cuts the connection
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    await goes_on(publisher, picture)


async def test_a_text_message_too_long_to_be_meant_is_refused_unread(server: Running, picture: Pixels) -> None:
    publisher = await server.publisher(session="cam")
    await publisher.say("update", settings={"prompts_blend": [1] * 400_000})
    assert (await publisher.hear("error"))["code"] == "message_too_long"
    await goes_on(publisher, picture)
