"""The page in a real Chromium whose camera plays a clip: its own figures, and a screenshot.

    python bench/page.py CLIP [--seconds 20] [--prompt comic] [--screenshot page.png]

Writes bench/results/page.json. Needs the ``dev`` extra, Chromium and ffmpeg.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from streamgen.bench.figures import write_report
from streamgen.bench.loopback import running_server
from streamgen.config import ServerConfig

RESULT = Path(__file__).parent / "results" / "page.json"
FIGURES = ("p50", "p90", "fps-in", "fps-out", "drops")


def as_camera(clip: Path, folder: Path) -> Path:
    """The clip as Motion JPEG, the format of Chromium's fake camera."""
    camera = folder / "camera.mjpeg"
    command = ["ffmpeg", "-v", "error", "-i", str(clip), "-an", "-c:v", "mjpeg", "-q:v", "3", str(camera)]
    subprocess.run(command, check=True)
    return camera


def figures_of(page: Page, url: str, seconds: float, prompt: str, screenshot: Path | None) -> dict[str, Any]:
    """Open the page, let the camera run, and read what its figures say."""
    page.goto(url)
    page.get_by_role("button", name="Camera", exact=True).click()
    page.get_by_role("button", name=prompt, exact=True).first.click()
    page.wait_for_timeout(seconds * 1000)
    if screenshot is not None:
        page.screenshot(path=screenshot)
    figures: dict[str, Any] = {name: float(page.locator(f"#hud-{name}").inner_text()) for name in FIGURES}
    screen = page.locator("#screen")
    return figures | {
        "width": int(screen.get_attribute("width") or 0),
        "height": int(screen.get_attribute("height") or 0),
        "stages": page.locator("#hud-legend li").all_inner_texts(),
        "limit": page.locator("#hud-limit").inner_text(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the page in a real browser.")
    parser.add_argument("clip", type=Path)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--prompt", default="comic")
    parser.add_argument("--screenshot", type=Path)
    args = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        running_server(ServerConfig()) as server,
        sync_playwright() as playwright,
    ):
        flags = [
            "--headless=new",
            "--no-sandbox",
            "--disable-background-networking",
            "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-video-capture={as_camera(args.clip, Path(folder))}",
        ]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        figures = figures_of(page, f"http://127.0.0.1:{server.port}/", args.seconds, args.prompt, args.screenshot)
        browser.close()
    write_report({"clip": args.clip.name, "prompt": args.prompt, **figures}, RESULT)
    print(json.dumps(figures, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
