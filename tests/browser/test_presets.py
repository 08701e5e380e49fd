"""Presets on the page: saved under a name, chosen again, deleted."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from playwright.sync_api import BrowserContext, expect

PAINTED = "starry night, swirling brush strokes"


def kept(server: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{server}/api/v1/presets") as answer:
        return dict(json.load(answer)["presets"])


def test_a_preset_is_saved_chosen_in_another_visit_and_deleted(context: BrowserContext, server: str) -> None:
    page = context.new_page()
    page.goto(f"{server}/#transport=websocket")
    expect(page.locator("#connection")).to_have_text("Live")
    page.locator("#prompt").fill(PAINTED)
    expect(page.locator("#understood")).to_have_text("Read as van gogh")
    page.locator("#preset-name").fill("Night")
    page.locator("#preset-save").click()
    expect(page.locator("#preset")).to_have_value("Night")
    assert kept(server)["Night"]["settings"]["prompt"] == PAINTED
    assert "source" not in kept(server)["Night"]["settings"]

    page.locator("#prompt").fill("pencil sketch")
    page.reload()
    expect(page.locator("#connection")).to_have_text("Live")
    page.locator("#preset").select_option("Night")
    expect(page.locator("#prompt")).to_have_value(PAINTED)
    page.locator("#preset-remove").click()
    expect(page.locator("#preset option")).to_have_count(1)
    assert kept(server) == {}
