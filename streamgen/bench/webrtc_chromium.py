"""WebRTC in a real Chromium: from the click to the first picture, from glass to glass, and in the jitter buffer.

Needs playwright and a Chromium on the path.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import simplejpeg

from streamgen.bench.figures import spread
from streamgen.bench.loopback import Server, running_server
from streamgen.bench.pictures import moving_pictures
from streamgen.bench.webrtc_page import CLICK, GLASS_TO_GLASS, PLAYOUT
from streamgen.bench.webrtc_relay import Relay, Shape
from streamgen.bench.webrtc_server import identity_server
from streamgen.config import ServerConfig
from streamgen.errors import BackendUnavailable

__all__ = ["chromium", "measure_click", "measure_glass", "measure_playout", "through_relays"]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_BLANK = "/overlay.html"
"""A page of the server that does nothing when no session is named."""


@asynccontextmanager
async def chromium() -> AsyncIterator[Any]:
    """A playwright browser whose camera plays moving pictures.

    Raises:
        BackendUnavailable: ``no_chromium``.
    """
    path = next((found for name in _NAMES if (found := shutil.which(name))), None)
    if path is None:
        raise BackendUnavailable("no_chromium", "no Chromium on the path")
    from playwright.async_api import async_playwright

    with tempfile.TemporaryDirectory() as folder:
        flags = [
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--no-first-run",
            "--allow-loopback-in-peer-connection",
            "--disable-features=WebRtcHideLocalIpsWithMdns",  # a relay has to read the candidates
            "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-video-capture={_camera(Path(folder))}",
        ]
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=path, args=flags)
            try:
                yield browser
            finally:
                await browser.close()


def measure_click(seconds: float, times: int) -> dict[str, Any]:
    """From a click that opens the camera to the first stylised picture, on a page and a server that are ready.

    Args:
        seconds: the server is given to finish compiling.
    """

    async def run(server: Server) -> dict[str, Any]:
        await asyncio.sleep(seconds)
        async with chromium() as browser:
            rows = [await _click(browser, server) for _ in range(times)]
            page_ms = [await _page(browser, server) for _ in range(times)]
        return {
            "size": "256x256",
            "times": times,
            "transport": sorted({row["transport"] for row in rows}),
            "first_picture_ms": _least_most([row["picture"] for row in rows]),
            "camera_open_ms": _least_most([row["camera"] for row in rows]),
            "welcome_ms": _least_most([row["welcome"] for row in rows]),
            "demo_page_opened_to_first_picture_ms": _least_most(page_ms),
        }

    with running_server(ServerConfig()) as server:
        return asyncio.run(run(server))


async def _click(browser: Any, server: Server) -> dict[str, Any]:
    context = await browser.new_context(bypass_csp=True)
    try:
        page = await context.new_page()
        await page.goto(f"http://127.0.0.1:{server.port}{_BLANK}")
        await page.evaluate(CLICK, {"settings": {"prompt": "van gogh"}, "side": 256})
        await page.click("#bench")
        return dict(await page.evaluate("window.benched"))
    finally:
        await context.close()


async def _page(browser: Any, server: Server) -> float:
    context = await browser.new_context(bypass_csp=True)
    try:
        page = await context.new_page()
        await page.goto(f"http://127.0.0.1:{server.port}/", wait_until="commit")
        shown = "() => document.querySelector('#screen')?.dataset.seq !== undefined && performance.now()"
        return float(await (await page.wait_for_function(shown, polling=5)).json_value())
    finally:
        await context.close()


def measure_glass(
    seconds: float, warm: float, side: int, fps: float, codecs: Sequence[str], strength: float
) -> dict[str, Any]:
    """From a number painted on a canvas to the same number read from the stylised picture on another canvas, in one
    page. The embedded model computes every frame; at strength 0 it gives the plain one back, with the number in it."""

    async def run(server: Server) -> dict[str, Any]:
        rows = []
        async with chromium() as browser:
            for codec in codecs:
                context = await browser.new_context(bypass_csp=True)
                page = await context.new_page()
                await page.goto(f"http://127.0.0.1:{server.port}{_BLANK}")
                asked = {"side": side, "fps": fps, "seconds": seconds, "warm": warm, "codec": codec}
                found = await page.evaluate(GLASS_TO_GLASS, {**asked, "settings": {"strength": strength}})
                rows.append(_glass_row(found, side, fps, seconds, codec))
                await context.close()
        return {"rows": rows, "memory_mb": server.memory_mb()}

    with running_server(ServerConfig()) as server:
        return asyncio.run(run(server))


def _glass_row(found: dict[str, Any], side: int, fps: float, seconds: float, codec: str) -> dict[str, Any]:
    seen, sent = found["seen"], found["after"].get("outbound-rtp", {})
    stages = {
        name: spread([row[key] / 1000 for row in seen if row[key] is not None])
        for name, key in (("queued", "queueUs"), ("engine", "engineUs"), ("encode", "encodeUs"))
    }
    return {
        "size": f"{side}x{side}",
        "fps_in": fps,
        "fps_out": round(len(seen) / seconds, 1),
        "codec_wanted": codec,
        "glass_to_glass_ms": spread([row["latency"] for row in seen]),
        "stages_ms": stages,
        "browser_ms": _browser_ms(found["before"], found["after"]),
        "sent": {name: sent.get(name) for name in ("frameWidth", "frameHeight", "qualityLimitationReason")},
        "without_facts": sum(row["engineUs"] is None for row in seen),
        "unreadable": found["unreadable"],
        "errors": found["errors"],
        "backend": found["backend"],
    }


def measure_playout(seconds: float, jitter_ms: float, mends: Sequence[str]) -> dict[str, Any]:
    """What Chromium's jitter buffer holds, on a clean path and one with jitter, with its target left alone and at 0.

    Args:
        mends: of the server's aiortc.
    """

    async def run(server: Server) -> dict[str, Any]:
        rows = []
        async with chromium() as browser:
            for jitter in (0.0, jitter_ms):
                for target in (None, 0):
                    context = await browser.new_context(bypass_csp=True)
                    async with through_relays(context) as relays:
                        page = await context.new_page()
                        await page.goto(f"http://127.0.0.1:{server.port}{_BLANK}")
                        relays.shape = Shape(jitter_s=jitter / 1000)
                        asked = {"side": 256, "fps": 30, "seconds": seconds, "target": target}
                        found = await page.evaluate(PLAYOUT, asked)
                        await context.close()
                    rows.append(
                        {
                            "jitter_ms": jitter,
                            "jitter_buffer_target": target,
                            "extension": found["extension"],
                            "fps_out": round(len(found["seen"]) / seconds, 1),
                            "glass_to_glass_ms": spread([row["latency"] for row in found["seen"]]),
                            "browser_ms": _browser_ms(found["before"], found["after"]),
                        }
                    )
        return {"rows": rows}

    with identity_server(tuple(mends)) as server:
        return asyncio.run(run(server))


class Relays:
    """A relay for each WebRTC connection that the pages of a context make. ``shape`` is that of the next ones' way to
    the browser."""

    def __init__(self) -> None:
        self.shape = Shape()
        self.newest: Relay | None = None
        self.locations: list[str] = []

    async def route(self, route: Any) -> None:
        """Stand between a page's offer and the server's answer."""
        self.newest = relay = await Relay().__aenter__()
        asked = json.loads(route.request.post_data)
        asked["sdp"] = relay.offer(asked["sdp"])
        response = await route.fetch(post_data=json.dumps(asked))
        answer = await response.json()
        if response.status == 200:
            answer["sdp"] = relay.answer(answer["sdp"])
            self.locations.append(response.headers["location"])
            relay.shape(self.shape, "down")
        await route.fulfill(response=response, json=answer)


@asynccontextmanager
async def through_relays(context: Any) -> AsyncIterator[Relays]:
    """Lead the WebRTC connections of a browser's context through relays."""
    relays = Relays()
    await context.route("**/webrtc/offer", relays.route)
    yield relays


