"""The overlay page left open for long while its connections are cut: does it come back, how soon, what grows?"""

from __future__ import annotations

import asyncio
import time
import urllib.request
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import streamgen
from streamgen.bench.figures import spread
from streamgen.bench.pictures import moving_pictures
from streamgen.bench.webrtc_chromium import Relays, chromium, through_relays
from streamgen.bench.webrtc_hostile import state
from streamgen.bench.webrtc_relay import Shape
from streamgen.bench.webrtc_server import identity_server

__all__ = ["CUTS", "measure_overlay"]

_SESSION = "endurance"
_SIDE = 256
_FPS = 15
_BACK_LIMIT_S = 30.0

_WATCH = """() => {
  const canvas = document.querySelector("#screen");
  window.watched = { state: canvas.dataset.state, lostMs: null, seenMs: null };
  new MutationObserver((changes) => {
    const { watched } = window;
    watched.state = canvas.dataset.state;
    if (watched.state !== "open") { watched.lostMs ??= performance.now(); watched.seenMs = null; return; }
    const painted = changes.some(({ attributeName }) => attributeName === "data-seq");
    if (painted && watched.lostMs !== null) watched.seenMs ??= performance.now();
  }).observe(canvas, { attributeFilter: ["data-state", "data-seq"] });
}"""
_BACK = "() => window.watched.seenMs !== null"
_ARM = "() => { Object.assign(window.watched, { lostMs: null, seenMs: null }); return performance.now(); }"

CUTS = {
    "websocket cut": "the TCP connection is reset",
    "webrtc ended": "the server ends the connection and says so",
    "webrtc silent": "every packet of the connection is lost from now on, as when a NAT forgets it",
}
"""In turn."""


@dataclass(slots=True)
class _Wire:
    """A TCP relay whose connections can be cut."""

    port: int
    address: str = ""
    _ends: set[asyncio.StreamWriter] = field(default_factory=set)

    def cut(self) -> None:
        """Reset every connection; new ones are taken."""
        for end in self._ends:
            end.transport.abort()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.port)
        ends = {writer, far_writer}
        self._ends |= ends
        try:
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        finally:
            self._ends -= ends

    @staticmethod
    async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()


@dataclass(slots=True)
class _Overlay:
    """One page, left open."""

    page: Any
    inspector: Any

    async def recover(self, cut: Any) -> dict[str, Any]:
        """Cut, and wait for the next picture of another connection."""
        from playwright.async_api import Error

        began_ms = await self.page.evaluate(_ARM)
        await cut()
        try:
            await self.page.wait_for_function(_BACK, timeout=1000 * _BACK_LIMIT_S)
        except Error as error:
            return {"back": False, "error": str(error).splitlines()[0]}
        watched = await self.page.evaluate("window.watched")
        return {
            "back": True,
            "noticed_s": round((watched["lostMs"] - began_ms) / 1000, 2),
            "recovered_s": round((watched["seenMs"] - began_ms) / 1000, 2),
        }

    async def heap_mb(self) -> float:
        """JavaScript objects, once the garbage is gone."""
        await self.inspector.send("HeapProfiler.collectGarbage")
        usage = await self.inspector.send("Runtime.getHeapUsage")
        return round(float(usage["usedSize"]) / 2**20, 2)


def measure_overlay(minutes: float, cuts: int) -> dict[str, Any]:
    """Two overlays, one over the WebSocket and one over WebRTC, on a session of an identity server.

    Args:
        cuts: in all, spread evenly over the time.
    """
    with identity_server() as server:
        return asyncio.run(_run(server.port, minutes, cuts))


