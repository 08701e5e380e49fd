"""A real Chromium, a real server, and a clip that plays the camera."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

START_S = 120
expect.set_options(timeout=20_000)
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def chromium() -> str:
    found = next((path for name in CHROMIUM_NAMES if (path := shutil.which(name))), None)
    if found is None:
        reason = f"no Chromium on PATH (looked for {', '.join(CHROMIUM_NAMES)}); on Debian: apt install chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of a crop that wanders over a photograph, as Motion JPEG."""
    from skimage.data import astronaut

    photo = astronaut()
    path = tmp_path_factory.mktemp("clip") / "camera.mjpeg"
    with path.open("wb") as file:
        for turn in np.linspace(0, 2 * np.pi, 60, endpoint=False):
            x, y = round(96 + 90 * np.sin(turn)), round(60 + 60 * np.cos(turn))
            crop = np.ascontiguousarray(photo[y : y + 240, x : x + 320])
            file.write(simplejpeg.encode_jpeg(crop, quality=90, colorspace="RGB", colorsubsampling="420"))
    return path


@pytest.fixture(scope="session")
def still(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A square photograph."""
    from skimage.data import astronaut

    path = tmp_path_factory.mktemp("still") / "portrait.jpg"
    pixels = np.ascontiguousarray(astronaut()[:400, 50:450])
    path.write_bytes(simplejpeg.encode_jpeg(pixels, quality=95, colorspace="RGB"))
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of ``streamgen serve``, ready."""
    port = free_port()
    log = tmp_path_factory.mktemp("server") / "log.txt"
    # Tabs of several tests share it, and no test is about how many a busy machine can serve.
    command = [sys.executable, "-m", "streamgen", "serve", "--port", str(port), "--min-fps", "1"]
    environment = {**os.environ, "STREAMGEN_DATA": str(tmp_path_factory.mktemp("data"))}
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(process, f"{address}/readyz", log)
        yield address
    finally:
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    for _ in range(START_S * 5):
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass
        try:
            code = process.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            continue
        pytest.fail(f"streamgen serve ended with {code}:\n{log.read_text()[-4000:]}")
    pytest.fail(f"streamgen serve was not ready within {START_S} s:\n{log.read_text()[-4000:]}")


class Wire:
    """A TCP relay in front of the server whose connections can be cut."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ends: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._start(self._accept)

    def cut(self) -> None:
        """Drop every connection now; new ones are taken."""
        for end in self._ends:
            with contextlib.suppress(OSError):  # it may have ended by itself
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):  # closed already
            self._listener.shutdown(socket.SHUT_RDWR)
        self.cut()
        for thread in self._threads:
            thread.join(timeout=5)
        for end in (self._listener, *self._ends):
            end.close()

    def _start(self, run: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=run, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._target)
            self._ends += [near, far]
            self._start(self._pump, near, far)
            self._start(self._pump, far, near)

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def wire(server: str) -> Iterator[Wire]:
    host, port = server.removeprefix("http://").split(":")
    relay = Wire((host, int(port)))
    yield relay
    relay.close()


# Playwright's sync interface keeps a loop running in this thread, so it must end with the module.
@pytest.fixture(scope="module")
def browser(chromium: str, clip: Path) -> Iterator[Browser]:
    flags = [
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        "--allow-loopback-in-peer-connection",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={clip}",
    ]
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=flags, headless=True)
        yield started
        started.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A visitor. Waiting for a condition needs eval, which the pages' own policy forbids: it is off here."""
    visitor = browser.new_context(viewport={"width": 1280, "height": 800}, bypass_csp=True)
    visitor.set_default_timeout(30_000)
    yield visitor
    visitor.close()


class Tab:
    """One page of the server and the picture it shows."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def wait_for_outputs(self, at_least: int = 3) -> Tab:
        """Wait until the picture shows output ``at_least`` of this connection."""
        shown = "count => Number(document.querySelector('#screen').dataset.seq) >= count"
        self.page.wait_for_function(shown, arg=at_least)
        return self

    def wait_for_more(self, count: int = 5) -> Tab:
        """Wait until ``count`` more outputs were painted."""
        return self.wait_for_outputs(int(self.page.locator("#screen").get_attribute("data-seq") or 0) + count)

    def pixels(self) -> np.ndarray:
        """What the picture shows, [H, W, 4] uint8."""
        width, height, data = self.page.evaluate(READ_CANVAS)
        return np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)


READ_CANVAS = """() => {
    const { width, height } = document.querySelector("#screen");
    const copy = new OffscreenCanvas(width, height).getContext("2d");
    copy.drawImage(document.querySelector("#screen"), 0, 0);
    const bytes = copy.getImageData(0, 0, width, height).data;
    let text = "";
    for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
    return [width, height, btoa(text)];
}"""


@pytest.fixture
def tab(context: BrowserContext, server: str) -> Tab:
    """The page, with outputs made from the built-in sample."""
    page = context.new_page()
    page.goto(f"{server}/")
    return Tab(page).wait_for_outputs()


@pytest.fixture
def tab_of() -> Callable[[Page], Tab]:
    """A page that is open already."""
    return Tab


@pytest.fixture
def open_tab(context: BrowserContext, server: str) -> Callable[..., Tab]:
    """Open a further page of the server, or of a relay before it. Of WebRTC only the signalling would go through the
    relay: where a test cuts that, the page has to do without."""

    def open_at(path: str = "/", address: str = server, *, webrtc: bool = True) -> Tab:
        page = context.new_page()
        if not webrtc:
            page.add_init_script("delete globalThis.RTCPeerConnection")
        page.goto(address + path)
        return Tab(page)

    return open_at