def _browser_ms(before: dict[str, Any], after: dict[str, Any]) -> dict[str, float]:
    """Means over the time between two readings."""

    def mean(kind: str, what: str, by: str) -> float:
        old, new = before.get(kind, {}), after.get(kind, {})
        steps = new.get(by, 0) - old.get(by, 0)
        return round(1000 * (new.get(what, 0) - old.get(what, 0)) / steps, 1) if steps else 0.0

    return {
        "encode": mean("outbound-rtp", "totalEncodeTime", "framesEncoded"),
        "jitter_buffer": mean("inbound-rtp", "jitterBufferDelay", "jitterBufferEmittedCount"),
        "decode": mean("inbound-rtp", "totalDecodeTime", "framesDecoded"),
    }


def _least_most(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    middle = ordered[len(ordered) // 2]
    return {"least": round(ordered[0], 1), "p50": round(middle, 1), "most": round(ordered[-1], 1)}


def _camera(folder: Path) -> Path:
    """Two seconds of Motion JPEG, the format of Chromium's camera that is none."""
    path = folder / "camera.mjpeg"
    with path.open("wb") as file:
        for picture in moving_pictures(640, 480, 60):
            file.write(simplejpeg.encode_jpeg(picture, quality=90, colorspace="RGB", colorsubsampling="420"))
    return path
