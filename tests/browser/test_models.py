"""The page with models that the embedded one cannot stand for: the server's answers are edited on their way."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, WebSocketRoute, expect

PAINTER = {"model": "acme/painter", "styles": ["ink", "clay"], "unused": ["strength"], "loras": {"mist": 0.5}}
TINY = {"model": "tiny", "unused": ["control_scale"], "loras": {"film_grain": 1.0}, "models": ["tiny", "acme/painter"]}


class EditedServer:
    """Sits between the page and the server, which it makes look as if it had more to choose from."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self._page: WebSocketRoute | None = None

    def connect(self, page: WebSocketRoute) -> None:
        server = page.connect_to_server()
        self._page = page
        page.on_message(lambda message: self._up(server, message))
        server.on_message(lambda message: page.send(self._down(message)))

    def say(self, message: dict[str, Any]) -> None:
        """Send ``message`` to the page."""
        assert self._page is not None
        self._page.send(json.dumps(message))

    def _down(self, message: str | bytes) -> str | bytes:
        if isinstance(message, bytes):
            return message
        read = json.loads(message)
        return json.dumps(read | TINY) if read["type"] == "welcome" else message

    def _up(self, server: WebSocketRoute, message: str | bytes) -> None:
        read = json.loads(message) if isinstance(message, str) else {"type": "frame"}
        edited = read["type"] == "switch" or "loras" in read.get("settings", {})
        if edited:
            self.asked.append(read)
        else:
            server.send(message)


@pytest.fixture
def edited() -> EditedServer:
    return EditedServer()


@pytest.fixture
def page(context: BrowserContext, server: str, edited: EditedServer) -> Iterator[Any]:
    opened = context.new_page()
    opened.route_web_socket("**/ws", edited.connect)
    opened.goto(f"{server}/#transport=websocket")
    expect(opened.locator("#connection")).to_have_text("Live")
    yield opened


def wait_for(page: Any, happened: Callable[[], bool]) -> None:
    for _ in range(100):
        if happened():
            return
        page.wait_for_timeout(50)  # what the page sends is handed over while Playwright waits
    pytest.fail("it did not happen within 5 s")


def test_a_model_that_uses_more_shows_more_controls(page: Any) -> None:
    expect(page.get_by_role("slider", name="Guidance")).to_be_visible()
    expect(page.get_by_role("textbox", name="Negative prompt")).to_be_visible()
    page.get_by_text("Advanced", exact=True).click()
    expect(page.get_by_role("combobox", name="Guidance mode")).to_be_visible()
    expect(page.get_by_role("slider", name="Control")).to_be_hidden()


def test_the_embedded_model_takes_no_reference_picture(tab: Any) -> None:
    expect(tab.page.get_by_text("Reference picture", exact=True)).to_be_hidden()
    expect(tab.page.get_by_role("slider", name="Reference")).to_be_hidden()


def test_a_negative_prompt_takes_effect(page: Any) -> None:
    rev = int(page.locator("#screen").get_attribute("data-rev") or 0)
    page.get_by_role("textbox", name="Negative prompt").fill("blurry")
    expect(page.locator("#negative-hint")).to_be_visible()
    page.wait_for_function("rev => Number(document.querySelector('#screen').dataset.rev) > rev", arg=rev)
    page.get_by_role("slider", name="Guidance").press("End")
    expect(page.locator("#negative-hint")).to_be_hidden()


def test_a_lora_has_a_slider_that_is_live(page: Any, edited: EditedServer) -> None:
    grain = page.get_by_role("slider", name="film grain")
    expect(grain).to_have_attribute("aria-valuetext", "1.00")
    assert [grain.get_attribute("min"), grain.get_attribute("max")] == ["-1", "2"]
    grain.press("End")
    wait_for(page, lambda: bool(edited.asked))
    assert edited.asked[0]["settings"]["loras"] == {"film_grain": 2}


