"""Addresses, ports, STUN and TURN."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

import pytest
from aiortc import RTCPeerConnection, rtcicetransport

from streamgen.config import ServerConfig
from streamgen.errors import ConfigError
from streamgen.server.webrtc.ice import IceSetup, use


def setup(**options: Any) -> IceSetup:
    return IceSetup.of(ServerConfig(**options))


async def candidates(monkeypatch: pytest.MonkeyPatch, made: IceSetup) -> list[str]:
    """What a connection would offer, ``address port type ...``."""
    monkeypatch.setattr(rtcicetransport, "Connection", rtcicetransport.Connection)
    use(made)
    connection = RTCPeerConnection(made.configuration(0))
    connection.createDataChannel("any")
    await connection.setLocalDescription(await connection.createOffer())
    sdp = connection.localDescription.sdp
    await connection.close()
    return [line.split(" ", 4)[4] for line in sdp.splitlines() if line.startswith("a=candidate")]


async def test_a_server_on_the_loopback_offers_the_loopback_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    made = setup(ice_servers=("stun:stun.example.org",))
    assert made.loopback_only
    assert made.configuration(0).iceServers == []
    offered = await candidates(monkeypatch, made)
    assert len(offered) == 1 and offered[0].startswith("127.0.0.1 ")


async def test_ports_come_from_the_range(monkeypatch: pytest.MonkeyPatch) -> None:
    offered = await candidates(monkeypatch, setup(webrtc_ports="52100-52160"))
    assert 52100 <= int(offered[0].split(" ")[1]) <= 52160


async def test_a_public_address_is_offered_beside_the_own_one(monkeypatch: pytest.MonkeyPatch) -> None:
    own, public = await candidates(monkeypatch, setup(webrtc_public_address="203.0.113.7"))
    assert own.startswith("127.0.0.1 ") and public.startswith("203.0.113.7 ")
    assert own.split(" ")[1] == public.split(" ")[1] and "typ srflx raddr 127.0.0.1" in public


def test_a_server_for_others_offers_every_interface() -> None:
    made = setup(host="0.0.0.0", token="x")
    assert made.addresses == () and not made.loopback_only
    assert setup(host="0.0.0.0", token="x", webrtc_addresses=("192.0.2.1",)).addresses == ("192.0.2.1",)


def test_clients_are_told_of_stun_and_turn() -> None:
    made = setup(
        ice_servers=("stun:stun.example.org:3478", "turn:relay.example.org?transport=udp"),
        turn_username="me",
        turn_password="secret",
    )
    assert made.client_servers(0) == [
        {"urls": ["stun:stun.example.org:3478"]},
        {"urls": ["turn:relay.example.org?transport=udp"], "username": "me", "credential": "secret"},
    ]


def test_a_shared_secret_makes_credentials_that_end() -> None:
    made = setup(ice_servers=("turns:relay.example.org",), turn_secret="shared", turn_seconds=600)
    (server,) = made.client_servers(1_000_000.9)
    assert server["username"] == "1000600:streamgen"
    digest = hmac.new(b"shared", b"1000600:streamgen", hashlib.sha1).digest()
    assert server["credential"] == base64.b64encode(digest).decode()


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"webrtc_addresses": ("localhost",)}, "webrtc_addresses"),
        ({"webrtc_public_address": "me.example.org"}, "webrtc_addresses"),
        ({"webrtc_ports": "5000"}, "webrtc_ports"),
        ({"webrtc_ports": "6000-5000"}, "webrtc_ports"),
        ({"webrtc_ports": "1-70000"}, "webrtc_ports"),
        ({"ice_servers": ("http://stun.example.org",)}, "ice_servers"),
        ({"ice_servers": ("stun:",)}, "ice_servers"),
        ({"turn_secret": "a", "turn_username": "b"}, "turn_secret"),
    ],
)
def test_what_cannot_work_is_refused_at_the_start(options: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError) as refused:
        setup(**options)
    assert (refused.value.code, refused.value.field) == ("bad_ice", field)
