"""The real server with an engine that gives every frame back: what is measured through it is transport alone.

    python -m streamgen.bench.webrtc_server --port 8188 [--mends receiving,sending]

``GET /bench/state`` tells what is alive in it, and how long its event loop was held up since the last request: at most,
and in percentiles.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

from streamgen.bench.figures import spread
from streamgen.bench.loopback import Server, running
from streamgen.config import ServerConfig
from streamgen.engine.shares import Load
from streamgen.frames import Frame, Output, Pixels, Timing
from streamgen.server.run import Server as Uvicorn
from streamgen.server.run import bind, server_for
from streamgen.server.webrtc import door
from streamgen.server.webrtc.aiortc_shim import MENDS, install
from streamgen.server.worker_link import DeviceStatus, ModelListener, SessionListener, WorkerInfo
from streamgen.settings import FrameFormat, Reading, StreamSettings

__all__ = ["IdentityWorker", "identity_server", "main"]

STATE = "/bench/state"
_BEAT_S = 0.005


@contextmanager
def identity_server(mends: tuple[str, ...] = tuple(MENDS)) -> Iterator[Server]:
    """Run it in a process of its own.

    Args:
        mends: of aiortc, by name. ``sending`` is always among them: the server's tracks cannot do without.
    """
    with running([sys.executable, "-m", __name__, "--mends", ",".join({*mends, "sending"})]) as server:
        yield server


class IdentityWorker:
    """A ``WorkerLink`` whose outputs are its inputs, made at once."""

    ready = True
    on_restyled: Callable[[tuple[str, ...]], None] | None = None
    on_load: Callable[[Load], None] | None = None
    devices: tuple[DeviceStatus, ...] = ()
    info = WorkerInfo(model="identity", styles=(), backend="none", device="none", width=512, height=512)

    def __init__(self) -> None:
        self._open: dict[str, tuple[FrameFormat, int, SessionListener]] = {}

    async def start(self) -> None:
        pass

    def expect_end(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    def open(
        self,
        session: str,
        format: FrameFormat,
        settings: StreamSettings,
        rev: int,
        listener: SessionListener,
        reference: Pixels | None = None,
    ) -> None:
        self._open[session] = (format, rev, listener)
        _soon(listener.on_applied, rev, Reading(1.0, {}))

    def update(self, session: str, settings: StreamSettings, rev: int) -> None:
        format, _, listener = self._open[session]
        self._open[session] = (format, rev, listener)
        _soon(listener.on_applied, rev, Reading(1.0, {}))

    def reformat(self, session: str, format: FrameFormat, rev: int) -> None:
        _, settings_rev, listener = self._open[session]
        self._open[session] = (format, settings_rev, listener)
        _soon(listener.on_reformatted, rev, format)

    def refer(self, session: str, reference: Pixels | None, rev: int) -> None:
        _soon(self._open[session][2].on_referenced, rev)

    def set_running(self, session: str, running: bool) -> None:
        pass

    def record(self, session: str, on: bool) -> None:
        pass

    def submit(self, session: str, frame: Frame) -> None:
        _soon(self._give_back, session, frame)

    def close(self, session: str) -> None:
        self._open.pop(session, None)

    def switch(self, model: str, loras: tuple[str, ...] | None, listener: ModelListener) -> None:
        _soon(listener.on_switched, self.info)

    def _give_back(self, session: str, frame: Frame) -> None:
        if session not in self._open:
            return
        format, rev, listener = self._open[session]
        pixels = _fitted(frame.pixels, format)
        output = Output(pixels, frame.seq, frame.captured_us, rev, Timing(), False, frame.received_s)
        listener.on_output(output, gap=False)


def _soon(call: Callable[..., None], *arguments: Any) -> None:
    asyncio.get_running_loop().call_soon(call, *arguments)


def _fitted(pixels: Pixels, format: FrameFormat) -> Pixels:
    """uint8 [H, W, 3] of the format's size. Browsers send smaller pictures while they cannot keep up."""
    if pixels.shape[:2] == (format.height, format.width):
        return pixels
    import av

    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
    return cast(Pixels, frame.to_ndarray(format="rgb24", width=format.width, height=format.height))


class _Observed:
    """The application, with one more path."""

    def __init__(self, app: Any, server: Uvicorn) -> None:
        self._app = app
        self._server = server
        self._lags_ms: list[float] = []
        self._watching: asyncio.Task[None] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self._watching is None:
            self._watching = asyncio.get_running_loop().create_task(self._watch())
        if scope["type"] != "http" or scope["path"] != STATE:
            await self._app(scope, receive, send)
            return
        lags_ms = self._lags_ms
        held_up = {"held_up_ms": round(max(lags_ms, default=0.0), 1), "lag_ms": spread(lags_ms)}
        body = json.dumps({**held_up, **self._alive()}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _watch(self) -> None:
        while True:
            began_s = time.perf_counter()
            await asyncio.sleep(_BEAT_S)
            self._lags_ms.append((time.perf_counter() - began_s - _BEAT_S) * 1000)

    def _alive(self) -> dict[str, Any]:
        import psutil
        from aiortc import RTCPeerConnection

        gc.collect()
        memory = psutil.Process().memory_full_info()
        alive = {
            "connections": sum(isinstance(thing, RTCPeerConnection) for thing in gc.get_objects()),
            "tasks": len(asyncio.all_tasks()),
            "threads": threading.active_count(),
            "sessions": len(self._server.house.sessions),
            "sockets": len(psutil.Process().net_connections("udp")),
            "memory_mb": round(memory.uss / 2**20, 1),
        }
        self._lags_ms = []  # collecting took its time
        return alive


def main() -> int:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--mends", default=",".join(MENDS))
    args = parser.parse_args()
    # Whoever measures asks more often than anybody.
    config = ServerConfig(port=args.port, model="identity", address_connections=10_000, address_requests=1_000_000)
    vars(door)["install"] = partial(install, args.mends.split(","))  # the server itself always wants all of them
    listener = bind(config)
    server = server_for(config, IdentityWorker())
    server.config.app = _Observed(server.config.app, server)
    server.run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main())
