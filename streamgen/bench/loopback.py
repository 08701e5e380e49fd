"""A server of its own on loopback, a client that sends at a fixed rate, and what came back when."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from streamgen.bench.pictures import moving_pictures
from streamgen.config import ServerConfig
from streamgen.errors import WorkerError
from streamgen.frames import Timing

if TYPE_CHECKING:
    from streamgen.client import Stream

__all__ = ["Arrival", "Server", "Trace", "drive", "running", "running_server"]

_READY_TIMEOUT_S = 180.0
_WARM_OUTPUTS = 10
_WARM_UP_TIMEOUT_S = 180.0


@dataclass(frozen=True, slots=True)
class Server:
    """A server that is ready.

    Args:
        port: on 127.0.0.1.
        ready_s: from the start of the process to the first ``/readyz`` that said so.
        pid: of its main process; the worker is a child.
    """

    port: int
    ready_s: float
    pid: int

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"ws://127.0.0.1:{self.port}/ws"

    def memory_mb(self) -> float:
        """Memory of the server and its workers, shared pages counted once where the system tells."""
        import psutil

        process = psutil.Process(self.pid)
        total = 0
        for each in (process, *process.children(recursive=True)):
            info = each.memory_full_info()
            total += getattr(info, "pss", info.rss)
        return round(total / 2**20, 1)


@contextmanager
def running_server(config: ServerConfig) -> Iterator[Server]:
    """Start ``streamgen serve`` on a free port of 127.0.0.1, wait until it is ready, and stop it in the end.

    Raises:
        WorkerError: ``server_failed`` with the last line the server wrote.
    """
    options = {"model": config.model, "backend": config.backend, "device": config.device, "threads": config.threads}
    command = [sys.executable, "-m", "streamgen", "serve", "--host", "127.0.0.1"]
    command += [text for name, value in options.items() for text in (f"--{name}", str(value))]
    command += ["--weights", str(config.weights)] if config.weights else []
    with running(command) as server:
        yield server


@contextmanager
def running(command: list[str]) -> Iterator[Server]:
    """The same for any program that serves as ``streamgen serve`` does and takes ``--port``.

    Raises:
        WorkerError: ``server_failed`` with the last line it wrote.
    """
    port = _free_port()
    with tempfile.TemporaryFile() as log:
        began_s = time.monotonic()
        command = [*command, "--port", str(port)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            while not _ready(port):
                if process.poll() is not None or time.monotonic() - began_s > _READY_TIMEOUT_S:
                    log.seek(0)
                    lines = log.read().decode(errors="replace").strip().splitlines() or ["it wrote nothing"]
                    raise WorkerError("server_failed", f"the server did not become ready: {lines[-1]}")
                time.sleep(0.05)
            yield Server(port, round(time.monotonic() - began_s, 2), process.pid)
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@dataclass(frozen=True, slots=True)
class Arrival:
    """One output as the client got it.

    Args:
        at_s: seconds since the measuring began.
        latency_ms: from just before the frame was handed to the client to just after its output was decoded.
        timing: the server's own part of it.
    """

    at_s: float
    latency_ms: float
    timing: Timing


@dataclass(slots=True)
class Trace:
    """Everything one run saw. Frames before the model's fast version was ready are not in it."""

    sent: int = 0
    arrivals: list[Arrival] = field(default_factory=list)
    memory_mb: list[tuple[float, float]] = field(default_factory=list)
    """(seconds since the measuring began, megabytes of the server), about once a second."""
    received: int = 0
    """Frames that reached the server; the client replaced the others while it had no credit."""
    drops: dict[str, int] = field(default_factory=dict)
    """The server's own counts, by reason."""
    backend: str = ""


async def drive(server: Server, side: int, fps: float, seconds: float) -> Trace:
    """Send ``side`` x ``side`` frames at ``fps`` (at most 60) for ``seconds`` and note what comes back.

    A frame whose moment has passed is not sent late but left out, as a camera does.

    Raises:
        StreamgenError: what ended the stream.
    """
    import streamgen

    pictures = moving_pictures(side, side)
    trace = Trace()
    async with streamgen.connect(
        server.url, width=side, height=side, reconnect=False, prompt="van gogh", max_fps=60
    ) as stream:
        receiver = _Receiver(stream, trace)
        receiving = asyncio.create_task(receiver.run())
        try:
            async with asyncio.timeout(_WARM_UP_TIMEOUT_S):
                while not receiver.warm and not receiving.done():
                    await stream.send(pictures[0])
                    await asyncio.sleep(1 / fps)
            before = await stream.stats()
            receiver.began_s = began_s = time.monotonic()
            ticks, sampled_s = 0, 0.0
            while (elapsed_s := time.monotonic() - began_s) < seconds and not receiving.done():
                if elapsed_s >= sampled_s:
                    trace.memory_mb.append((round(elapsed_s, 1), server.memory_mb()))
                    sampled_s += 1.0
                if elapsed_s * fps >= ticks:
                    await stream.send(pictures[trace.sent % len(pictures)])
                    trace.sent += 1
                    ticks = int(elapsed_s * fps) + 1
                await asyncio.sleep(max(0.0, ticks / fps - (time.monotonic() - began_s)))
            after = await stream.stats()
            trace.backend = after.backend
            trace.received = after.frames_in - before.frames_in
            trace.drops = {reason: count - before.drops.get(reason, 0) for reason, count in after.drops.items()}
        finally:
            receiving.cancel()
            await asyncio.wait([receiving])
        if not receiving.cancelled():
            receiving.result()
    return trace


class _Receiver:
    """Takes outputs as they come; notes those that were sent and made after the warm-up."""

    def __init__(self, stream: Stream, trace: Trace) -> None:
        self._stream = stream
        self._trace = trace
        self._outputs = 0
        self.began_s: float | None = None

    @property
    def warm(self) -> bool:
        return self._outputs >= _WARM_OUTPUTS

    async def run(self) -> None:
        async for output in self._stream:
            # The SDK stamps a frame with the wall clock when it is handed over.
            latency_ms = (time.time_ns() // 1000 - output.captured_us) / 1000
            at_s = time.monotonic() - (self.began_s or 0.0)
            if not self.warm:
                self._outputs = 0 if output.warm_up else self._outputs + 1
            elif self.began_s is not None and at_s * 1000 > latency_ms:
                self._trace.arrivals.append(Arrival(at_s, latency_ms, output.timing))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
