"""What a starting server tells, and how its lines name sessions."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from streamgen.config import ServerConfig
from streamgen.errors import PortInUse
from streamgen.logs import configure_logs
from streamgen.server import run
from streamgen.server.outbox import Delivery
from tests.server.conftest import bind, port_of, running

PICTURE = np.full((64, 64, 3), 90, np.uint8)


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    loggers = [logging.getLogger(), logging.getLogger("streamgen")]
    before = [(logger, logger.handlers[:], logger.level) for logger in loggers]
    yield
    for logger, handlers, level in before:
        logger.handlers[:] = handlers
        logger.setLevel(level)


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Ports that ``serve`` listens on, where nothing is served."""
    ports: list[int] = []

    def listen(sockets: list[socket.socket]) -> None:
        ports.extend(port_of(each) for each in sockets)

    server = SimpleNamespace(run=listen, failure=None, fail=None, certificate=None)
    monkeypatch.setattr(run, "worker_for", lambda config: SimpleNamespace(on_given_up=None))
    monkeypatch.setattr(run, "server_for", lambda *_, **__: server)
    return ports


def free_port() -> int:
    with bind(ServerConfig(port=0)) as listener:
        return port_of(listener)


def test_the_token_is_told_on_the_terminal_and_kept_out_of_json_logs(
    sockets: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    for format in ("text", "json"):
        configure_logs(format, "server")
        run.serve(ServerConfig(port=0, token="s3cret", log_format=format))
    told = capsys.readouterr()
    assert told.out.endswith("/#token=s3cret\n") and told.out.count("\n") == 1
    [line] = map(json.loads, told.err.splitlines())
    assert line["message"] == f"loading tiny; the page is at http://127.0.0.1:{sockets[1]}/"


def test_metrics_get_a_socket_of_their_own_and_a_port_in_use_names_the_option(sockets: list[int]) -> None:
    port = free_port()
    run.serve(ServerConfig(port=0, metrics_port=port))
    assert len(sockets) == 2 and sockets[1] == port
    with bind(ServerConfig(port=0)) as other, pytest.raises(PortInUse, match="choose another with --metrics-port"):
        run.serve(ServerConfig(port=0, metrics_port=port_of(other)))


async def test_lines_of_a_server_that_logs_json_say_that_it_serves_and_whom(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    configure_logs("json", "server")

    async def broken(delivery: Delivery) -> bytes:
        raise ZeroDivisionError("a defect")

    async with running(log_format="json") as server:
        await server.publisher(session="other")
        publisher = await server.publisher(session="cam")
        monkeypatch.setattr(Delivery, "seal", broken)
        await publisher.frame(PICTURE)
        await publisher.closed()
    lines: list[dict[str, Any]] = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert lines[0]["message"] == "fake serves on none" and "session" not in lines[0]
    opened = {line["session"] for line in lines if line["message"] == "a session opened, 256x256"}
    assert opened == {"other", "cam"}
    [failed] = [line for line in lines if line["level"] == "error"]
    assert failed["session"] == "cam" and "ZeroDivisionError" in failed["exception"]
