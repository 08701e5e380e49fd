"""WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep): publishing into a session and watching one, SDP over plain HTTP.

``POST /whip/{session}`` opens the session, or goes on with one whose publisher is gone, as OBS does when it reconnects;
``POST /whep/{session}`` watches it. Both answer 201 with the connection's own URL, where ``PATCH`` adds candidates and
``DELETE`` ends it. OBS insists on exactly 201 with a body and on 200 for the deletion.

Settings may stand behind the question mark (``/whip/studio?prompt=pencil&strength=0.8``); a client in the role
``control`` changes them while the stream runs.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiortc.sdp import candidate_from_sdp
from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.responses import Response

from streamgen.errors import ProtocolError, StreamgenError
from streamgen.protocol import Hello
from streamgen.server.body import read_body
from streamgen.server.house import House
from streamgen.server.refusal import refusal
from streamgen.server.webrtc.offer import MAX_SDP_BYTES, is_usable
from streamgen.server.webrtc.peer import Peer
from streamgen.server.webrtc.signalling import Peers
from streamgen.settings import FrameFormat

__all__ = ["routes"]

_SDP = "application/sdp"
_FRAGMENT = "application/trickle-ice-sdpfrag"
_MAX_QUERY = 4096
_MAX_TRICKLED = 32
_FORMAT = frozenset(FrameFormat.model_fields)


def routes(house: House, peers: Peers) -> APIRouter:
    """The routes of both protocols."""
    router = APIRouter(tags=["whip", "whep"])
    for kind in ("whip", "whep"):
        _add(router, kind, house, peers)
    return router


def _add(router: APIRouter, kind: str, house: House, peers: Peers) -> None:
    """The four methods of one of them."""

    def guarded(answer: Callable[..., Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def route(request: Request) -> Response:
            try:
                house.access.check(request.headers)
                return await answer(request, **request.path_params)
            except StreamgenError as error:
                return refusal(error)

        return route

    async def options(request: Request, session: str) -> Response:
        return Response(status_code=204, headers={"Accept-Post": _SDP, **_ice_links(peers)})

    async def post(request: Request, session: str) -> Response:
        _check_type(request, _SDP)
        sdp = _text(await read_body(request, MAX_SDP_BYTES))
        hello = _hello(kind, session, request, house)
        if not house.worker.ready:
            # Never made to wait for a model: OBS gives up after eight seconds, and comes back by itself.
            await house.startup.wait(0)
        peer, answer, _ = await peers.answer(sdp, hello)
        headers = {"Location": f"/{kind}/{session}/{peer.name}", "ETag": _etag(peer), **_ice_links(peers)}
        return Response(answer, 201, headers, _SDP)

    async def patch(request: Request, session: str, name: str) -> Response:
        peer = peers.get(name)
        _check_type(request, _FRAGMENT)
        condition = request.headers.get("if-match")
        if condition is None:
            raise ProtocolError("etag_required", "name the ICE session in If-Match", field="if-match")
        if condition not in ("*", _etag(peer)):
            raise ProtocolError("etag_mismatch", "If-Match names another ICE session", field="if-match")
        await _trickle(peer, _text(await read_body(request, MAX_SDP_BYTES)), peers)
        return Response(status_code=204, headers={"ETag": _etag(peer)})

    async def delete(request: Request, session: str, name: str) -> Response:
        await peers.get(name).close()
        return Response(status_code=200)

    async def reserved(request: Request, session: str) -> Response:
        return Response(status_code=405, headers={"Allow": "POST, OPTIONS"})

    verb = "Publish into" if kind == "whip" else "Watch"
    path = f"/{kind}/{{session}}"
    router.add_api_route(path, guarded(post), methods=["POST"], summary=f"{verb} a session")
    router.add_api_route(path, guarded(options), methods=["OPTIONS"], summary="What may be posted")
    # Named here, or the pages' route would answer that there is no such page.
    router.add_api_route(path, guarded(reserved), methods=["GET", "HEAD", "PUT"], include_in_schema=False)
    router.add_api_route(f"{path}/{{name}}", guarded(patch), methods=["PATCH"], summary="Add candidates")
    router.add_api_route(f"{path}/{{name}}", guarded(delete), methods=["DELETE"], summary="End it")


def _hello(kind: str, session: str, request: Request, house: House) -> Hello:
    """What a client of streamgen.v1 would have said."""
    said: dict[str, Any] = {"role": "view", "session": session, "client": kind}
    if kind == "whip":
        format, settings = _wanted(request)
        said |= {"role": "publish", "format": format, "settings": settings}
        waiting = house.sessions.get(session)
        if waiting is not None and waiting.publisher is None:
            said["resume"] = waiting.token
    try:
        return Hello(**said)
    except ValidationError:
        fact = "a session's name has 1 to 64 letters, digits, - and _"
        raise ProtocolError("invalid_message", f"{fact}, got {session[:80]!r}", field="session") from None


def _wanted(request: Request) -> tuple[dict[str, Any], dict[str, Any]]:
    """Format and settings in the query; each value is JSON or else a text."""
    if len(request.url.query) > _MAX_QUERY:
        raise ProtocolError("message_too_long", f"a query has at most {_MAX_QUERY} characters", field="query")
    wanted = {name: _value(text) for name, text in request.query_params.items()}
    format = {name: value for name, value in wanted.items() if name in _FORMAT}
    return format, {name: value for name, value in wanted.items() if name not in _FORMAT}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


async def _trickle(peer: Peer, fragment: str, peers: Peers) -> None:
    """Take the candidates of an SDP fragment (RFC 8840).

    Raises:
        ProtocolError: ``bad_sdp``, or ``ice_restart_unsupported`` where it names another ICE user.
    """
    lines = fragment.replace("\r\n", "\n").split("\n")
    for line in lines:
        if line.startswith("a=ice-ufrag:") and line.removeprefix("a=ice-ufrag:") not in peer.ufrags:
            raise ProtocolError("ice_restart_unsupported", "connections are not restarted: end this one and post anew")
    mid = next((line.removeprefix("a=mid:") for line in lines if line.startswith("a=mid:")), None)
    candidates = [line for line in lines if line.startswith("a=candidate:")]
    if len(candidates) > _MAX_TRICKLED:
        raise ProtocolError("bad_sdp", f"at most {_MAX_TRICKLED} candidates at a time", field="sdp")
    for line in candidates:
        if not is_usable(line, peers.ice.loopback_only):
            continue
        try:
            candidate = candidate_from_sdp(line.removeprefix("a=candidate:"))
        except (ValueError, AssertionError, LookupError):
            raise ProtocolError("bad_sdp", f"no candidate: {line[:80]!r}", field="sdp") from None
        candidate.sdpMid = mid
        if mid is None:
            candidate.sdpMLineIndex = 0
        await peer.connection.addIceCandidate(candidate)


def _ice_links(peers: Peers) -> dict[str, str]:
    """The ``Link`` header that names STUN and TURN servers."""
    links = []
    for server in peers.ice.client_servers(time.time()):
        credentials = ""
        if "username" in server:
            name, secret = _quoted(server["username"]), _quoted(server["credential"])
            credentials = f'; username={name}; credential={secret}; credential-type="password"'
        links += [f'<{url}>; rel="ice-server"{credentials}' for url in server["urls"]]
    return {"Link": ", ".join(links)} if links else {}


def _quoted(text: str) -> str:
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


def _etag(peer: Peer) -> str:
    """One ICE session a connection: there are no restarts."""
    return f'"{peer.name[:16]}"'


def _check_type(request: Request, wanted: str) -> None:
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != wanted:
        raise ProtocolError("unsupported_media_type", f"the body must be {wanted}, got {given!r}", field="content-type")


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise ProtocolError("bad_sdp", "an SDP is text in UTF-8", field="sdp") from None
