"""The pages and the SDK over WebRTC, in a real browser, on a real server."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from playwright.sync_api import BrowserContext, Page, expect

KEEP_PEERS = """
    window.peers = [];
    const Real = RTCPeerConnection;
    window.RTCPeerConnection = class extends Real {
        constructor(configuration) {
            super(window.blocked ? { ...configuration, iceTransportPolicy: "relay" } : configuration);
            window.peers.push(this);
        }
    };
"""
"""Keeps every connection a page makes. Without a relay, one of the policy ``relay`` has nowhere to send from: that is
what a network looks like that lets no UDP through."""
BLOCKED = "window.blocked = true"


def transport(page: Page) -> Any:
    return page.locator("#transport-now")


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def open_page(context: BrowserContext, address: str, *scripts: str) -> tuple[Page, list[str]]:
    """A page at ``address``, and the WebSockets and offers it makes."""
    page = context.new_page()
    made: list[str] = []
    page.on("websocket", lambda socket: made.append("websocket"))
    page.on("request", lambda request: made.append("offer") if request.url.endswith("/webrtc/offer") else None)
    for script in scripts:
        page.add_init_script(script)
    page.goto(address)
    return page, made


def test_the_camera_comes_back_stylised_over_webrtc_alone(
    context: BrowserContext, server: str, tab_of: Callable[[Page], Any]
) -> None:
    page, made = open_page(context, f"{server}/")
    expect(transport(page)).to_have_text("WebRTC")
    press(page, "Camera")
    expect(page.locator("#screen")).to_have_attribute("width", "384")
    tab = tab_of(page).wait_for_more()
    first = tab.pixels()
    assert first[..., :3].std() > 10
    second = tab.wait_for_more(8).pixels()
    assert np.abs(first[..., :3].astype(int) - second[..., :3].astype(int)).mean() > 2
    expect(page.locator("#hud")).to_have_attribute("data-measured", "true")
    expect(page.locator("#hud-fps-in")).to_have_text(re.compile(r"^\d+\.\d$"))
    assert 0 < int(page.locator("#hud-p50").inner_text()) < 5000
    assert made == ["offer"]


def test_where_udp_is_blocked_the_websocket_takes_over_until_webrtc_is_asked_for(
    context: BrowserContext, server: str, tab_of: Callable[[Page], Any]
) -> None:
    page, made = open_page(context, f"{server}/", BLOCKED, KEEP_PEERS)
    expect(transport(page)).to_have_text("WebSocket: no media within 3 s", timeout=6000)
    tab_of(page).wait_for_outputs()
    assert made == ["offer", "websocket"]
    session = page.locator("#foot").inner_text()
    page.get_by_role("slider", name="Strength").press("ArrowLeft")
    expect(page.get_by_role("slider", name="Strength")).to_have_attribute("aria-valuetext", "0.99")
    page.reload()
    expect(transport(page)).to_have_text("WebSocket: no media within 3 s")
    tab_of(page).wait_for_outputs()
    assert made == ["offer", "websocket", "websocket"]
    page.evaluate("() => (window.blocked = false)")
    press(page, "Try WebRTC")
    expect(transport(page)).to_have_text("WebRTC")
    tab_of(page).wait_for_more()
    assert page.locator("#foot").inner_text() == session
    expect(page.get_by_role("slider", name="Strength")).to_have_attribute("aria-valuetext", "0.99")


def test_the_visitor_may_choose_the_websocket(
    context: BrowserContext, server: str, tab_of: Callable[[Page], Any]
) -> None:
    page, made = open_page(context, f"{server}/#transport=websocket")
    expect(transport(page)).to_have_text("WebSocket: chosen")
    tab_of(page).wait_for_outputs()
    assert made == ["websocket"]
    press(page, "Try WebRTC")
    expect(transport(page)).to_have_text("WebRTC")
    press(page, "Use a WebSocket")
    expect(transport(page)).to_have_text("WebSocket: chosen")
    tab_of(page).wait_for_more()
    assert made == ["websocket", "offer", "websocket"]


def test_a_connection_that_falls_silent_is_made_anew(
    context: BrowserContext, server: str, tab_of: Callable[[Page], Any]
) -> None:
    page, made = open_page(context, f"{server}/", KEEP_PEERS)
    tab_of(page).wait_for_outputs()
    session = page.locator("#foot").inner_text()
    page.evaluate("() => window.peers[0].close()")  # the page is not told
    page.wait_for_function("() => window.peers.length === 2")
    expect(page.locator("#connection")).to_have_text("Live")
    tab_of(page).wait_for_more()
    assert page.locator("#foot").inner_text() == session
    assert made == ["offer", "offer"]


def test_a_paused_stream_stands_still_and_goes_on_over_webrtc(tab: Any) -> None:
    expect(transport(tab.page)).to_have_text("WebRTC")
    press(tab.page, "Pause")
    expect(tab.page.locator("#hud-fps-out")).to_have_text("0.0")
    press(tab.page, "Pause")
    tab.wait_for_more()


def test_the_overlay_is_a_viewer_over_webrtc(
    tab: Any, context: BrowserContext, server: str, tab_of: Callable[[Page], Any]
) -> None:
    session = tab.page.locator("#obs-url").input_value().rpartition("=")[2]
    page, made = open_page(context, f"{server}/overlay.html#session={session}")
    assert tab_of(page).wait_for_outputs().pixels()[..., :3].std() > 10
    assert made == ["offer"]


def test_the_sdk_sends_h264_and_hears_its_own_sound(tab: Any) -> None:
    codecs, kinds, streams = tab.page.evaluate(SOUND_AND_H264)
    assert codecs == ["audio/opus", "audio/opus", "video/H264", "video/H264"]
    assert kinds == ["audio", "video"]
    assert streams == 2


SOUND_AND_H264 = """async () => {
    const { connect } = await import("/js/streamgen.js");
    const media = await navigator.mediaDevices.getUserMedia({ video: true, audio: true });
    const heard = new Map();
    let stream;
    await new Promise((resolve) => {
        let outputs = 0;
        stream = connect(location.origin.replace("http", "ws") + "/ws", {
            transport: "webrtc",
            track: media.getVideoTracks()[0],
            audio: media.getAudioTracks()[0],
            videoCodec: "h264",
            onStream: (received, kind) => heard.set(kind, received.id),
            onOutput: () => (outputs += 1) === 3 && resolve(),
        });
    });
    const report = [...(await stream.peerConnection.getStats()).values()];
    const rtp = report.filter(({ type }) => type === "inbound-rtp" || type === "outbound-rtp");
    const codecs = rtp.map(({ codecId }) => report.find(({ id }) => id === codecId).mimeType);
    stream.close();
    for (const track of media.getTracks()) track.stop();
    return [codecs.sort(), [...heard.keys()].sort(), new Set(heard.values()).size];
}"""
