"""Offers that are wrong, too large, too many, or whose peers vanish. Nothing of them stays."""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from aiortc import RTCPeerConnection

from streamgen.server.webrtc.offer import MAX_SDP_BYTES
from tests.server.conftest import TIMEOUT_S, Running, running
from tests.server.webrtc.peers import Flat, RtcPeer
from tests.server.webrtc.test_connection import gone

MakePeer = Callable[..., RtcPeer]


async def post(server: Running, **options: Any) -> httpx.Response:
    async with httpx.AsyncClient(base_url=server.http, timeout=TIMEOUT_S) as http:
        return await http.post("/webrtc/offer", **options)


def connections() -> int:
    """Alive in this process, the tests' own among them."""
    gc.collect()
    return sum(type(each) is RTCPeerConnection for each in gc.get_objects())


@pytest.mark.parametrize(
    ("options", "status", "code", "field"),
    [
        ({"content": b""}, 400, "invalid_json", None),
        ({"content": b"\xff\xfe"}, 400, "invalid_json", None),
        ({"json": []}, 400, "invalid_message", "type"),
        ({"json": {}}, 400, "invalid_message", "type"),
        ({"json": {"type": "answer", "sdp": ""}}, 400, "invalid_message", "type"),
        ({"json": {"type": "offer"}}, 400, "invalid_message", "sdp"),
        ({"json": {"type": "offer", "sdp": 3}}, 400, "invalid_message", "sdp"),
        ({"json": {"type": "offer", "sdp": "v=0", "hello": {"role": "king"}}}, 400, "invalid_message", "hello.role"),
        ({"json": {"type": "offer", "sdp": "hello"}}, 400, "bad_sdp", "sdp"),
        ({"json": {"type": "offer", "sdp": "v=0\r\n" + MAX_SDP_BYTES * "a"}}, 413, "sdp_too_large", "sdp"),
        ({"content": 300_000 * b"a"}, 413, "body_too_large", None),
    ],
)
async def test_what_is_no_offer_gets_a_typed_error(
    server: Running, options: dict[str, Any], status: int, code: str, field: str | None
) -> None:
    answer = await post(server, **options)
    told = answer.json()
    assert (answer.status_code, told["type"], told["code"], told["field"]) == (status, "error", code, field)
    assert len(server.peers) == 0


async def test_a_hello_that_cannot_be_granted_leaves_no_connection(server: Running, peer: MakePeer) -> None:
    answer = await peer().post({"role": "view", "session": "nobody"})
    assert (answer.status_code, answer.json()["code"], answer.json()["close"]) == (404, "no_such_session", 4404)
    await gone(server)
    answer = await peer(Flat()).post({"settings": {"strength": 7}})
    assert (answer.status_code, answer.json()["field"]) == (400, "strength")
    await gone(server)
    assert len(server.sessions) == 0


async def test_a_taken_name_is_a_conflict(server: Running, peer: MakePeer) -> None:
    await server.publisher(session="cam")
    answer = await peer(Flat()).post({"session": "cam"})
    assert (answer.status_code, answer.json()["close"]) == (409, 4409)


async def test_other_sites_and_unknown_tokens_are_refused(peer: MakePeer) -> None:
    async with running(clock=time.monotonic, token="sesame") as server:
        caller = RtcPeer(server, Flat())
        assert (await caller.post({}, origin="https://evil.example")).json()["close"] == 4403
        refused = await caller.post({})
        assert (refused.status_code, refused.json()["close"]) == (401, 4401)
        assert refused.headers["www-authenticate"].startswith("Bearer")
        assert (await caller.post({}, authorization="Bearer sesame")).status_code == 200
        async with httpx.AsyncClient(base_url=server.http) as http:
            assert (await http.delete(caller.location)).status_code == 401
            assert (await http.get("/webrtc/ice-servers")).status_code == 401
        await caller.close()


async def test_offers_mangled_at_random_are_refused_or_answered(server: Running, peer: MakePeer) -> None:
    """A hundred of them; none may raise what is not typed, and all their connections go."""
    sdp = await peer(Flat()).offer()
    chance = random.Random(7)
    statuses = set()
    for _ in range(100):
        lines = sdp.splitlines()
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(1, len(lines))
            change = chance.randrange(4)
            if change == 0:
                del lines[at]
            elif change == 1:
                lines.insert(at, lines[chance.randrange(len(lines))])
            elif change == 2:
                cut = chance.randrange(len(lines[at]) + 1)
                lines[at] = lines[at][:cut] + chance.choice("\0 9é:-/") + lines[at][cut + 1 :]
            else:
                lines[at] = lines[at][: chance.randrange(3, 12)]
        body = {"type": "offer", "sdp": "\r\n".join(lines) + "\r\n", "hello": {"type": "hello"}}
        answer = await post(server, json=body)
        statuses.add(answer.status_code)
        if answer.status_code == 200:
            async with httpx.AsyncClient(base_url=server.http) as http:
                assert (await http.delete(answer.headers["location"])).status_code == 200
        else:
            assert answer.json()["type"] == "error", answer.text
    assert statuses <= {200, 400}
    await gone(server)


async def test_a_hundred_offers_at_once_leave_nothing(
    server: Running, peer: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamgen.server.webrtc.peer.CONNECT_TIMEOUT_S", 0.5)
    bystander = peer(Flat())
    await bystander.connect({"session": "cam"})
    sdp = await peer(Flat()).offer()
    before = connections()
    tasks = len(asyncio.all_tasks())
    body = {"type": "offer", "sdp": sdp, "hello": {"type": "hello"}}
    async with httpx.AsyncClient(base_url=server.http, timeout=TIMEOUT_S) as http:
        answers = await asyncio.gather(*(http.post("/webrtc/offer", json=body) for _ in range(100)))
    refused = [answer.json() for answer in answers if answer.status_code != 200]
    # Besides the bystander: max_sessions is 16, and those that connect too late make room for others.
    assert len(answers) - len(refused) >= 15
    assert {error["code"] for error in refused} == {"server_full"} and all(error["retryable"] for error in refused)
    await gone(server, 1)
    await bystander.see()
    async with asyncio.timeout(TIMEOUT_S):
        while connections() > before or len(asyncio.all_tasks()) > tasks:
            await asyncio.sleep(0.05)


async def test_a_client_that_hangs_up_during_its_offer_leaves_nothing(server: Running, peer: MakePeer) -> None:
    sdp = await peer(Flat()).offer()
    request = asyncio.create_task(post(server, json={"type": "offer", "sdp": sdp, "hello": {"type": "hello"}}))
    await asyncio.sleep(0.005)
    request.cancel()
    await asyncio.wait([request])
    assert len(server.peers) <= 1


async def test_a_flood_of_messages_ends_the_connection_that_sends_it(server: Running, peer: MakePeer) -> None:
    flooding = peer(Flat())
    await flooding.connect({})
    for _ in range(2000):
        flooding.say("stats")
    await gone(server)
    other = peer(Flat())
    await other.connect({})
    assert (await other.see()).shape == (256, 256, 3)


async def test_pictures_on_the_data_channel_are_refused(server: Running, peer: MakePeer) -> None:
    publisher = peer(Flat())
    await publisher.connect({})
    publisher.channel.send(b"SG" + 100 * b"\0")
    assert (await publisher.hear("error"))["code"] == "unexpected_binary"
    publisher.say("stats")
    await publisher.hear("stats")
