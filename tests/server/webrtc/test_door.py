"""WebRTC where it is, and where it is not."""

from __future__ import annotations

import httpx
import pytest

from tests.server.conftest import running


@pytest.mark.parametrize("version", ["1.15.0", "1.17.2", "2.0.0"])
async def test_an_aiortc_whose_inside_is_unknown_leaves_the_websocket(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, version: str
) -> None:
    monkeypatch.setattr("aiortc.__version__", version)
    async with running() as server, httpx.AsyncClient(base_url=server.http) as http:
        assert (await http.get("/webrtc/ice-servers")).status_code == 404
        await server.publisher()
    assert version in caplog.text


async def test_it_can_be_switched_off() -> None:
    async with running(webrtc=False) as server, httpx.AsyncClient(base_url=server.http) as http:
        assert (await http.get("/webrtc/ice-servers")).status_code == 404


async def test_browsers_are_told_of_the_servers_to_gather_with() -> None:
    async with running(ice_servers=("stun:127.0.0.1:3478",)) as server, httpx.AsyncClient(base_url=server.http) as http:
        answer = await http.get("/webrtc/ice-servers")
        assert answer.json() == [{"urls": ["stun:127.0.0.1:3478"]}]
        assert answer.headers["cache-control"] == "no-store"
