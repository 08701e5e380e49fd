"""The page in a real browser, on a real server."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from playwright.sync_api import BrowserContext, Page, expect


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Mean absolute difference of the colours, 0 to 255."""
    return float(np.abs(a[..., :3].astype(int) - b[..., :3].astype(int)).mean())


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def test_the_camera_is_shown_stylised_and_moves(tab: Any) -> None:
    press(tab.page, "Camera")
    expect(tab.page.locator("#screen")).to_have_attribute("width", "384")
    first = tab.wait_for_more().pixels()
    assert first.shape == (288, 384, 4)
    assert first[..., :3].std() > 10
    second = tab.wait_for_more(8).pixels()
    assert difference(first, second) > 2


def test_a_page_in_the_background_goes_on_at_full_rate(tab: Any, context: BrowserContext) -> None:
    press(tab.page, "Camera")
    expect(tab.page.locator("#screen")).to_have_attribute("width", "384")
    tab.wait_for_outputs()
    context.new_page().bring_to_front()
    shown = int(tab.page.locator("#screen").get_attribute("data-seq") or 0)
    reached = "count => Number(document.querySelector('#screen').dataset.seq) >= count"
    tab.page.wait_for_function(reached, arg=shown + 40, polling=100, timeout=8000)


def test_a_still_image_comes_back_in_another_look(tab: Any, still: Path) -> None:
    page = tab.page
    page.set_input_files("#image-file", still)
    expect(page.get_by_role("button", name="Still image")).to_have_attribute("aria-pressed", "true")
    press(page, "Before and after")
    divider = page.get_by_role("slider", name="Divider between before and after")
    divider.press("Home")
    after = tab.wait_for_more().pixels()
    divider.press("End")
    before = tab.wait_for_more().pixels()
    source = simplejpeg.decode_jpeg(still.read_bytes(), colorspace="RGB")
    assert abs(float(before[..., :3].mean()) - float(source.mean())) < 6
    assert after[..., :3].std() > 10
    assert difference(before, after) > 8


def test_a_video_file_is_a_source(tab: Any, tmp_path: Path, still: Path) -> None:
    import av

    path = tmp_path / "clip.webm"
    pixels = simplejpeg.decode_jpeg(still.read_bytes(), colorspace="RGB")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx", rate=15)
        stream.width, stream.height, stream.pix_fmt = 320, 160, "yuv420p"
        for index in range(15):
            crop = np.ascontiguousarray(pixels[index * 4 : index * 4 + 160, 40:360])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(crop, format="rgb24")))
        container.mux(stream.encode(None))
    tab.page.set_input_files("#video-file", path)
    expect(tab.page.get_by_role("button", name="Video file")).to_have_attribute("aria-pressed", "true")
    expect(tab.page.locator("#screen")).to_have_attribute("width", "448")
    tab.wait_for_outputs(5)


