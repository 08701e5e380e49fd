"""OBS as the page's source: a WHIP publisher in one page, and another page that steers what it sends."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, expect

from tests.browser import test_whip_clients

obs = test_whip_clients.clients
"""What stands for OBS: a page that can publish by WHIP."""


def publish(obs: Page, url: str) -> None:
    obs.bring_to_front()
    obs.evaluate(test_whip_clients.PUBLISH, url)


def stop(obs: Page) -> None:
    obs.bring_to_front()
    obs.evaluate("() => window.whip.stop()")


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def prompt(page: Page) -> Any:
    return page.get_by_role("textbox", name="Prompt", exact=True)


def choose_style(tab: Any, style: str) -> None:
    """Choose it, and wait for a picture made by it."""
    rev = int(tab.page.locator("#screen").get_attribute("data-rev") or 0)
    tab.page.locator("#styles .chip", has_text=style).click()
    tab.page.wait_for_function("rev => Number(document.querySelector('#screen').dataset.rev) > rev", arg=rev)


def test_the_page_waits_for_obs_and_steers_what_it_sends(tab: Any, obs: Page, server: str) -> None:
    page = tab.page
    page.bring_to_front()
    own = page.locator("#foot").inner_text()
    choose_style(tab, "neon")
    press(page, "OBS")
    name = page.get_by_role("textbox", name="Session", exact=True)
    expect(name).to_have_value("studio")
    name.fill("my scene")
    name.press("Enter")
    address = page.get_by_role("textbox", name="Server", exact=True)
    expect(address).to_have_value(f"{server}/whip/my-scene")
    expect(page.locator("#connection")).to_have_text("Waiting for OBS")
    expect(page.locator(".toast")).to_have_count(0)

    publish(obs, f"{address.input_value()}?prompt=pencil&width=320&height=192")
    page.bring_to_front()
    expect(page.locator("#connection")).to_have_text("Live")
    expect(name).to_be_hidden()
    assert tab.wait_for_outputs().pixels().shape == (192, 320, 4)
    expect(page.locator("#foot")).to_have_text(re.compile("session my-scene$"))
    expect(prompt(page)).to_have_value("pencil")
    expect(page.get_by_role("button", name="Before and after")).to_be_hidden()
    assert page.locator("#obs-url").input_value() == f"{server}/overlay.html#session=my-scene"
    choose_style(tab, "comic")
    expect(prompt(page)).to_have_value("comic")
    page.get_by_role("combobox", name="Shape").select_option("Square")
    expect(page.locator("#screen")).to_have_attribute("width", "256")
    expect(page.locator(".alerts .toast")).to_have_count(0)

    press(page, "Camera")
    expect(page.locator("#foot")).to_have_text(own)
    tab.wait_for_outputs()
    expect(prompt(page)).to_have_value("neon")
    expect(page.get_by_role("combobox", name="Shape")).to_have_value("Match the source")
    stop(obs)


def test_a_link_steers_a_session_over_a_websocket_and_tells_when_obs_stops(
    open_tab: Callable[..., Any], obs: Page, server: str
) -> None:
    publish(obs, f"{server}/whip/linked?prompt=pencil")
    tab = open_tab("/#control=linked&transport=websocket").wait_for_outputs()
    page = tab.page
    expect(page.locator("#transport-now")).to_have_text("WebSocket: chosen")
    expect(prompt(page)).to_have_value("pencil")
    choose_style(tab, "comic")
    other = open_tab("/#control=linked").wait_for_outputs().page
    expect(prompt(other)).to_have_value("comic")
    press(other, "Pause this view")
    expect(other.locator("#paused")).to_have_text("Paused here, the session goes on")
    page.bring_to_front()
    tab.wait_for_more()
    press(page, "OBS")
    expect(page.get_by_role("heading", name="OBS is the camera")).to_be_visible()
    press(page, "Close this guide")
    expect(page.get_by_role("button", name="OBS", exact=True)).to_be_focused()

    stop(obs)
    page.bring_to_front()
    expect(page.locator("#obs-dry")).to_be_visible()
    expect(page.locator("#connection")).to_have_text("Waiting for OBS")
    publish(obs, f"{server}/whip/linked")
    page.bring_to_front()
    expect(page.locator("#connection")).to_have_text("Live")
    expect(prompt(page)).to_have_value("comic")
    stop(obs)
