"""The examples for browsers, as they stand: pages of another address than the server's, with the npm package."""

from __future__ import annotations

import functools
import io
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.publisher import publishing
from tests.compat.program import ROOT, node_package, tool

EXAMPLES = ROOT / "docs" / "examples"
USUAL = "ws://127.0.0.1:8188/ws"
PAINTED = """([x, y]) => {
    const canvas = document.querySelector("canvas");
    const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d");
    copy.drawImage(canvas, 0, 0);
    return [canvas.width, canvas.height, ...copy.getImageData(x, y, 1, 1).data];
}"""
APP = """
import { StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import { Stylised } from "./Stylised";

function App() {
  const [prompt, setPrompt] = useState("pencil sketch");
  const [there, setThere] = useState(true);
  return <StrictMode>
    <button onClick={() => setPrompt("comic")}>Comic</button>
    <button onClick={() => setThere(false)}>Away</button>
    {there && <Stylised url="ws://127.0.0.1:8188/ws" prompt={prompt} />}
  </StrictMode>;
}
createRoot(document.querySelector("main")!).render(<App />);
"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *what: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path, server: str) -> Iterator[tuple[str, Path]]:
    """The address and the folder of a web site with the examples, that installed the package."""
    folder = tmp_path / "site"
    installed = folder / "node_modules" / "streamgen"
    shutil.copytree(ROOT / "web" / "js", installed / "js")
    for name in ("package.json", "streamgen.d.ts"):
        shutil.copy(ROOT / "web" / name, installed)
    for example in [*EXAMPLES.glob("*.html"), *EXAMPLES.glob("*.tsx")]:
        text = example.read_text()
        (folder / example.name).write_text(text.replace(USUAL, f"{server.replace('http', 'ws')}/ws"))
    serving = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=serving.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{serving.server_address[1]}", folder
    serving.shutdown()
    thread.join(10)
    serving.server_close()


def wait_for_a_picture(page: Page) -> None:
    """Until the canvas has the size of an output and is no more black."""
    ready = f"() => {{ const [width, , ...colour] = ({PAINTED})([20, 20]); return width === 256 && colour[0] > 0; }}"
    page.wait_for_function(ready)


def test_three_lines_show_the_camera_stylised(context: BrowserContext, site: tuple[str, Path]) -> None:
    address, _ = site
    lines = (EXAMPLES / "three_lines.html").read_text().partition('type="module">')[2].partition("</script>")[0]
    assert len(lines.strip().splitlines()) == 3
    page = context.new_page()
    page.goto(f"{address}/three_lines.html")
    wait_for_a_picture(page)


def test_the_overlay_is_transparent_shows_its_session_and_comes_back(
    context: BrowserContext, site: tuple[str, Path], server: str
) -> None:
    address, _ = site
    page = context.new_page()
    page.set_viewport_size({"width": 256, "height": 256})
    page.goto(f"{address}/overlay.html#session=keyed")
    canvas = page.locator("canvas")
    expect(canvas).to_be_hidden()
    pixels = np.zeros((256, 256, 3), np.uint8)
    pixels[:, :128], pixels[:, 128:] = (0, 177, 64), (200, 40, 40)
    for _ in range(2):
        with publishing(server, "keyed", pixels, alpha=True, key_colour="#00b140"):
            expect(canvas).to_be_visible()
            for _ in range(20):  # a page is laid out before it is painted
                shot = np.asarray(Image.open(io.BytesIO(page.screenshot(omit_background=True))).convert("RGBA"))
                if shot[..., 3].any():
                    break
            assert shot[128, 20, 3] == 0 and shot[128, 230, 3] == 255
            assert shot[128, 230, 0] > 150 and shot[128, 230, 1] < 90
        expect(canvas).to_be_hidden()


def test_the_react_component_passes_strict_types_and_shows_the_camera(
    context: BrowserContext, site: tuple[str, Path], server: str
) -> None:
    address, folder = site
    for name in ("react", "react-dom", "@types/react"):
        target = folder / "node_modules" / name
        target.parent.mkdir(exist_ok=True)
        target.symlink_to(node_package(name))
    types = [
        "--noEmit",
        "--strict",
        "--skipLibCheck",
        "--jsx",
        "react-jsx",
        "--target",
        "es2022",
        "--lib",
        "es2022,dom",
    ]
    types += ["--module", "es2022", "--moduleResolution", "bundler", "Stylised.tsx"]
    checked = subprocess.run([tool("tsc"), *types], cwd=folder, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    (folder / "app.tsx").write_text(APP.replace(USUAL, f"{server.replace('http', 'ws')}/ws"))
    bundle = [tool("esbuild"), "app.tsx", "--bundle", "--format=esm", "--jsx=automatic", "--outfile=app.js"]
    bundled = subprocess.run(bundle, cwd=folder, capture_output=True, text=True, check=False)
    assert bundled.returncode == 0, bundled.stderr
    (folder / "react.html").write_text('<!doctype html><main></main><script type="module" src="app.js"></script>')

    page = context.new_page()
    page.goto(f"{address}/react.html")
    wait_for_a_picture(page)
    expect(page.locator("figcaption")).to_have_text("open")
    page.get_by_role("button", name="Comic").click()
    wait_for_a_picture(page)
    page.get_by_role("button", name="Away").click()
    expect(page.locator("canvas")).to_have_count(0)
