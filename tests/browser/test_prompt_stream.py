"""Pictures from the prompt alone, in a real browser, on a real server."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from playwright.sync_api import expect

NO_CAMERA = """
    window.asked = 0;
    navigator.mediaDevices.getUserMedia = async () => {
        window.asked += 1;
        throw new DOMException("no", "NotAllowedError");
    };
"""
KEEP_CAMERA = """
    const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = async (wanted) => (window.media = await open(wanted));
"""


def press(tab: Any, name: str) -> None:
    tab.page.get_by_role("button", name=name, exact=True).click()


def begin(tab: Any) -> Any:
    """Have the server make the pictures, and wait until it does."""
    press(tab, "Prompt stream")
    expect(tab.page.get_by_role("button", name="Prompt stream")).to_have_attribute("aria-pressed", "true")
    expect(tab.page.locator("#hud")).to_have_attribute("data-measured", "true")
    return tab


def moved(tab: Any) -> float:
    """How much the picture changes over some outputs: mean absolute difference, 0 to 255."""
    changes = "() => Number(document.querySelector('#screen').dataset.seq)"
    first = tab.pixels()
    seen = tab.page.evaluate(changes)
    tab.page.wait_for_function("seen => Number(document.querySelector('#screen').dataset.seq) >= seen + 20", arg=seen)
    return float(np.abs(tab.pixels()[..., :3].astype(int) - first[..., :3].astype(int)).mean())


def test_the_prompt_alone_makes_moving_pictures_without_a_camera(tab: Any) -> None:
    tab.page.evaluate(f"() => {{ {NO_CAMERA} }}")
    begin(tab)
    assert tab.pixels()[..., :3].std() > 10
    assert moved(tab) > 0.5
    assert tab.page.evaluate("() => window.asked") == 0
    expect(tab.page.locator(".alerts .toast")).to_have_count(0)
    expect(tab.page.locator("#notice")).to_be_hidden()


def test_a_prompt_stream_has_no_before_and_figures_of_the_server(tab: Any) -> None:
    page = tab.page
    page.keyboard.press("b")
    expect(page.locator("#divider")).to_be_visible()
    begin(tab)
    expect(page.get_by_role("button", name="Before and after")).to_be_hidden()
    expect(page.locator("#divider")).to_be_hidden()
    page.keyboard.press("b")
    expect(page.locator("#divider")).to_be_hidden()
    expect(page.locator("#hud")).not_to_contain_text("Glass to glass")
    expect(page.locator("#hud-fps-in")).to_be_hidden()
    expect(page.locator("#hud-p50")).to_have_text(re.compile(r"^\d+$"))
    expect(page.locator("#hud-fps-out")).to_have_text(re.compile(r"^[1-9]\d*\.\d$"))
    expect(page.locator("#hud-limit")).to_have_text(re.compile("^Limited by: (queue|engine|encode|paint)"))


def test_the_seeds_travel_is_at_hand_in_a_prompt_stream(tab: Any) -> None:
    travel = tab.page.get_by_role("slider", name="Seed travel")
    expect(travel).to_be_hidden()
    begin(tab)
    expect(travel).to_have_attribute("aria-valuetext", "0.50/s")
    rev = int(tab.page.locator("#screen").get_attribute("data-rev") or 0)
    travel.press("Home")
    expect(travel).to_have_attribute("aria-valuetext", "still")
    tab.page.wait_for_function("rev => Number(document.querySelector('#screen').dataset.rev) > rev", arg=rev)


def test_a_prompt_stream_releases_the_camera_and_gives_way_to_it(tab: Any) -> None:
    page = tab.page
    page.evaluate(f"() => {{ {KEEP_CAMERA} }}")
    press(tab, "Camera")
    expect(page.locator("#screen")).to_have_attribute("width", "384")
    begin(tab)
    assert page.evaluate("() => window.media.getTracks().map((track) => track.readyState)") == ["ended"]
    press(tab, "Camera")
    expect(page.locator("#hud-lead")).to_have_text("Glass to glass")
    expect(page.locator("#hud")).to_have_attribute("data-measured", "true")
    expect(page.get_by_role("button", name="Before and after")).to_be_visible()
    p50 = int(page.locator("#hud-p50").inner_text())
    assert 0 < p50 < 5000
    page.get_by_text("Advanced", exact=True).click()
    expect(page.get_by_role("slider", name="Seed travel")).to_have_attribute("aria-valuetext", "still")


def test_a_paused_prompt_stream_stands_still_and_goes_on(tab: Any) -> None:
    begin(tab)
    press(tab, "Pause")
    expect(tab.page.locator("#hud-fps-out")).to_have_text("0.0")
    press(tab, "Pause")
    assert moved(tab) > 0.5


def test_a_reload_goes_on_with_the_prompt_stream(tab: Any) -> None:
    begin(tab)
    tab.page.reload()
    expect(tab.page.get_by_role("button", name="Prompt stream")).to_have_attribute("aria-pressed", "true")
    expect(tab.page.locator("#hud")).to_have_attribute("data-measured", "true")
    assert moved(tab) > 0.5


def test_the_overlay_shows_a_prompt_stream_and_follows_its_size(tab: Any, open_tab: Callable[..., Any]) -> None:
    begin(tab)
    session = tab.page.locator("#obs-url").input_value().rpartition("=")[2]
    overlay = open_tab(f"/overlay.html#session={session}").wait_for_outputs()
    sockets: list[str] = []
    overlay.page.on("websocket", lambda socket: sockets.append(socket.url))
    assert moved(overlay) > 0.5
    tab.page.get_by_role("combobox", name="Size").select_option("192")
    expect(overlay.page.locator("#screen")).to_have_attribute("width", "192")
    assert moved(overlay) > 0.5
    assert sockets == []
