"""The operator's page."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import BrowserContext, expect


def test_an_operator_sees_a_session_looks_at_it_on_request_and_ends_it(
    tab: Any, server: str, context: BrowserContext, open_tab: Callable[..., Any]
) -> None:
    name = tab.page.locator("#obs-url").input_value().rpartition("=")[2]
    tab.page.locator("#prompt").fill("pencil sketch")
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    page = open_tab("/admin.html").page
    row = page.locator(f'tr[data-session="{name}"]')
    expect(row.locator(".who")).to_have_text("publisher, 0 viewers")
    expect(row.locator(".size")).to_have_text(re.compile(r"^320.320$"))
    expect(row.locator(".device")).to_have_text("cpu")
    expect(row.locator(".rate")).not_to_have_text("0 / 0 fps")  # refreshed by itself
    expect(row.locator(".engine")).to_contain_text("ms")
    expect(page.locator("#state-text")).to_have_text("1 of 16 sessions")
    expect(row.locator(".settings")).not_to_contain_text("pencil sketch")
    page.get_by_role("switch", name="Prompts").check()
    expect(row.locator(".settings")).to_contain_text("pencil sketch")
    assert not [url for url in asked if url.endswith("/snapshot")]
    page.get_by_role("switch", name="Thumbnails").check()
    picture = row.get_by_role("img")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 160
    page.get_by_role("switch", name="Thumbnails").uncheck()
    expect(picture).to_have_count(0)
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name=f"End session {name}").click()
    expect(row).to_have_count(0)
    expect(page.locator("#empty")).to_be_visible()
    expect(tab.page.locator("#connection")).to_have_attribute("data-state", "closed")
    assert len([url for url in asked if url.endswith("/snapshot")]) == 1