def test_a_file_that_is_no_picture_is_told_and_the_old_source_goes_on(tab: Any, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_text("no picture")
    tab.page.set_input_files("#image-file", broken)
    expect(tab.page.get_by_role("alert").filter(has_text="That picture cannot be read")).to_be_visible()
    expect(tab.page.locator("#notice")).to_be_hidden()
    expect(tab.page.get_by_role("button", name="Built-in sample")).to_have_attribute("aria-pressed", "true")
    tab.wait_for_more()


def test_the_figures_are_live(tab: Any) -> None:
    page = tab.page
    expect(page.locator("#hud")).to_have_attribute("data-measured", "true")
    expect(page.locator("#hud-p50")).to_have_text(re.compile(r"^\d+$"))
    expect(page.locator("#hud-fps-out")).to_have_text(re.compile(r"^[1-9]\d*\.\d$"))
    expect(page.locator("#hud-limit")).to_have_text(
        re.compile("^Limited by: (capture|network|queue|engine|encode|buffer|decode|paint)")
    )
    p50, p90 = (int(page.locator(f"#hud-{name}").inner_text()) for name in ("p50", "p90"))
    assert 0 < p50 <= p90 < 5000


def test_a_new_prompt_takes_effect(tab: Any) -> None:
    page = tab.page
    canvas = page.locator("#screen")
    rev = int(canvas.get_attribute("data-rev") or 0)
    press_first_chip = page.locator("#styles .chip").first
    style = press_first_chip.inner_text()
    press_first_chip.click()
    expect(page.get_by_role("textbox", name="Prompt", exact=True)).to_have_value(style)
    expect(press_first_chip).to_have_attribute("aria-pressed", "true")
    page.wait_for_function("rev => Number(document.querySelector('#screen').dataset.rev) > rev", arg=rev)


def test_words_that_mean_nothing_are_answered_with_what_was_read(tab: Any) -> None:
    tab.page.get_by_role("textbox", name="Prompt", exact=True).fill("qqzx vvkw")
    expect(tab.page.locator("#understood")).to_have_text(re.compile("^Not understood; showing the nearest: "))


def test_a_prompt_that_names_no_style_is_answered_with_what_was_read_and_a_name_is_not(tab: Any) -> None:
    prompt = tab.page.get_by_role("textbox", name="Prompt", exact=True)
    prompt.fill("starry night, swirling brush strokes")
    expect(tab.page.locator("#understood")).to_have_text("Read as van gogh")
    prompt.fill("van gogh")
    expect(tab.page.locator("#understood")).to_be_empty()


def test_the_styles_that_a_prompt_was_read_as_are_lit(tab: Any) -> None:
    lit = tab.page.locator("#styles .chip[aria-pressed=true]")
    prompt = tab.page.get_by_role("textbox", name="Prompt", exact=True)
    prompt.fill("half comic, half neon")
    expect(lit).to_have_text(["comic", "neon"])
    prompt.fill("")
    expect(lit).to_have_count(1)


def test_a_seed_out_of_range_becomes_the_nearest_one(tab: Any) -> None:
    seed = tab.page.get_by_role("spinbutton", name="Seed", exact=True)
    seed.fill("99999999999999")
    seed.press("Tab")
    expect(seed).to_have_value(seed.get_attribute("max") or "")
    seed.fill("-3")
    seed.press("Tab")
    expect(seed).to_have_value("0")


def test_a_lost_server_is_told_and_leaves_no_stale_figures(wire: Any, open_tab: Callable[..., Any]) -> None:
    page = open_tab(address=wire.address, webrtc=False).wait_for_outputs().page
    wire.close()
    expect(page.locator("#connection")).to_have_text("Reconnecting… is the server running?")
    for figure in ("p50", "p90", "fps-in", "fps-out", "drops"):
        expect(page.locator(f"#hud-{figure}")).to_have_text("\N{EN DASH}")


def test_two_styles_are_mixed_live(tab: Any) -> None:
    page = tab.page
    page.locator("#styles .chip").nth(0).click()
    page.get_by_role("switch", name="Blend with a second style").check()
    page.locator("#styles-b .chip").nth(2).click()
    rev = int(page.locator("#screen").get_attribute("data-rev") or 0)
    page.get_by_role("slider", name="Mix of the two styles").press("End")
    expect(page.locator("#mix-b")).to_have_text(re.compile("100%$"))
    page.wait_for_function("rev => Number(document.querySelector('#screen').dataset.rev) > rev", arg=rev)


def test_the_upscaler_makes_a_size_that_it_can(tab: Any) -> None:
    page = tab.page
    page.get_by_role("combobox", name="Size").select_option("192")
    page.get_by_role("combobox", name="Upscale").select_option("2")
    expect(page.locator("#screen")).to_have_attribute("width", "256")
    assert tab.wait_for_more().pixels().shape == (256, 256, 4)


def test_a_new_size_keeps_the_connection_the_session_and_its_settings(tab: Any) -> None:
    page = tab.page
    sockets: list[str] = []
    page.on("websocket", lambda socket: sockets.append(socket.url))
    session = page.locator("#foot").inner_text()
    page.get_by_role("slider", name="Strength").press("ArrowLeft")
    expect(page.get_by_role("slider", name="Strength")).to_have_attribute("aria-valuetext", "0.99")
    for side in (192, 384, 192):
        page.get_by_role("combobox", name="Size").select_option(str(side))
        expect(page.locator("#screen")).to_have_attribute("width", str(side))
        expect(page.locator("#format-now")).to_have_text(re.compile(f"^{side} . {side}$"))
        assert tab.wait_for_more().pixels().shape == (side, side, 4)
    assert sockets == []
    assert page.locator("#foot").inner_text() == session
    expect(page.get_by_role("slider", name="Strength")).to_have_attribute("aria-valuetext", "0.99")


def test_what_the_model_does_not_use_is_not_shown(tab: Any) -> None:
    page = tab.page
    page.get_by_text("Advanced", exact=True).click()
    expect(page.get_by_role("slider", name="Strength")).to_be_visible()
    expect(page.get_by_role("slider", name="Feedback")).to_be_visible()
    expect(page.get_by_role("slider", name="Guidance")).to_be_visible()
    for name in ("Control", "Guidance mode"):
        expect(page.get_by_label(name, exact=True)).to_be_hidden()
    for part in ("#loras-card", "#model-card"):
        expect(page.locator(part)).to_be_hidden()


def test_a_negative_prompt_needs_no_guidance_with_the_embedded_model(tab: Any) -> None:
    page = tab.page
    page.locator("#negative").fill("comic")
    expect(page.locator("#negative-hint")).to_be_hidden()


def test_what_is_rarely_turned_is_folded_away_until_the_visitor_unfolds_it(tab: Any) -> None:
    transition = tab.page.get_by_role("slider", name="Transition")
    expect(transition).to_be_hidden()
    tab.page.get_by_text("Advanced", exact=True).click()
    expect(transition).to_be_visible()
    tab.page.reload()
    expect(transition).to_be_visible()


def test_the_delay_of_stream_batch_is_told(tab: Any) -> None:
    tab.page.get_by_text("Advanced", exact=True).click()
    tab.page.get_by_role("switch", name="Stream batch").check()
    limit = tab.page.locator("#hud-limit")
    expect(limit).not_to_contain_text("delay")
    tab.page.get_by_role("slider", name="Steps").press("End")
    expect(limit).to_contain_text("stream batch adds 3 frames of delay")
    tab.wait_for_more()


def test_a_denied_camera_is_told_with_a_way_on(tab: Any) -> None:
    denied = "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('no', 'NotAllowedError'); }"
    tab.page.evaluate(f"() => {{ {denied} }}")
    press(tab.page, "Camera")
    expect(tab.page.get_by_role("alert").filter(has_text="The camera is blocked")).to_be_visible()
    press(tab.page, "Use the sample")
    expect(tab.page.locator("#notice")).to_be_hidden()
    tab.wait_for_more()


def test_keys_work_and_leave_the_prompt_alone(tab: Any) -> None:
    page = tab.page
    page.keyboard.press("b")
    expect(page.locator("#divider")).to_be_visible()
    page.keyboard.press("/")
    prompt = page.get_by_role("textbox", name="Prompt", exact=True)
    expect(prompt).to_be_focused()
    page.keyboard.type("b m")
    expect(prompt).to_have_value("b m")
    expect(page.locator("#divider")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Pause")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Space")
    tab.wait_for_more()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()


def test_a_snapshot_is_a_png_of_the_output(tab: Any) -> None:
    with tab.page.expect_download() as download:
        tab.page.keyboard.press("s")
    assert download.value.suggested_filename.endswith(".png")
    assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")


def test_a_recording_is_a_video(tab: Any) -> None:
    import av

    press(tab.page, "Record")
    tab.wait_for_more(10)
    with tab.page.expect_download() as download:
        press(tab.page, "Record")
    with av.open(str(download.value.path())) as container:
        assert sum(1 for _ in container.decode(video=0)) >= 3


def test_the_obs_url_outlives_a_reload_and_a_second_tab_has_its_own(tab: Any, open_tab: Callable[..., Any]) -> None:
    url = tab.page.locator("#obs-url")
    first = url.input_value()
    second = open_tab().wait_for_outputs()
    assert second.page.locator("#obs-url").input_value() != first
    tab.page.bring_to_front()
    tab.page.reload()
    tab.wait_for_outputs()
    assert url.input_value() == first
    assert first.rpartition("=")[2] in tab.page.locator("#foot").inner_text()


def test_every_control_has_a_name(tab: Any, context: BrowserContext) -> None:
    session = context.new_cdp_session(tab.page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    controls = {"button", "slider", "textbox", "combobox", "spinbutton", "switch", "checkbox", "image", "link"}
    shown = [node for node in nodes if not node["ignored"] and node["role"]["value"] in controls]
    assert len(shown) > 25
    assert [node for node in shown if not node.get("name", {}).get("value")] == []


def test_the_page_fits_a_phone(tab: Any) -> None:
    for phone in (390, 320):
        tab.page.set_viewport_size({"width": phone, "height": 700})
        width, stage = tab.page.evaluate(
            "() => [document.documentElement.scrollWidth, document.querySelector('#screen').clientWidth]"
        )
        assert width <= phone
        assert stage > phone - 50
    expect(tab.page.locator(".prompt .key")).to_be_hidden()


def test_the_page_keeps_its_content_policy_and_asks_nobody_else(browser: Any, server: str) -> None:
    visitor = browser.new_context()
    page = visitor.new_page()
    complaints: list[str] = []
    asked: set[str] = set()
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.add(request.url))
    page.goto(f"{server}/")
    expect(page.locator("#screen")).to_have_attribute("data-seq", re.compile(r"^\d+$"), timeout=30_000)
    assert complaints == []
    assert {url for url in asked if not url.startswith((f"{server}/", "blob:", "data:"))} == set()
    visitor.close()
