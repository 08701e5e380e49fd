"""Alpha as OBS would show it: pixels of the overlay over a page of a known colour."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, expect

from streamgen.frames import Pixels
from tests.browser.publisher import publishing

SIDE = 256
GREEN = (0, 177, 64)
KEYED: dict[str, Any] = {"alpha": True, "key_colour": "#00b140"}
PATCHES = {
    (200, 40, 40): (slice(21, 90), slice(19, 91)),
    (250, 250, 250): (slice(21, 90), slice(110, 171)),
    (30, 30, 30): (slice(21, 90), slice(190, 241)),
    (40, 60, 200): (slice(190, 235), slice(130, 235)),
}
DISC = ((222, 170, 140), (65, 160), 46)
BEHIND = ((255, 0, 255), (255, 255, 255), (0, 0, 0), (0, 177, 64))
NO_WEBGL = """
for (const kind of [HTMLCanvasElement, OffscreenCanvas]) {
    const { getContext } = kind.prototype;
    kind.prototype.getContext = function (type, ...rest) {
        return type.startsWith("webgl") ? null : getContext.call(this, type, ...rest);
    };
}"""
NEAR_EDGE = 3
ACROSS_A_BLOCK = 16
"""Pixels: as far as a JPEG with half the chroma carries the ripples of an edge."""
FLAT_BOUND = 6
RIPPLE_BOUND = 16
FRINGE_BOUND = 24


def subject() -> tuple[Pixels, np.ndarray]:
    """Patches of colour before a green screen, and where they are, bool [H, W]."""
    pixels = np.empty((SIDE, SIDE, 3), np.uint8)
    pixels[:] = GREEN
    seen = np.zeros((SIDE, SIDE), np.uint8)
    for colour, place in PATCHES.items():
        pixels[place], seen[place] = colour, 1
    colour, centre, radius = DISC
    cv2.circle(pixels, centre, radius, colour, -1, cv2.LINE_AA)
    cv2.circle(seen, centre, radius, 1, -1)
    return pixels, seen > 0


def distance(inside: np.ndarray) -> np.ndarray:
    """Pixels from the edge, on either side of it."""
    return np.maximum(*(cv2.distanceTransform(side.astype(np.uint8), cv2.DIST_L2, 5) for side in (inside, ~inside)))


def subject_colours(pixels: Pixels, seen: np.ndarray) -> np.ndarray:
    """For every pixel the colour of the nearest patch."""
    solid = seen & (distance(seen) > 2)
    _, labels = cv2.distanceTransformWithLabels(
        (~solid).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    colour_of = np.zeros((labels.max() + 1, 3), int)
    colour_of[labels[solid]] = pixels[solid]
    return colour_of[labels]


def composite(tab: Any, colour: tuple[int, int, int]) -> np.ndarray:
    """What a page of this colour looks like with the overlay on it, int [H, W, 3]."""
    tab.page.evaluate("colour => { document.body.style.background = `rgb(${colour.join()})`; }", list(colour))
    shot = Image.open(io.BytesIO(tab.page.screenshot())).convert("RGB")
    return np.asarray(shot).astype(int)


def foreign(shown: np.ndarray, colours: np.ndarray, behind: tuple[int, int, int]) -> np.ndarray:
    """How far every pixel is from any mixture of what should be there: the subject's own colour and that behind it."""
    back = np.array(behind)
    span = colours - back
    share = ((shown - back) * span).sum(-1) / np.maximum((span * span).sum(-1), 1)
    return np.abs(shown - (back + share.clip(0, 1)[..., None] * span)).max(-1)


def open_overlay(tab: Any, server: str, session: str, options: str = "&transport=websocket") -> Any:
    """In ``tab``, as large as a picture."""
    tab.page.set_viewport_size({"width": SIDE, "height": SIDE})
    tab.page.goto(f"{server}/overlay.html#session={session}{options}")
    return tab.wait_for_outputs()


