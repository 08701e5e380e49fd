"""Makes docs/pictures/obs-source.jpg and overlay.jpg: the public-domain astronaut of scikit-image as OBS would send it.

One is the page that steers a session which another program publishes into by WHIP, the other the overlay of a keyed
session over a striped page. Run it from the repository's root: ``.venv/bin/python docs/pictures/make_obs.py`` (needs
the ``dev`` extra and Chromium).
"""

from __future__ import annotations

import io
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from PIL import Image
from playwright.sync_api import BrowserContext, Page, sync_playwright
from skimage.data import astronaut

from streamgen.frames import Pixels

HERE = Path(__file__).parent
READY_S = 120
SETTLED_OUTPUTS = 60
CAMERA = (slice(0, 270), slice(0, 480))
SUBJECT = (slice(0, 448), slice(0, 512))
GREEN = (0, 177, 64)
STRIPES = "repeating-linear-gradient(115deg, #24506e 0 46px, #2f7f8d 46px 92px, #e0b45c 92px 110px)"
HEAD, COLLAR, HELMET = ((222, 130), (45, 70), 0), ((210, 224), (90, 50), 20), ((390, 455), (109, 110), 0)
"""Centre, axes, degrees."""
SUIT = [[150, 240], [310, 240], [340, 330], [330, 511], [60, 511], [60, 360], [100, 300]]
FLAG = [[0, 0], [95, 0], [95, 215], [40, 280], [20, 400], [26, 511], [0, 511]]
PUBLISH = """async url => {
    const media = await navigator.mediaDevices.getUserMedia({ video: true });
    const peer = (window.peer = new RTCPeerConnection());
    peer.addTransceiver(media.getVideoTracks()[0], { direction: "sendonly", streams: [media] });
    await peer.setLocalDescription();
    while (peer.iceGatheringState !== "complete") await new Promise(done => (peer.onicegatheringstatechange = done));
    const request = { method: "POST", headers: { "Content-Type": "application/sdp" }, body: peer.localDescription.sdp };
    const answer = await fetch(url, request);
    await peer.setRemoteDescription({ type: "answer", sdp: await answer.text() });
}"""
SHOWS = "count => Number(document.querySelector('#screen').dataset.seq) >= count"


def before_a_green_screen(photo: Pixels) -> Pixels:
    """The astronaut cut out by GrabCut, from rough hints, before a flat green."""
    hints = np.full(photo.shape[:2], cv2.GC_PR_BGD, np.uint8)
    hints[250:, 30:] = cv2.GC_PR_FGD
    hints[:8] = hints[:, 362:] = hints[:190, 340:] = cv2.GC_BGD
    cv2.fillPoly(hints, [np.array(FLAG)], cv2.GC_BGD)
    cv2.fillPoly(hints, [np.array(SUIT)], cv2.GC_FGD)
    for centre, axes, degrees in (HEAD, COLLAR, HELMET):
        cv2.ellipse(hints, centre, axes, degrees, 0, 360, cv2.GC_FGD, -1)
    colours = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(np.ascontiguousarray(photo[..., ::-1]), hints, None, *colours, 8, cv2.GC_INIT_WITH_MASK)
    seen = np.isin(hints, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    _, labels, facts, _ = cv2.connectedComponentsWithStats(seen)
    seen = (labels == 1 + facts[1:, cv2.CC_STAT_AREA].argmax()).astype(np.uint8) * 255
    alpha = cv2.GaussianBlur(cv2.medianBlur(seen, 9), (0, 0), 1.2)[..., None] / 255
    return (photo * alpha + np.array(GREEN) * (1 - alpha)).astype(np.uint8)


def clip(pixels: Pixels, path: Path) -> Path:
    """Some frames of a still picture, as Motion JPEG for Chromium's camera."""
    frame = np.ascontiguousarray(pixels)
    path.write_bytes(simplejpeg.encode_jpeg(frame, quality=95, colorspace="RGB", colorsubsampling="420") * 30)
    return path


@contextmanager
def server() -> Iterator[str]:
    """The address of ``streamgen serve``, ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{probe.getsockname()[1]}"
    command = [sys.executable, "-m", "streamgen", "serve", "--port", address.rpartition(":")[2]]
    with subprocess.Popen(command) as process:
        try:
            wait_until_ready(f"{address}/readyz")
            yield address
        finally:
            process.terminate()


def wait_until_ready(url: str) -> None:
    for _ in range(READY_S):
        try:
            with urllib.request.urlopen(url):
                return
        except urllib.error.URLError:
            time.sleep(1)
    raise SystemExit(f"{url} was not ready within {READY_S} s")


@contextmanager
def visitor(camera: Path, **options: float) -> Iterator[BrowserContext]:
    """Chromium with this clip as its camera."""
    flags = [
        "--no-sandbox",
        "--allow-loopback-in-peer-connection",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={camera}",
    ]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        yield chromium.new_context(bypass_csp=True, **options)
        chromium.close()


def publish(context: BrowserContext, address: str, target: str) -> None:
    page = context.new_page()
    page.goto(f"{address}/healthz")
    page.evaluate(PUBLISH, f"{address}/whip/{target}")


def shot(page: Page, name: str, width: int, height: int, quality: int) -> None:
    """Wait for pictures, and save what the page looks like then."""
    page.set_viewport_size({"width": width, "height": height})
    page.bring_to_front()
    page.wait_for_function(SHOWS, arg=SETTLED_OUTPUTS, timeout=120_000)
    Image.open(io.BytesIO(page.screenshot())).convert("RGB").save(HERE / name, quality=quality, optimize=True)
    print(HERE / name, (HERE / name).stat().st_size)


def obs_source(address: str, camera: Path) -> None:
    with visitor(camera) as context:
        publish(context, address, "studio?prompt=great%20wave&width=448&height=256")
        page = context.new_page()
        page.goto(f"{address}/#control=studio")
        shot(page, "obs-source.jpg", 1280, 800, 82)


def overlay(address: str, camera: Path) -> None:
    with visitor(camera) as context:
        keyed = "alpha=true&key_colour=%2300b140&prompt=comic&width=512&height=448"
        publish(context, address, f"keyed?{keyed}")
        page = context.new_page()
        page.goto(f"{address}/overlay.html#session=keyed")
        page.add_style_tag(content=f"body {{ background: {STRIPES} !important; }}")
        shot(page, "overlay.jpg", 800, 450, 85)


if __name__ == "__main__":
    photo = astronaut()
    with tempfile.TemporaryDirectory() as folder, server() as address:
        obs_source(address, clip(photo[CAMERA], Path(folder) / "camera.mjpeg"))
        overlay(address, clip(before_a_green_screen(photo)[SUBJECT], Path(folder) / "keyed.mjpeg"))
