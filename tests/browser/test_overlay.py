"""The overlay page as OBS shows it."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, expect

from tests.browser.publisher import publishing


def overlay_path(tab: Any, options: str = "") -> str:
    return f"/overlay.html#session={tab.page.locator('#obs-url').input_value().rpartition('=')[2]}{options}"


def screenshot(tab: Any) -> np.ndarray:
    """[H, W, 4] uint8, transparent where the page paints nothing."""
    return np.asarray(Image.open(io.BytesIO(tab.page.screenshot(omit_background=True))).convert("RGBA"))


def screenshot_once(tab: Any, shows: Callable[[np.ndarray], bool]) -> np.ndarray:
    """The first of a few screenshots that ``shows`` accepts, or the last: a page is laid out before it is painted."""
    for _ in range(20):
        shot = screenshot(tab)
        if shows(shot):
            break
    return shot


def empty(shot: np.ndarray) -> bool:
    return bool(shot[..., 3].max() == 0)


def opaque(shot: np.ndarray) -> bool:
    return bool(shot[..., 3].min() == 255)


def has_a_picture(shot: np.ndarray) -> bool:
    return bool(shot[..., 3].max() == 255)


def test_the_overlay_shows_the_publishers_picture_on_transparent_ground(
    tab: Any, open_tab: Callable[..., Any], still: Path
) -> None:
    tab.page.set_input_files("#image-file", still)
    expect(tab.page.get_by_role("button", name="Still image")).to_have_attribute("aria-pressed", "true")
    tab.wait_for_more(10)
    overlay = open_tab(overlay_path(tab))
    overlay.page.set_viewport_size({"width": 600, "height": 200})
    overlay.wait_for_outputs()
    apart = np.abs(overlay.pixels().astype(int) - tab.pixels().astype(int)).mean()
    assert apart < 8  # each was encoded as a video of its own
    shot = screenshot_once(overlay, has_a_picture)
    assert [int(shot[y, x, 3]) for y, x in ((0, 0), (100, 50), (199, 599))] == [0, 0, 0]
    assert shot[100, 300, 3] == 255


@pytest.mark.parametrize("fit", ["cover", "fill"])
def test_cover_and_fill_leave_nothing_of_the_source_empty(tab: Any, open_tab: Callable[..., Any], fit: str) -> None:
    overlay = open_tab(overlay_path(tab, f"&fit={fit}"))
    overlay.page.set_viewport_size({"width": 600, "height": 200})
    overlay.wait_for_outputs()
    assert opaque(screenshot_once(overlay, opaque))


def test_the_overlay_waits_unseen_for_a_session_that_is_not_there_yet(open_tab: Callable[..., Any]) -> None:
    overlay = open_tab("/overlay.html#session=not-there-yet")
    expect(overlay.page.locator("#screen")).to_have_attribute("data-state", "reconnecting")
    assert empty(screenshot(overlay))


def test_the_overlay_comes_back_after_the_connection_is_cut(wire: Any, open_tab: Callable[..., Any]) -> None:
    publisher = open_tab(address=wire.address, webrtc=False).wait_for_outputs()
    overlay = open_tab(overlay_path(publisher), wire.address, webrtc=False).wait_for_outputs()
    states = "() => { window.states = []; new MutationObserver(() => window.states.push(screen_.dataset.state))"
    watch = f"{states}.observe(screen_, {{ attributeFilter: ['data-state'] }}); }}".replace(
        "screen_", "document.querySelector('#screen')"
    )
    overlay.page.evaluate(watch)
    wire.cut()
    overlay.page.wait_for_function("() => window.states.includes('reconnecting') && window.states.at(-1) === 'open'")
    assert has_a_picture(screenshot_once(overlay, has_a_picture))
    publisher.page.bring_to_front()
    expect(publisher.page.locator("#connection")).to_have_text("Live", timeout=60_000)
    overlay.page.bring_to_front()
    first = overlay.page.locator("#screen").get_attribute("data-seq")
    expect(overlay.page.locator("#screen")).not_to_have_attribute("data-seq", first or "")


def test_a_lost_picture_can_be_hidden(wire: Any, open_tab: Callable[..., Any]) -> None:
    publisher = open_tab(address=wire.address, webrtc=False).wait_for_outputs()
    overlay = open_tab(overlay_path(publisher, "&lost=hide"), wire.address, webrtc=False).wait_for_outputs()
    expect(overlay.page.locator("#screen")).to_have_attribute("data-shown", "true")
    wire.close()
    expect(overlay.page.locator("#screen")).to_have_attribute("data-shown", "false")
    assert empty(screenshot_once(overlay, empty))


def test_a_card_can_stand_for_a_lost_picture_and_says_nothing(wire: Any, open_tab: Callable[..., Any]) -> None:
    publisher = open_tab(address=wire.address, webrtc=False).wait_for_outputs()
    overlay = open_tab(overlay_path(publisher, "&lost=card"), wire.address, webrtc=False).wait_for_outputs()
    expect(overlay.page.locator("#card")).to_be_hidden()
    wire.close()
    expect(overlay.page.locator("#card")).to_be_visible()
    shot = screenshot_once(overlay, opaque)
    assert opaque(shot) and np.ptp(shot[..., :3], axis=1).max() <= 2  # dithered
    assert overlay.page.locator("body").inner_text() == ""


TOLD = {
    "an event": "visible => dispatchEvent(new CustomEvent('obsSourceVisibleChanged', { detail: { visible } }))",
    "a call": "visible => obsstudio.onVisibilityChange(visible)",
}


@pytest.mark.parametrize("how", TOLD)
def test_an_overlay_that_obs_hides_gets_nothing_and_then_goes_on_with_the_newest_picture(
    server: str, open_tab: Callable[..., Any], context: BrowserContext, how: str
) -> None:
    context.add_init_script("globalThis.obsstudio = {};")
    red, blue = np.full((256, 256, 3), (200, 0, 0), np.uint8), np.full((256, 256, 3), (0, 0, 200), np.uint8)
    with publishing(server, "hidden", red) as still:
        overlay = open_tab("/overlay.html#session=hidden&delay=300&transport=websocket").wait_for_outputs()
        seen = overlay.page.locator("#screen")
        overlay.page.evaluate(TOLD[how], False)
        still.pixels = blue
        still.wait_for_outputs(10)  # what was on its way has arrived by then
        last = seen.get_attribute("data-seq") or ""
        still.wait_for_outputs(20)
        expect(seen).to_have_attribute("data-seq", last)
        assert overlay.pixels()[128, 128, 0] > 150
        overlay.page.evaluate(TOLD[how], True)
        expect(seen).not_to_have_attribute("data-seq", last)
        assert overlay.pixels()[128, 128, 2] > 150


def test_a_delayed_overlay_at_a_low_rate_holds_back_nobody(server: str, open_tab: Callable[..., Any]) -> None:
    with publishing(server, "late", np.full((256, 256, 3), 90, np.uint8)):
        overlay = open_tab("/overlay.html#session=late&delay=1000&fps=5&transport=websocket").wait_for_outputs()
        seen = overlay.page.evaluate(
            """() => new Promise((resolve) => {
                const seen = [];
                new MutationObserver(() => {
                    seen.push(Number(document.querySelector("#screen").dataset.seq));
                    if (seen.length === 4) resolve(seen);
                }).observe(document.querySelector("#screen"), { attributeFilter: ["data-seq"] });
            })"""
        )
    assert min(np.diff(seen)) > 1  # those between were sent, and skipped