@pytest.mark.parametrize("script", ["", NO_WEBGL], ids=["with WebGL", "without"])
def test_nothing_of_a_green_screen_is_left_and_the_subject_has_its_colours(
    context: BrowserContext, server: str, open_tab: Callable[..., Any], script: str
) -> None:
    context.add_init_script(script)
    with publishing(server, "green-screen", subject()[0], **KEYED):
        overlay = open_overlay(open_tab("/healthz"), server, "green-screen")
        check_colours(overlay, FLAT_BOUND, RIPPLE_BOUND, FRINGE_BOUND)


@pytest.mark.parametrize("codec", ["vp8", "h264"])
def test_nor_is_it_over_webrtc(server: str, open_tab: Callable[..., Any], codec: str) -> None:
    """Sent nearly without loss, so that the loss is the video's."""
    name = f"green-{codec}"
    with publishing(server, name, subject()[0], **KEYED, video_codec=codec, send_quality=98):
        overlay = open_overlay(open_tab("/healthz"), server, name, "&transport=webrtc")
        check_colours(overlay.wait_for_outputs(30), FLAT_BOUND, 2 * RIPPLE_BOUND, 2 * FRINGE_BOUND)


def check_colours(overlay: Any, flat_bound: int, ripple_bound: int, fringe_bound: int) -> None:
    pixels, seen = subject()
    colours, apart = subject_colours(pixels, seen), distance(seen)
    for behind in BEHIND:
        shown = composite(overlay, behind)
        error = np.abs(shown - np.where(seen[..., None], colours, behind)).max(-1)
        assert error[~seen & (apart > NEAR_EDGE)].max() <= 1
        assert np.quantile(error[apart > ACROSS_A_BLOCK], 0.999) <= flat_bound
        assert error[apart > NEAR_EDGE].max() <= ripple_bound
        assert foreign(shown, colours, behind)[apart <= NEAR_EDGE].max() <= fringe_bound


def test_the_padding_of_a_picture_is_transparent_and_has_no_dark_edge(
    server: str, open_tab: Callable[..., Any]
) -> None:
    bright = np.full((SIDE // 2, SIDE, 3), (250, 220, 90), np.uint8)
    with publishing(server, "padded", bright, alpha=True, fit="contain"):
        overlay = open_overlay(open_tab("/healthz"), server, "padded")
        shown = composite(overlay, (255, 255, 255))
    top, bottom = SIDE // 4, SIDE - SIDE // 4
    assert np.abs(shown[top:bottom] - (250, 220, 90)).max() <= FLAT_BOUND
    assert shown[: top - 1].min() == shown[bottom + 1 :].min() == 255
    assert shown[:, :, 1].min() >= 220 - FLAT_BOUND  # nothing of the black that is under the padding


def test_transparency_begins_and_ends_between_two_pictures(server: str, open_tab: Callable[..., Any]) -> None:
    pixels, _ = subject()
    with publishing(server, "changes", pixels, **KEYED) as still:
        overlay = open_overlay(open_tab("/healthz"), server, "changes")
        assert composite(overlay, (255, 0, 255))[2, 2].tolist() == [255, 0, 255]
        for alpha, corner in ((False, GREEN), (True, (255, 0, 255))):
            rev = still.update(alpha=alpha)
            overlay.page.wait_for_function("rev => document.querySelector('#screen').dataset.rev >= rev", arg=rev)
            assert np.abs(composite(overlay, (255, 0, 255))[2, 2] - corner).max() <= FLAT_BOUND


def test_the_page_shows_a_transparent_picture_on_a_checkerboard(tab: Any) -> None:
    page = tab.page
    page.locator("#advanced summary").click()
    page.get_by_label("Fit").select_option("contain")
    page.get_by_label("Shape").select_option("9:16")
    page.get_by_role("switch", name="Transparency").check()
    expect(page.locator("#screen")).to_have_attribute("data-transparent", "true")
    page.wait_for_function("() => { const s = document.querySelector('#screen'); return s.height > s.width; }")
    tab.wait_for_more(3)
    alpha = tab.pixels()[..., 3]
    assert alpha[0].max() == 0 and alpha[alpha.shape[0] // 2].min() == 255
    page.get_by_role("switch", name="Transparency").uncheck()
    expect(page.locator("#screen")).to_have_attribute("data-transparent", "false")
    tab.wait_for_more(1)
    assert tab.pixels()[..., 3].min() == 255
