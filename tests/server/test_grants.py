"""What a signed token lets in, by every way there is, and for how long."""

from __future__ import annotations

import asyncio
import base64
import time
from typing import Any

import httpx
import pytest

from streamgen.frames import Pixels
from streamgen.protocol import SUBPROTOCOL, Close
from streamgen.tokens import Claims, TokenKeys
from tests.server.conftest import TIMEOUT_S, Peer, Running, running
from tests.server.webrtc.peers import Flat, RtcPeer

SECRET = "the-secret-of-this-server"
NOW_S = 1000.0
PAGE = "http://localhost:5173"
MUTATING = [
    ("POST", "/webrtc/offer"),
    ("DELETE", "/webrtc/nobody"),
    ("POST", "/whip/cam"),
    ("PATCH", "/whip/cam/nobody"),
    ("DELETE", "/whip/cam/nobody"),
    ("POST", "/whep/cam"),
    ("PATCH", "/whep/cam/nobody"),
    ("DELETE", "/whep/cam/nobody"),
    ("POST", "/api/v1/tokens"),
    ("DELETE", "/api/v1/sessions/cam"),
    ("POST", "/api/v1/sessions/nobody/recording"),
    ("DELETE", "/api/v1/sessions/nobody/recording"),
    ("PUT", "/api/v1/presets/nobody"),
    ("DELETE", "/api/v1/presets/nobody"),
]
READING = [
    ("GET", "/mjpeg/cam"),
    ("GET", "/webrtc/ice-servers"),
    ("GET", "/api/v1/models"),
    ("GET", "/api/v1/sessions"),
    ("GET", "/api/v1/sessions/cam/snapshot"),
    ("GET", "/api/v1/sessions/nobody/recording"),
    ("GET", "/api/v1/presets"),
    ("GET", "/api/v1/presets/nobody"),
    ("GET", "/metrics"),
]


def signed(role: str, session: str | None = None, *, left_s: float = 1000, secret: str = SECRET, **claims: Any) -> str:
    """A token that is good for so long from ``NOW_S`` on, give or take a second."""
    made = Claims(role=role, session=session, expires=int(NOW_S + left_s), **claims)
    return TokenKeys(secret).mint(made)


def guarded(**options: Any) -> Any:
    """A server whose clock on the wall stands still."""
    return running(**{"token": SECRET, "clock": time.monotonic, "wall_clock": lambda: NOW_S, **options})


async def knock(server: Running, token: str, **options: Any) -> Peer:
    """A WebSocket that offers a token."""
    offered = base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")
    return await server.peer(subprotocols=[SUBPROTOCOL, f"token.{offered}"], **options)


async def ask(server: Running, method: str, path: str, token: str = "", **options: Any) -> httpx.Response:
    headers = {**({"authorization": f"Bearer {token}"} if token else {}), **options.pop("headers", {})}
    async with httpx.AsyncClient(base_url=server.http, trust_env=False, timeout=TIMEOUT_S) as http:
        return await http.request(method, path, headers=headers, **options)


# ------------------------------------------------------------------------------------------------------- every way in


async def test_every_route_that_changes_something_is_in_this_list() -> None:
    async with guarded() as server:
        paths = (await ask(server, "GET", "/openapi.json")).json()["paths"]
    found = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    found = {(method, path) for method, path in found if method not in ("GET", "HEAD", "OPTIONS")}
    named = {(method, path.replace("/nobody", "/{name}").replace("/cam", "/{session}")) for method, path in MUTATING}
    assert found == named


@pytest.mark.parametrize(("method", "path"), MUTATING + READING)
async def test_no_way_in_opens_to_other_sites_rebound_names_or_unknown_tokens(method: str, path: str) -> None:
    async with guarded() as server:
        refused = await ask(server, method, path, SECRET, headers={"origin": "https://evil.example"})
        assert (refused.status_code, refused.json()["code"]) == (403, "origin_not_allowed")
        refused = await ask(server, method, path, SECRET, headers={"sec-fetch-site": "cross-site"})
        assert (refused.status_code, refused.json()["code"]) == (403, "origin_not_allowed")
        for token in ("", "wrong", signed("publish", secret="the-secret-of-another")):
            refused = await ask(server, method, path, token)
            assert (refused.status_code, refused.json()["code"]) == (401, "unauthorised")
            assert refused.headers["www-authenticate"]
        refused = await ask(server, method, path, signed("publish", left_s=0))
        assert (refused.status_code, refused.json()["code"]) == (401, "token_expired")
    async with guarded(token="") as server:
        refused = await ask(server, method, path, headers={"host": "rebound.example"})
        assert (refused.status_code, refused.json()["code"]) == (403, "origin_not_allowed")


