"""WHIP and WHEP as others speak them: the npm package whip-whep, whose author wrote RFC 9725, in Chromium."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

PACKAGE = Path(sys.prefix) / "lib" / "node_modules" / "whip-whep"

PUBLISH = """async url => {
    const { WHIPClient } = await import("/npm/whip.js");
    const media = await navigator.mediaDevices.getUserMedia({ video: { width: 320, height: 240 } });
    const connection = (window.publishing = new RTCPeerConnection({ bundlePolicy: "max-bundle" }));
    for (const track of media.getTracks()) connection.addTransceiver(track, { direction: "sendonly" });
    window.whip = new WHIPClient();
    await window.whip.publish(connection, url);
}"""
WATCH = """async url => {
    const { WHEPClient } = await import("/npm/whep.js");
    const connection = (window.watching = new RTCPeerConnection({ bundlePolicy: "max-bundle" }));
    connection.addTransceiver("video", { direction: "recvonly" });
    const video = Object.assign(document.createElement("video"), { muted: true, autoplay: true });
    connection.ontrack = ({ track }) => (video.srcObject = new MediaStream([track]));
    document.body.append(video);
    await new WHEPClient().view(connection, url);
    await new Promise(resolve => video.requestVideoFrameCallback(resolve));
    return [video.videoWidth, video.videoHeight];
}"""


@pytest.fixture
def clients(context: Any, server: str) -> Page:
    """A page of the server from which the package can be imported."""
    if not PACKAGE.is_dir():
        reason = f"the npm package whip-whep is not in {PACKAGE}: make test installs it"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    page: Page = context.new_page()

    def package(route: Any) -> None:
        path = PACKAGE / route.request.url.rpartition("/")[2]
        route.fulfill(body=path.read_text(), content_type="text/javascript")

    page.route("**/npm/*.js", package)
    page.goto(f"{server}/healthz")
    return page


def test_a_foreign_client_publishes_and_another_watches(
    clients: Page, server: str, open_tab: Callable[..., Any]
) -> None:
    clients.evaluate(PUBLISH, f"{server}/whip/foreign?prompt=pencil%20sketch")
    assert clients.evaluate(WATCH, f"{server}/whep/foreign") == [256, 256]
    open_tab("/overlay.html#session=foreign").wait_for_outputs()
    clients.bring_to_front()
    clients.evaluate("() => window.whip.stop()")
