"""A real uvicorn on a free loopback port with a fake worker, and a bare protocol client to talk to it."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest
import simplejpeg
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_socket
from websockets.exceptions import ConnectionClosed

from streamgen.config import ServerConfig
from streamgen.frames import Pixels
from streamgen.protocol import SUBPROTOCOL
from streamgen.server.house import House
from streamgen.server.run import bind, server_for
from streamgen.server.sessions import Sessions
from streamgen.wire import Codec, FrameHeader, Kind, pack_frame, parse_frame
from tests.server.fake import FakeWorker

TIMEOUT_S = 10.0
APP_OPTIONS = ("hello_timeout_s", "request_timeout_s", "wall_clock")


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Peer:
    """A client that does exactly what a test tells it."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def say(self, type: str, **fields: Any) -> None:
        await self.socket.send(json.dumps({"type": type, **fields}))

    async def hear(self, *types: str) -> dict[str, Any]:
        """The next text message of one of these types; everything before it is skipped."""
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                data = await self.socket.recv()
                if isinstance(data, str) and (message := json.loads(data))["type"] in types:
                    return dict(message)

    async def see(self) -> tuple[FrameHeader, bytes]:
        """The next binary message; text before it is skipped."""
        async with asyncio.timeout(TIMEOUT_S):
            while isinstance(data := await self.socket.recv(), str):
                pass
        header, payload = parse_frame(data)
        return header, bytes(payload)

    async def ask(self, type: str, **fields: Any) -> dict[str, Any]:
        """Send a request and return its answer, found by its ref."""
        ref = fields.setdefault("ref", f"ref-{type}")
        await self.say(type, **fields)
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                data = await self.socket.recv()
                if isinstance(data, str) and (message := json.loads(data)).get("ref") == ref:
                    return dict(message)

    async def hello(self, **fields: Any) -> dict[str, Any]:
        await self.say("hello", **fields)
        return await self.hear("welcome", "error")

    async def frame(self, pixels: Pixels, seq: int = 0, **fields: Any) -> None:
        height, width = pixels.shape[:2]
        payload = simplejpeg.encode_jpeg(pixels, colorspace="RGB")
        fields = {"kind": Kind.INPUT, "codec": Codec.JPEG, "width": width, "height": height, **fields}
        header = FrameHeader(**fields, seq=seq, source_seq=seq)
        await self.socket.send(pack_frame(header, payload))

    async def closed(self) -> int | None:
        """Read until the server closes; its close code."""
        async with asyncio.timeout(TIMEOUT_S):
            with suppress(ConnectionClosed):
                while True:
                    await self.socket.recv()
            await self.socket.wait_closed()
        return self.socket.close_code


@dataclass
class Running:
    """A server under test."""

    port: int
    worker: FakeWorker
    clock: Any
    stack: AsyncExitStack
    sessions: Sessions
    peers: Any
    house: House

    async def stop(self) -> None:
        """What SIGTERM does first."""
        await self.sessions.farewell(TIMEOUT_S)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def peer(self, **options: Any) -> Peer:
        """Connect; closed with the server."""
        options = {"subprotocols": [SUBPROTOCOL], "compression": None, "max_size": None, **options}
        return Peer(await self.stack.enter_async_context(open_socket(self.url, **options)))

    async def publisher(self, **hello: Any) -> Peer:
        peer = await self.peer()
        assert (await peer.hello(**hello))["type"] == "welcome"
        return peer

    async def viewer(self, session: str, **hello: Any) -> Peer:
        return await self.publisher(role="view", session=session, **hello)


Serve = Callable[..., Any]


@asynccontextmanager
async def running(
    worker: FakeWorker | None = None, clock: Callable[[], float] | None = None, **options: Any
) -> AsyncIterator[Running]:
    """uvicorn as ``serve`` runs it, but inside the test's event loop and without its signal handlers and naps.

    Options are fields of ``ServerConfig``, or ``config`` as a whole, ``APP_OPTIONS``, and a further ``listener``.
    """
    further = options.pop("listener", None)
    app_options = {name: options.pop(name) for name in APP_OPTIONS if name in options}
    config = options.pop("config", None)
    if config is None:
        config = ServerConfig(**{"port": 0, "model": "fake", "also_models": ("other",), **options})
    worker, clock = worker or FakeWorker(), clock or Clock()
    listener = bind(config)
    server = server_for(config, worker, clock=clock, **app_options)
    uvicorn_config = server.config
    uvicorn_config.load()
    app = uvicorn_config.app

    def connection() -> asyncio.Protocol:
        made = uvicorn_config.http_protocol_class(config=uvicorn_config, server_state=server.server_state, app_state={})
        return made  # type: ignore[return-value]

    async with AsyncExitStack() as outer:
        await outer.enter_async_context(app.router.lifespan_context(app))  # type: ignore[union-attr]
        for listening in (listener,) if further is None else (listener, further):
            loop = asyncio.get_running_loop()
            accepting = await loop.create_server(connection, sock=listening, ssl=uvicorn_config.ssl)
            outer.callback(accepting.close)
        stack = await outer.enter_async_context(AsyncExitStack())
        yield Running(port_of(listener), worker, clock, stack, server.house.sessions, app.state.peers, server.house)  # type: ignore[union-attr]
        await stack.aclose()
        await server.house.sessions.farewell(1.0)


def port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


@pytest.fixture
async def server() -> AsyncIterator[Running]:
    async with running() as made:
        yield made