SOCKETS = {
    "another site": ("", {"origin": "https://evil.example"}, "origin_not_allowed", Close.ORIGIN),
    "no token": ("", {}, "unauthorised", Close.UNAUTHORISED),
    "a wrong one": ("wrong", {}, "unauthorised", Close.UNAUTHORISED),
    "another server's": (signed("view", secret="the-secret-of-another"), {}, "unauthorised", Close.UNAUTHORISED),
    "one that has expired": (signed("view", left_s=0), {}, "token_expired", Close.TOKEN_EXPIRED),
    "another page's": (
        signed("view", origins=("https://mixer.example",)),
        {"origin": PAGE},
        "token_scope",
        Close.TOKEN_SCOPE,
    ),
}


@pytest.mark.parametrize(("token", "headers", "code", "close"), SOCKETS.values(), ids=SOCKETS)
async def test_a_websocket_learns_why_it_is_closed(token: str, headers: dict[str, str], code: str, close: int) -> None:
    async with guarded() as server:
        peer = await knock(server, token, additional_headers=headers)
        assert (await peer.hear("error"))["code"] == code
        assert await peer.closed() == close


async def test_a_token_is_good_from_its_own_page_and_for_programs() -> None:
    async with guarded(origins=("https://mixer.example",)) as server:
        token = signed("publish", origins=("https://mixer.example",))
        for headers in ({"origin": "https://mixer.example"}, {}):
            assert (await (await knock(server, token, additional_headers=headers)).hello())["type"] == "welcome"


async def test_what_a_former_secret_signed_is_good_and_the_secret_itself_is_not() -> None:
    async with guarded(former_tokens=("the-secret-of-yesterday",)) as server:
        assert (await ask(server, "GET", "/api/v1/models", "the-secret-of-yesterday")).status_code == 401
        token = signed("view", secret="the-secret-of-yesterday")
        assert (await ask(server, "GET", "/api/v1/models", token)).status_code == 200


# ------------------------------------------------------------------------------------------------------ what it allows


@pytest.mark.parametrize(
    ("role", "session", "hello", "field"),
    [
        ("view", "cam", {"role": "publish"}, "role"),
        ("view", "cam", {"role": "control"}, "role"),
        ("control", "cam", {"role": "publish"}, "role"),
        ("view", None, {"role": "publish", "session": "new"}, "role"),
        ("view", "cam", {"role": "view", "session": "other"}, "session"),
        ("publish", "other", {"role": "publish", "session": "cam"}, "session"),
        ("publish", "other", {"role": "view", "session": "cam"}, "session"),
    ],
)
async def test_what_the_token_is_not_for_is_refused(
    role: str, session: str | None, hello: dict[str, str], field: str
) -> None:
    async with guarded() as server:
        owner = await knock(server, SECRET)
        await owner.hello(session="cam")
        peer = await knock(server, signed(role, session))
        error = await peer.hello(**hello)
        assert (error["code"], error["field"]) == ("token_scope", field)
        assert await peer.closed() == Close.TOKEN_SCOPE
        assert len(server.sessions) == 1


async def test_nobody_takes_over_a_session_that_the_token_is_not_for() -> None:
    async with guarded() as server:
        owner = await knock(server, SECRET)
        resume = (await owner.hello(session="cam"))["resume"]
        peer = await knock(server, signed("publish", "other"))
        assert (await peer.hello(resume=resume))["code"] == "token_scope"
        peer = await knock(server, signed("publish", "cam"))
        assert (await peer.hello(resume=resume))["resumed"]


async def test_a_hello_without_a_session_means_the_one_of_the_token(picture: Pixels) -> None:
    async with guarded() as server:
        publisher = await knock(server, signed("publish", "cam"))
        assert (await publisher.hello())["session"] == "cam"
        viewer = await knock(server, signed("view", "cam"))
        assert (await viewer.hello(role="view"))["session"] == "cam"
        await publisher.frame(picture)
        assert (await viewer.see())[0].source_seq == 0


async def test_a_token_for_one_session_changes_its_settings_and_not_everybodys_model() -> None:
    async with guarded() as server:
        await (await knock(server, signed("publish", "cam"))).hello()
        steering = await knock(server, signed("control", "cam"))
        await steering.hello(role="control")
        assert (await steering.ask("update", settings={"steps": 2}))["type"] == "updated"
        refused = await steering.ask("switch", model="other")
        assert (refused["code"], refused["field"]) == ("token_scope", "session")
        assert server.worker.switches == []


async def test_pictures_over_http_are_for_the_tokens_own_session() -> None:
    async with guarded() as server:
        await (await knock(server, SECRET)).hello(session="cam")
        for path in ("/mjpeg/cam", "/mjpeg/nobody"):  # it is not told whether there is such a session
            refused = await ask(server, "GET", path, signed("view", "other"))
            assert (refused.status_code, refused.json()["field"]) == (403, "session")
        assert (await ask(server, "HEAD", "/mjpeg/cam", signed("view", "cam"))).status_code == 200


