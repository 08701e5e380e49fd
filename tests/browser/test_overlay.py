"""The overlay page as OBS shows it."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import expect


def overlay_path(tab: Any, options: str = "") -> str:
    return f"/overlay.html#session={tab.page.locator('#obs-url').input_value().rpartition('=')[2]}{options}"


def screenshot(tab: Any) -> np.ndarray:
    """[H, W, 4] uint8, transparent where the page paints nothing."""
    return np.asarray(Image.open(io.BytesIO(tab.page.screenshot(omit_background=True))).convert("RGBA"))


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
    shot = screenshot(overlay)
    assert [int(shot[y, x, 3]) for y, x in ((0, 0), (100, 50), (199, 599))] == [0, 0, 0]
    assert shot[100, 300, 3] == 255


def test_cover_fills_the_whole_source(tab: Any, open_tab: Callable[..., Any]) -> None:
    overlay = open_tab(overlay_path(tab, "&fit=cover"))
    overlay.page.set_viewport_size({"width": 600, "height": 200})
    overlay.wait_for_outputs()
    assert screenshot(overlay)[..., 3].min() == 255


def test_the_overlay_waits_unseen_for_a_session_that_is_not_there_yet(open_tab: Callable[..., Any]) -> None:
    overlay = open_tab("/overlay.html#session=not-there-yet")
    expect(overlay.page.locator("#screen")).to_have_attribute("data-state", "reconnecting")
    assert screenshot(overlay)[..., 3].max() == 0


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
    assert screenshot(overlay)[..., 3].max() == 255
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
    assert screenshot(overlay)[..., 3].max() == 0
