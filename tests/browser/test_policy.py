"""The pages keep to their own security policy, in a browser that enforces it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

SOME = re.compile(r"^([3-9]|\d\d+)$")


@pytest.fixture
def strict(browser: Browser) -> Iterator[BrowserContext]:
    """A visitor whose browser bypasses nothing."""
    visitor = browser.new_context(viewport={"width": 1280, "height": 800})
    visitor.set_default_timeout(30_000)
    yield visitor
    visitor.close()


def test_the_page_and_its_overlay_run_without_a_violation(strict: BrowserContext, server: str) -> None:
    complaints: list[str] = []
    page = strict.new_page()
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    answer = page.goto(f"{server}/")
    assert answer is not None and "frame-ancestors" in answer.headers["content-security-policy"]
    expect(page.locator("#screen")).to_have_attribute("data-seq", SOME)
    page.locator("#snapshot").click()
    page.locator("#help").click()
    overlay = strict.new_page()
    overlay.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    overlay.goto(page.locator("#obs-url").input_value())
    expect(overlay.locator("#screen")).to_have_attribute("data-seq", SOME)
    assert [text for text in complaints if "olicy" in text] == []