@pytest.mark.parametrize(("kind", "role", "field"), [("whip", "view", "role"), ("whep", "publish", "session")])
async def test_whip_and_whep_ask_for_the_right_token(kind: str, role: str, field: str) -> None:
    async with guarded() as server:
        token = signed(role, "cam" if field == "role" else "other")
        headers = {"content-type": "application/sdp"}
        refused = await ask(server, "POST", f"/{kind}/cam", token, headers=headers, content="v=0")
        assert (refused.status_code, refused.json()["code"], refused.json()["field"]) == (403, "token_scope", field)


@pytest.mark.parametrize("in_offer", [True, False])
async def test_webrtc_is_held_to_the_token_whichever_way_hello_is_said(in_offer: bool) -> None:
    async with guarded() as server:
        peer = RtcPeer(server, Flat())
        hello = {"session": "cam"}
        answer = await peer.post(hello if in_offer else None, authorization=f"Bearer {signed('view', 'cam')}")
        if in_offer:
            assert (answer.status_code, answer.json()["close"]) == (403, Close.TOKEN_SCOPE)
        else:
            await peer.accept(answer.json()["sdp"])
            await peer.opened()
            peer.say("hello", **hello)
            assert (await peer.hear("error"))["code"] == "token_scope"
            assert (await peer.hear("bye"))["code"] == Close.TOKEN_SCOPE
        await peer.close()
        assert len(server.sessions) == 0


# ------------------------------------------------------------------------------------------------- how long it lasts


async def test_a_publishers_session_ends_when_its_time_is_over() -> None:
    async with guarded(wall_clock=lambda: NOW_S - 0.9) as server:
        publisher = await knock(server, signed("publish", "cam", left_s=0))
        viewer = await knock(server, SECRET)
        assert (await publisher.hello())["type"] == "welcome"
        await viewer.hello(role="view", session="cam")
        assert (await publisher.hear("bye"))["reason"] == "token_expired"
        assert await publisher.closed() == Close.TOKEN_EXPIRED
        assert await viewer.closed() == Close.NO_SESSION
        assert len(server.sessions) == 0


async def test_a_viewers_time_is_over_for_the_viewer_alone(picture: Pixels) -> None:
    async with guarded(wall_clock=lambda: NOW_S - 0.9) as server:
        publisher = await knock(server, SECRET)
        await publisher.hello(session="cam")
        viewer = await knock(server, signed("view", "cam", left_s=0))
        await viewer.hello(role="view")
        pictures = await ask(server, "GET", "/mjpeg/cam", signed("view", "cam", left_s=0))
        assert pictures.content.endswith(b"--streamgen--")  # it ended in order
        assert await viewer.closed() == Close.TOKEN_EXPIRED
        await publisher.frame(picture)
        assert (await publisher.see())[0].source_seq == 0


async def test_webrtc_ends_with_its_token_and_says_so() -> None:
    async with guarded(wall_clock=lambda: NOW_S - 0.9) as server:
        peer = RtcPeer(server, Flat())
        answer = await peer.post({"session": "cam"}, authorization=f"Bearer {signed('publish', 'cam', left_s=0)}")
        await peer.accept(answer.json()["sdp"])
        await peer.opened()
        bye = await peer.hear("bye")
        assert (bye["reason"], bye["code"]) == ("token_expired", Close.TOKEN_EXPIRED)
        async with asyncio.timeout(TIMEOUT_S):
            while len(server.peers):
                await asyncio.sleep(0)
        assert len(server.sessions) == 0
        await peer.close()


# ---------------------------------------------------------------------------------------------------------- signing one


async def test_whoever_knows_the_secret_has_tokens_signed() -> None:
    async with guarded() as server:
        asked = {"role": "view", "session": "cam", "origins": [PAGE], "expires_in": 60, "duration": 600}
        answer = await ask(server, "POST", "/api/v1/tokens", SECRET, json=asked)
        assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
        made = answer.json()
        token = made.pop("token")
        assert made == {"role": "view", "session": "cam", "origins": [PAGE], "expires": 1060, "duration": 600}
        assert TokenKeys(SECRET).read(token) == Claims(**made)
        assert (await ask(server, "GET", "/api/v1/models", token, headers={"origin": PAGE})).status_code == 200


async def test_a_signed_token_signs_no_other() -> None:
    async with guarded() as server:
        refused = await ask(server, "POST", "/api/v1/tokens", signed("publish"), json={"role": "view"})
        assert (refused.status_code, refused.json()["code"], refused.json()["field"]) == (403, "token_scope", "role")


@pytest.mark.parametrize(
    ("secret", "body", "status", "code"),
    [
        (SECRET, b'{"role": "admin"}', 400, "invalid_claim"),
        (SECRET, b"x" * 20_000, 413, "body_too_large"),
        ("short", b'{"role": "view"}', 409, "weak_secret"),
        ("", b'{"role": "view"}', 409, "no_secret"),
    ],
)
async def test_what_cannot_be_signed_is_a_typed_error(secret: str, body: bytes, status: int, code: str) -> None:
    async with guarded(token=secret) as server:
        refused = await ask(server, "POST", "/api/v1/tokens", secret, content=body)
        assert (refused.status_code, refused.json()["code"]) == (status, code)
