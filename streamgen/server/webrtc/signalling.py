"""``/webrtc``: one round trip from a browser's offer to a connection."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict
from starlette.responses import JSONResponse, Response

from streamgen.errors import AccessError, SessionError, StreamgenError
from streamgen.protocol import Hello, Welcome
from streamgen.server.access import Grant
from streamgen.server.house import House
from streamgen.server.refusal import refusal
from streamgen.server.request_body import parse_body, read_body
from streamgen.server.webrtc.encoders import hardware_h264
from streamgen.server.webrtc.ice import IceSetup
from streamgen.server.webrtc.offer import MAX_SDP_BYTES, Offer
from streamgen.server.webrtc.peer import Peer

__all__ = ["MAX_PEERS", "Peers", "routes"]

_LOG = logging.getLogger(__name__)

MAX_PEERS = 256
_AT_ONCE = 4
"""Offers being answered; certificates and handshakes take the event loop's time from everybody's frames."""
_MAX_WAITING = 64
_NAME_BYTES = 24
_BODY_BYTES = MAX_SDP_BYTES + 80 * 1024


class Peers:
    """The WebRTC connections of one server, by name. Call ``close()`` at the end."""

    def __init__(self, house: House, ice: IceSetup) -> None:
        self.ice = ice
        self._house = house
        self._hardware = hardware_h264()
        if self._hardware:
            _LOG.info("H264 is encoded by %s, which opens here", self._hardware)
        self._by_name: dict[str, Peer] = {}
        self._answering = asyncio.Semaphore(_AT_ONCE)
        self._waiting = 0

    def __len__(self) -> int:
        return len(self._by_name)

    async def answer(self, sdp: str, hello: Hello | None, grant: Grant) -> tuple[Peer, str, Welcome | None]:
        """Make a connection of an offer, for what ``grant`` allows.

        Raises:
            ProtocolError: ``bad_sdp`` or ``sdp_too_large``.
            SessionError: ``server_full``.
            StreamgenError: why the hello cannot be granted.
        """
        offer = Offer.parse(sdp, loopback_only=self.ice.loopback_only)
        if len(self._by_name) >= MAX_PEERS or self._waiting >= _MAX_WAITING:
            raise SessionError("server_full", "too many connections are open or being made", retryable=True)
        self._waiting += 1
        try:
            async with self._answering:
                return await self._answer(offer, hello, grant)
        finally:
            self._waiting -= 1

    async def _answer(self, offer: Offer, hello: Hello | None, grant: Grant) -> tuple[Peer, str, Welcome | None]:
        peer = Peer(secrets.token_urlsafe(_NAME_BYTES), self._house, grant, self.ice, self._forget, self._hardware)
        self._by_name[peer.name] = peer
        try:
            answer, welcome = await peer.answer(offer, hello)
        except BaseException:  # also when the client hangs up meanwhile
            peer.close()
            raise
        return peer, answer, welcome

    def get(self, name: str) -> Peer:
        """Raises:
        SessionError: ``no_such_connection``.
        """
        peer = self._by_name.get(name)
        if peer is None:
            raise SessionError("no_such_connection", "there is no connection of that name")
        return peer

    async def close(self) -> None:
        """End every connection."""
        await asyncio.gather(*(peer.close() for peer in tuple(self._by_name.values())))

    def _forget(self, peer: Peer) -> None:
        self._by_name.pop(peer.name, None)


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore")

    type: Literal["offer"]
    sdp: str
    hello: Hello | None = None


_OFFER_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["type", "sdp"],
                    "properties": {
                        "type": {"const": "offer"},
                        "sdp": {"type": "string"},
                        "hello": {"type": "object", "description": "The first message; see docs/protocol.md."},
                    },
                }
            }
        },
    }
}


def routes(house: House, peers: Peers) -> APIRouter:
    """The routes of the demo page and the SDKs."""
    router = APIRouter(prefix="/webrtc", tags=["webrtc"])

    @router.get("/ice-servers", summary="STUN and TURN servers, as RTCPeerConnection takes them")
    async def ice_servers(request: Request) -> Response:
        try:
            house.admit(request)
        except AccessError as error:
            return refusal(error)
        return JSONResponse(peers.ice.client_servers(time.time()), headers={"Cache-Control": "no-store"})

    @router.post("/offer", summary="Answer an offer", response_model=None, openapi_extra=_OFFER_BODY)
    async def offer(request: Request) -> Response:
        try:
            grant = house.admit(request)
            body = parse_body(_Body, await read_body(request, _BODY_BYTES))
            peer, answer, welcome = await peers.answer(body.sdp, body.hello, grant)
        except StreamgenError as error:
            return refusal(error)
        said: dict[str, Any] = {
            "type": "answer",
            "sdp": answer,
            "welcome": None if welcome is None else welcome.model_dump(mode="json"),
        }
        return JSONResponse(said, headers={"Location": f"/webrtc/{peer.name}"})

    @router.delete("/{name}", summary="End a connection", response_model=None)
    async def delete(request: Request, name: str) -> Response:
        try:
            house.admit(request)
            await peers.get(name).close()
        except StreamgenError as error:
            return refusal(error)
        return Response(status_code=200)

    return router