def test_another_model_is_loaded_and_the_page_follows(page: Any, edited: EditedServer) -> None:
    menu = page.get_by_role("combobox", name="Model")
    menu.select_option("acme/painter")
    expect(page.get_by_role("status").filter(has_text="Loading painter…")).to_be_visible()
    expect(menu).to_be_disabled()
    wait_for(page, lambda: bool(edited.asked))
    assert edited.asked[0]["model"] == "acme/painter"
    ref = edited.asked[0]["ref"]
    edited.say({"type": "switched", "backend": "eager", "device": "cpu", "ref": ref, **PAINTER})
    expect(page.locator("#model-loading")).to_be_hidden()
    expect(menu).to_have_value("acme/painter")
    expect(page.locator("#styles .chip")).to_have_text(["ink", "clay"])
    expect(page.get_by_role("slider", name="mist")).to_be_visible()
    expect(page.get_by_role("slider", name="film grain")).to_be_hidden()
    expect(page.get_by_role("slider", name="Strength")).to_be_hidden()
    expect(page.locator("#foot")).to_contain_text("acme/painter")


def test_a_style_that_was_made_meanwhile_stands_among_the_others_without_a_reload(
    page: Any, edited: EditedServer
) -> None:
    edited.say({"type": "restyled", "styles": ["pencil", "my aunt"]})
    expect(page.locator("#styles .chip")).to_have_text(["pencil", "my aunt"])
    page.locator("#styles .chip", has_text="my aunt").click()
    expect(page.get_by_role("textbox", name="Prompt", exact=True)).to_have_value("my aunt")


def test_the_sdk_has_a_real_server_load_a_model_and_change_size_on_one_connection(tab: Any) -> None:
    sockets: list[str] = []
    tab.page.on("websocket", lambda socket: sockets.append(socket.url))
    switched, reformatted, seen, refused = tab.page.evaluate(USE_THE_SDK)
    assert switched["model"] == "tiny" and "guidance_mode" in switched["unused"]
    assert reformatted["format"] == {"width": 192, "height": 128, "fit": "cover", "upscale": 1}
    assert seen == [[192, 128]]
    assert refused == ["unknown_model"]
    assert len(sockets) == 1
    tab.wait_for_more()


USE_THE_SDK = """async () => {
    const { connect } = await import("/js/streamgen.js");
    const url = location.origin.replace("http", "ws") + "/ws";
    const sizes = new Set();
    const errors = [];
    let stream;
    await new Promise((resolve) => {
        stream = connect(url, {
            settings: { source: "prompt" },
            onWelcome: resolve,
            onOutput: ({ width, height }) => sizes.add(`${width},${height}`),
            onError: ({ code }) => errors.push(code),
        });
    });
    stream.reformat({ width: 256 });
    const reformatted = await stream.reformat({ width: 192, height: 128 });
    sizes.clear();
    const switched = await stream.switch("tiny");
    await stream.switch("none").catch(() => {});
    while (!sizes.size) await new Promise((resolve) => setTimeout(resolve, 50));
    stream.close();
    return [switched, reformatted, [...sizes].map((size) => size.split(",").map(Number)), errors];
}"""


def test_a_model_that_cannot_be_loaded_is_told_and_the_old_one_goes_on(page: Any, edited: EditedServer) -> None:
    menu = page.get_by_role("combobox", name="Model")
    menu.select_option("acme/painter")
    wait_for(page, lambda: bool(edited.asked))
    fact = "acme/painter needs 6 GB, 2 GB are free"
    error = {"type": "error", "code": "model_failed", "message": fact, "retryable": False, "field": None}
    edited.say({**error, "ref": edited.asked[0]["ref"]})
    expect(page.get_by_role("alert").filter(has_text="Acme/painter needs 6 GB")).to_be_visible()
    expect(menu).to_have_value("tiny")
    expect(menu).to_be_enabled()
