"""Starting and stopping the server as a program does."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.asyncio.client import connect as open_socket

from streamgen.config import ServerConfig
from streamgen.errors import ConfigError, PortInUse, StreamgenError, WeightsError
from streamgen.protocol import Close
from streamgen.server import run
from streamgen.server.run import bind, serve, server_for
from tests.server.conftest import Peer, port_of
from tests.server.fake import FakeWorker


@contextmanager
def taken_port() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield port_of(other)


def test_a_port_in_use_is_a_typed_error_before_anything_is_loaded() -> None:
    with taken_port() as port, pytest.raises(PortInUse) as caught:
        serve(ServerConfig(port=port))
    assert (caught.value.code, caught.value.field) == ("port_in_use", "port")
    assert str(port) in caught.value.message


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org"])
def test_addresses_that_others_can_reach_are_refused(host: str) -> None:
    with pytest.raises(ConfigError) as caught:
        serve(ServerConfig(host=host))
    assert (caught.value.code, caught.value.field) == ("not_loopback", "host")


def test_whoever_spells_it_out_may_listen_anywhere() -> None:
    with pytest.raises(ConfigError) as caught:
        bind(ServerConfig(host="192.0.2.1", port=0, insecure_public=True))  # nobody has this address
    assert caught.value.code == "bad_address"


def test_the_address_says_https_and_the_fingerprint_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    failure = WeightsError("weights_missing", "there is no file x.safetensors")
    monkeypatch.setattr(run, "Worker", lambda config: _failing(failure))
    with pytest.raises(WeightsError):
        serve(ServerConfig(port=0, tls_self_signed=True, data=tmp_path))
    printed = capsys.readouterr().out
    assert "the page is at https://127.0.0.1:" in printed
    assert re.search(r"fingerprint: ([0-9A-F]{2}:){31}[0-9A-F]{2}\n", printed)


@pytest.mark.parametrize("port", [-1, 70_000])
def test_an_impossible_port_is_a_typed_error(port: int) -> None:
    with pytest.raises(ConfigError):
        bind(ServerConfig(port=port))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_port_0_takes_a_free_one(host: str) -> None:
    with bind(ServerConfig(host=host, port=0)) as listener:
        assert port_of(listener) > 0


async def test_a_stopped_server_dismisses_its_clients_stops_its_worker_and_returns(
    capsys: pytest.CaptureFixture[str],
) -> None:
    config, worker = ServerConfig(port=0), FakeWorker()
    listener = bind(config)
    port = port_of(listener)
    server = server_for(config, worker, url=f"http://127.0.0.1:{port}/")
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    async with open_socket(f"ws://127.0.0.1:{port}/ws", subprotocols=["streamgen.v1"]) as client:
        peer = Peer(client)
        assert (await peer.hello())["type"] == "welcome"
        server.should_exit = True
        assert (await peer.hear("bye"))["reason"] == "shutting_down"
        assert await peer.closed() == Close.DRAINING
    await asyncio.wait_for(serving, 10)
    assert not worker.ready
    assert f"streamgen is ready:  http://127.0.0.1:{port}/" in capsys.readouterr().out


def test_a_worker_that_cannot_start_ends_the_server_with_its_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failure = WeightsError("weights_missing", "there is no file x.safetensors")
    monkeypatch.setattr(run, "Worker", lambda config: _failing(failure))
    with pytest.raises(WeightsError) as caught:
        serve(ServerConfig(port=0))
    assert caught.value is failure
    assert "is ready" not in capsys.readouterr().out


def _failing(failure: StreamgenError) -> FakeWorker:
    return FakeWorker(failure=failure)
