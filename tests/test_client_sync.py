"""The synchronous facade of the Python SDK, from a thread beside a real server."""

from __future__ import annotations

import asyncio
import inspect
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import streamgen
from streamgen.client import Stream
from streamgen.client_sync import SyncStream
from streamgen.errors import SessionError, SettingsError
from streamgen.frames import Pixels
from tests.server.conftest import Running, running

WAIT_S = 10.0


@pytest.fixture
async def server() -> AsyncIterator[Running]:
    async with running(clock=time.monotonic) as made:
        yield made


def thread_names() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


async def beside(server: Running, use: Callable[[SyncStream], Any], **options: Any) -> Any:
    """What ``use`` makes of a stream, in a thread where it blocks nobody."""

    def run() -> Any:
        with streamgen.connect_sync(server.url, **options) as stream:
            return use(stream)

    return await asyncio.to_thread(run)


async def test_frames_come_back_stylised_by_plain_calls(server: Running, picture: Pixels) -> None:
    def use(stream: SyncStream) -> list[int]:
        numbers = []
        for number in range(3):
            assert stream.send(picture) == number
            numbers.append(next(stream).seq)
        return numbers

    assert await beside(server, use) == [0, 1, 2]
    assert "streamgen-client" not in thread_names()


async def test_every_request_is_there(server: Running, picture: Pixels) -> None:
    def use(stream: SyncStream) -> None:
        assert stream.update(prompt="ink").rev == 1 and stream.settings.prompt == "ink"
        assert stream.reformat(width=320).width == 320 == stream.format.width
        stream.pause()
        assert stream.paused
        stream.resume()
        stream.send(picture)
        assert next(stream).pixels.shape[1] == 320
        assert stream.snapshot().png.startswith(b"\x89PNG")
        assert stream.stats().frames_in == 1
        figures = stream.statistics
        assert (figures.sent, figures.received, figures.reconnections) == (1, 1, 0)
        assert figures.latency_ms is not None and figures.latency_ms.p50 > 0
        assert stream.state == "open" and stream.session == stream.welcome.session
        assert stream.round_trip_ms is None or stream.round_trip_ms > 0

    await beside(server, use)


async def test_errors_are_those_of_the_stream(server: Running) -> None:
    def use(stream: SyncStream) -> None:
        with pytest.raises(SettingsError) as caught:
            stream.update(steps=99)
        assert (caught.value.code, caught.value.field) == ("invalid_settings", "steps")

    await beside(server, use)
    with pytest.raises(SettingsError):
        await beside(server, use, strength=7)
    with pytest.raises(SessionError):
        await beside(server, use, role="view", session="nobody")
    assert "streamgen-client" not in thread_names()


async def test_a_loop_may_look_for_an_output_without_waiting(server: Running, picture: Pixels) -> None:
    def use(stream: SyncStream) -> None:
        assert stream.receive(timeout_s=0) is None
        stream.send(picture)
        output = stream.receive(timeout_s=WAIT_S)
        assert output is not None and output.seq == 0
        assert stream.receive(timeout_s=0) is None

    await beside(server, use)


async def test_iteration_ends_when_another_thread_closes_the_stream(server: Running) -> None:
    def use(stream: SyncStream) -> list[int]:
        closing = threading.Timer(0.05, stream.close)
        closing.start()
        seqs = [output.seq for output in stream]
        closing.join()
        return seqs

    assert await beside(server, use) == []


async def test_a_stream_must_be_open(server: Running, picture: Pixels) -> None:
    stream = streamgen.connect_sync(server.url)
    with pytest.raises(SessionError) as caught:
        stream.send(picture)
    assert caught.value.code == "closed"

    def use(opened: SyncStream) -> SyncStream:
        return opened

    with pytest.raises(SessionError) as caught:
        (await beside(server, use)).send(picture)
    assert caught.value.code == "closed"


async def test_a_handler_that_waits_for_its_own_stream_is_told_so(server: Running) -> None:
    errors: list[SessionError] = []
    streams: list[SyncStream] = []

    def on_updated(updated: object) -> None:
        try:
            streams[0].stats()
        except SessionError as error:
            errors.append(error)

    def use(stream: SyncStream) -> None:
        streams.append(stream)
        stream.update(prompt="ink")

    await beside(server, use, on_updated=on_updated)
    assert errors and errors[0].code == "own_thread"


@contextmanager
def hung_server() -> Iterator[str]:
    """Welcomes a client, then reads and says nothing more, not even the end of the connection."""
    from websockets.server import ServerProtocol

    from streamgen.protocol import Welcome
    from streamgen.settings import FrameFormat, StreamSettings

    listener = socket.create_server(("127.0.0.1", 0))
    taken: list[socket.socket] = []

    def serve() -> None:
        connection, _ = listener.accept()
        taken.append(connection)
        protocol = ServerProtocol(subprotocols=["streamgen.v1"])  # type: ignore[list-item]
        heard = 0
        while heard < 2:
            protocol.receive_data(connection.recv(65536))
            for event in protocol.events_received():
                heard += 1
                if heard == 1:
                    protocol.send_response(protocol.accept(event))  # type: ignore[arg-type]
                else:
                    shape = FrameFormat(width=256, height=256)
                    about = {"session": "cam", "role": "publish", "resume": None, "model": "none", "rev": 0}
                    welcome = Welcome(**about, format=shape, settings=StreamSettings())  # type: ignore[arg-type]
                    protocol.send_text(welcome.dump().encode())
            for data in protocol.data_to_send():
                connection.sendall(data)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}/ws"
    finally:
        for end in (listener, *taken):
            end.close()
        thread.join(WAIT_S)


def test_closing_leaves_a_server_that_does_not_answer_within_two_seconds() -> None:
    with hung_server() as url:
        stream = streamgen.connect_sync(url)
        with stream:
            for _ in range(5):
                stream.send(np.zeros((512, 512, 3), np.uint8))
            began_s = time.monotonic()
        assert time.monotonic() - began_s < 2.5
    assert "streamgen-client" not in thread_names()


async def test_closing_an_async_stream_is_as_bounded() -> None:
    with hung_server() as url:
        async with streamgen.connect(url) as stream:
            asking = asyncio.create_task(stream.stats())
            await asyncio.sleep(0)
            began_s = time.monotonic()
        assert time.monotonic() - began_s < 2.5
        with pytest.raises(SessionError) as caught:
            await asking
        assert caught.value.code == "connection_lost"


def test_the_facade_has_all_that_the_stream_has() -> None:
    def public(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    assert public(SyncStream) == public(Stream)
    for name in public(Stream):
        theirs, ours = vars(Stream)[name], vars(SyncStream)[name]
        if not isinstance(theirs, property):
            assert inspect.signature(theirs) == inspect.signature(ours), name