async def _run(port: int, minutes: float, cuts: int) -> dict[str, Any]:
    async with _publishing(port), _overlays(port) as (overlays, wire, relays):
        began_s = time.monotonic()
        samples = [await _sample(port, overlays, 0.0)]
        rows: list[dict[str, Any]] = []
        for index in range(cuts):
            await asyncio.sleep(max(0.0, began_s + (index + 0.5) * 60 * minutes / cuts - time.monotonic()))
            kind = tuple(CUTS)[index % len(CUTS)]
            overlay = overlays["websocket" if kind.startswith("websocket") else "webrtc"]
            row = await overlay.recover(lambda kind=kind: _cut(kind, port, wire, relays))
            rows.append({"minute": round((time.monotonic() - began_s) / 60, 1), "cut": kind, **row})
            samples.append(await _sample(port, overlays, (time.monotonic() - began_s) / 60))
        await asyncio.sleep(max(0.0, began_s + 60 * minutes - time.monotonic()))
        samples.append(await _sample(port, overlays, minutes))
    return {
        "minutes": minutes,
        "cuts": cuts,
        "came_back": sum(row["back"] for row in rows),
        "recovered_s": {
            kind: spread([row["recovered_s"] for row in rows if row["cut"] == kind and row["back"]]) for kind in CUTS
        },
        "slowest_s": max((row["recovered_s"] for row in rows if row["back"]), default=None),
        "memory": {name: _growth(samples, name) for name in ("server_mb", "websocket_heap_mb", "webrtc_heap_mb")},
        "left_over": {name: samples[-1][name] - samples[0][name] for name in ("connections", "tasks", "threads")},
        "each": rows,
        "samples": samples,
    }


async def _cut(kind: str, port: int, wire: _Wire, relays: Relays) -> None:
    if kind == "websocket cut":
        wire.cut()
    elif kind == "webrtc ended":
        url = f"http://127.0.0.1:{port}{relays.locations[-1]}"
        request = urllib.request.Request(url, method="DELETE")
        await asyncio.to_thread(lambda: urllib.request.urlopen(request, timeout=10).close())
    elif relays.newest is not None:
        relays.newest.shape(Shape(open=False))


@asynccontextmanager
async def _publishing(port: int) -> AsyncIterator[None]:
    """A publisher through the Python SDK."""
    pictures = moving_pictures(_SIDE, _SIDE)

    async def publish(stream: Any) -> None:
        index = 0
        while True:
            await stream.send(pictures[index % len(pictures)])
            index += 1
            await asyncio.sleep(1 / _FPS)

    url = f"ws://127.0.0.1:{port}/ws"
    async with streamgen.connect(url, session=_SESSION, width=_SIDE, height=_SIDE) as stream:
        sending = asyncio.create_task(publish(stream))
        receiving = asyncio.create_task(_drain(stream))
        try:
            yield
        finally:
            sending.cancel()
            receiving.cancel()
            await asyncio.wait([sending, receiving])


async def _drain(stream: Any) -> None:
    async for _ in stream:
        pass


@asynccontextmanager
async def _overlays(port: int) -> AsyncIterator[tuple[dict[str, _Overlay], _Wire, Relays]]:
    wire = _Wire(port)
    listening = await asyncio.start_server(wire.take, "127.0.0.1", 0)
    wire.address = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    async with listening, chromium() as browser:
        first, second = await browser.new_context(bypass_csp=True), await browser.new_context(bypass_csp=True)
        async with through_relays(second) as relays:
            overlays = {
                "websocket": await _open(first, wire.address, "websocket"),
                "webrtc": await _open(second, f"http://127.0.0.1:{port}", "webrtc"),
            }
            yield overlays, wire, relays
        wire.cut()


async def _open(context: Any, address: str, transport: str) -> _Overlay:
    page = await context.new_page()
    await page.goto(f"{address}/overlay.html#session={_SESSION}&transport={transport}")
    await page.wait_for_function("document.querySelector('#screen').dataset.seq !== undefined", timeout=30_000)
    await page.evaluate(_WATCH)
    return _Overlay(page, await context.new_cdp_session(page))


async def _sample(port: int, overlays: dict[str, _Overlay], minute: float) -> dict[str, Any]:
    now = await asyncio.to_thread(state, port)
    heaps = {f"{name}_heap_mb": await overlay.heap_mb() for name, overlay in overlays.items()}
    alive = {name: now[name] for name in ("connections", "tasks", "threads")}
    return {"minute": round(minute, 2), "server_mb": now["memory_mb"], **heaps, **alive}


def _growth(samples: Sequence[dict[str, Any]], name: str) -> dict[str, float]:
    """First, last and most; ``mb_an_hour`` is the slope of a line through the second half, when all has settled."""
    values = [sample[name] for sample in samples]
    later = samples[len(samples) // 2 :]
    hours = [sample["minute"] / 60 for sample in later]
    slope = float(np.polyfit(hours, [sample[name] for sample in later], 1)[0]) if len(set(hours)) > 1 else 0.0
    return {"first": values[0], "last": values[-1], "most": max(values), "mb_an_hour": round(slope, 1)}
