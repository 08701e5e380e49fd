"""Changes while frames flow, over real sockets with a fake worker: another format, another model, no frames at all."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from streamgen.config import ServerConfig
from streamgen.errors import WeightsError, WorkerError
from streamgen.frames import Frame, Pixels
from streamgen.server.worker_link import WorkerInfo
from streamgen.settings import FrameFormat
from tests.server.conftest import Peer, Running, running
from tests.server.test_sessions import lose, orphaned, resume


async def until(condition: object) -> None:
    async with asyncio.timeout(5):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0)


async def test_welcome_names_what_the_model_has_and_what_it_may_be_exchanged_for(server: Running) -> None:
    welcome = await (await server.peer()).hello()
    assert (welcome["unused"], welcome["loras"], welcome["models"]) == (["guidance"], {"soft": 0.5}, ["fake", "other"])


async def test_without_a_wish_the_format_is_the_models_own(server: Running) -> None:
    server.worker.info = replace(server.worker.info, width=512, height=384)
    for wish, format in (({}, (512, 384, "cover", 1)), ({"width": 256, "fit": "contain"}, (256, 384, "contain", 1))):
        welcome = await (await server.peer()).hello(format=wish)
        assert tuple(welcome["format"].values()) == format


@pytest.mark.parametrize(
    ("settings", "field"), [({"steps": 4}, "steps"), ({"loras": {"soft": 1.0, "sharp": 1.0}}, "loras")]
)
async def test_what_the_model_cannot_do_is_refused_before_anything_changes(
    server: Running, settings: dict[str, object], field: str
) -> None:
    server.worker.info = replace(server.worker.info, max_steps=3)
    peer = await server.peer()
    error = await peer.hello(settings=settings)
    assert (error["code"], error["field"]) == ("invalid_settings", field)
    assert (await peer.hello(session="cam", settings={"loras": {"soft": 1.0}}))["type"] == "welcome"
    error = await peer.ask("update", settings=settings)
    assert (error["code"], error["field"]) == ("invalid_settings", field)
    assert server.worker.opened["cam"].rev == 0


# ------------------------------------------------------------------------------------------------------------ reformat


async def test_another_format_is_told_to_everybody_once_it_is_in_force(server: Running, picture: Pixels) -> None:
    server.worker.automatic = False
    publisher = await server.publisher(session="cam")
    viewer = await server.viewer("cam")
    await publisher.say("reformat", format={"width": 512, "fit": "contain"}, ref="f")
    await publisher.ask("stats")
    server.worker.compute("cam", Frame(picture, seq=0))
    for peer in (publisher, viewer):
        assert (await peer.see())[0].width == 256
    server.worker.take_format("cam", 1)
    server.worker.compute("cam", Frame(picture, seq=1))
    format = {"width": 512, "height": 256, "fit": "contain", "upscale": 1}
    for peer, ref in ((publisher, "f"), (viewer, None)):
        assert await peer.hear("reformatted") == {"type": "reformatted", "format": format, "ref": ref}
        assert (await peer.see())[0].width == 512
    assert (await (await server.peer()).hello(role="view", session="cam"))["format"] == format


async def test_after_the_word_of_another_format_no_picture_of_the_old_one_comes(
    server: Running, picture: Pixels
) -> None:
    peer = await server.publisher(session="cam")
    for seq in range(2):
        server.worker.compute("cam", Frame(picture, seq=seq))
        await peer.see()
    server.worker.compute("cam", Frame(picture, seq=2))  # waits for credit
    assert (await peer.ask("reformat", format={"width": 128}))["type"] == "reformatted"
    await peer.say("ack", seq=1)
    server.worker.compute("cam", Frame(picture, seq=3))
    header, _ = await peer.see()
    assert (header.source_seq, header.width, bool(header.flags & 1)) == (3, 128, True)
    assert (await peer.ask("stats"))["drops"] == {"no_credit": 1}


@pytest.mark.parametrize(
    ("format", "code", "field"),
    [
        ({"width": 100}, "invalid_settings", "width"),
        ({"height": 2048}, "invalid_settings", "height"),
        ({"fit": "stretch"}, "invalid_settings", "fit"),
        ({"depth": 3}, "unknown_setting", "depth"),
    ],
)
async def test_a_format_that_cannot_be_is_refused(
    server: Running, format: dict[str, object], code: str, field: str
) -> None:
    peer = await server.publisher(session="cam")
    error = await peer.ask("reformat", format=format)
    assert (error["code"], error["field"], error["retryable"]) == (code, field, False)
    assert server.worker.opened["cam"].wanted == {}


async def test_a_viewer_may_change_neither_format_nor_model(server: Running) -> None:
    await server.publisher(session="cam")
    viewer = await server.viewer("cam")
    assert (await viewer.ask("reformat", format={"width": 128}))["code"] == "not_publisher"
    assert (await viewer.ask("switch", model="other"))["code"] == "not_publisher"
    assert (server.worker.opened["cam"].wanted, server.worker.switches) == ({}, [])


async def test_a_newer_format_replaces_one_that_is_being_prepared(server: Running) -> None:
    server.worker.automatic = False
    peer = await server.publisher(session="cam")
    await peer.say("reformat", format={"width": 512}, ref="first")
    await peer.say("reformat", format={"height": 512}, ref="second")
    error = await peer.hear("error")
    assert (error["code"], error["ref"], error["retryable"]) == ("superseded", "first", False)
    server.worker.take_format("cam", 2)
    answer = await peer.hear("reformatted")
    assert (answer["format"], answer["ref"]) == ({"width": 512, "height": 512, "fit": "cover", "upscale": 1}, "second")


async def test_a_replaced_format_that_came_into_force_after_all_is_told_as_well(server: Running) -> None:
    server.worker.automatic = False
    peer = await server.publisher(session="cam")
    await peer.say("reformat", format={"width": 512}, ref="first")
    await peer.say("reformat", format={"width": 128}, ref="second")
    await peer.ask("stats")
    server.worker.take_format("cam", 1)  # it was ready while the second was on its way
    server.worker.take_format("cam", 2)
    heard = [await peer.hear("reformatted") for _ in range(2)]
    assert [(answer["format"]["width"], answer["ref"]) for answer in heard] == [(512, None), (128, "second")]


async def test_a_format_that_the_worker_cannot_make_is_answered_and_the_old_one_stays(server: Running) -> None:
    server.worker.automatic = False
    peer = await server.publisher(session="cam")
    await peer.say("reformat", format={"width": 1024}, ref="f")
    await peer.ask("stats")
    server.worker.opened["cam"].listener.on_reformat_failed(1, WorkerError("engine_failed", "out of memory"))
    error = await peer.hear("error")
    assert (error["code"], error["ref"]) == ("engine_failed", "f")
    await peer.say("reformat", format={"fit": "contain"}, ref="g")
    await peer.ask("stats")
    assert server.worker.opened["cam"].wanted[2] == FrameFormat(fit="contain")


async def test_viewers_are_told_when_a_publisher_comes_back_with_another_format(server: Running) -> None:
    peer = await server.peer()
    welcome = await peer.hello(session="cam")
    viewer = await server.viewer("cam")
    await lose(peer)
    await resume(server, welcome, format={"width": 128, "height": 128})
    assert (await viewer.hear("reformatted"))["format"] == {"width": 128, "height": 128, "fit": "cover", "upscale": 1}


# -------------------------------------------------------------------------------------------------------------- switch

OTHER = WorkerInfo(
    model="other",
    styles=(),
    backend="new",
    device="cpu",
    unused=("feedback",),
    loras={"sharp": 1.0},
    models=("fake", "other"),
    max_steps=2,
)


def take_model(server: Running, info: WorkerInfo = OTHER) -> None:
    """The model that was asked for takes over."""
    _, _, listener = server.worker.switches[-1]
    server.worker.info = info
    listener.on_switched(info)


async def test_another_model_is_told_to_everybody_on_the_server(server: Running) -> None:
    asking = await server.publisher(session="a")
    others = [await server.viewer("a"), await server.publisher(session="b"), await server.viewer("b")]
    await asking.say("switch", model="other", loras=[], ref="s")
    await asking.ask("stats")
    assert server.worker.switches[0][:2] == ("other", ())
    take_model(server)
    told = {
        "type": "switched",
        "model": "other",
        "styles": [],
        "unused": ["feedback"],
        "loras": {"sharp": 1.0},
        "reference": False,
        "backend": "new",
        "device": "cpu",
    }
    assert await asking.hear("switched") == {**told, "ref": "s"}
    for peer in others:
        assert await peer.hear("switched") == {**told, "ref": None}
    welcome = await (await server.peer()).hello()
    assert (welcome["model"], welcome["unused"], welcome["models"]) == ("other", ["feedback"], ["fake", "other"])


async def test_other_styles_are_told_to_everybody_on_the_server(server: Running) -> None:
    peers = [await server.publisher(session="a"), await server.viewer("a"), await server.publisher(session="b")]
    server.worker.info = replace(server.worker.info, styles=("pencil sketch", "mine"))
    server.worker.on_restyled(server.worker.info.styles)
    for peer in peers:
        assert await peer.hear("restyled") == {"type": "restyled", "styles": ["pencil sketch", "mine"]}
    assert (await (await server.peer()).hello())["styles"] == ["pencil sketch", "mine"]


async def test_settings_that_the_new_model_cannot_do_are_fitted_and_told(server: Running) -> None:
    peer = await server.publisher(session="a", settings={"steps": 4, "loras": {"soft": 0.7}, "prompt": "ink"})
    content = await server.publisher(session="b", settings={"steps": 2})
    viewer = await server.viewer("a")
    for watcher in (peer, content, viewer):
        await watcher.hear("updated")
    await peer.say("switch", model="other", ref="s")
    await peer.ask("stats")
    take_model(server)
    for watcher in (peer, viewer):
        assert (await watcher.hear("switched", "updated"))["type"] == "switched"
        updated = await watcher.hear("updated")
        settings = updated["settings"]
        assert (updated["rev"], settings["steps"], settings["loras"], settings["prompt"]) == (1, 2, {}, "ink")
    assert server.worker.opened["b"].rev == 0


async def test_how_the_new_model_reads_a_prompt_is_told_though_the_settings_stay(server: Running) -> None:
    peer = await server.publisher(session="a", settings={"prompt": "ink"})
    await peer.hear("updated")
    await peer.say("switch", model="other", ref="s")
    await peer.ask("stats")
    take_model(server)
    server.worker.opened["a"].listener.on_applied(0, None)
    updated = await peer.hear("updated")
    assert (updated["rev"], updated["understood"], updated["settings"]["prompt"]) == (0, None, "ink")


@pytest.mark.parametrize(
    "name", ["sdxl", "", "../fake", "/etc/passwd", "https://example.org/model", "fake.safetensors"]
)
async def test_no_client_can_name_what_the_operator_did_not(server: Running, name: str) -> None:
    peer = await server.publisher()
    error = await peer.ask("switch", model=name)
    assert (error["code"], error["field"], error["retryable"]) == ("unknown_model", "model", False)
    error = await peer.ask("switch", model="other", loras=[name])
    assert (error["code"], error["field"]) == ("unknown_lora", "loras")
    assert server.worker.switches == []


async def test_loras_are_named_by_the_operators_list_and_fused_ones_are_not() -> None:
    config = ServerConfig(port=0, model="fake", loras=("soft=s.safetensors",), fused_loras=("lcm=l.safetensors",))
    async with running(config=config) as server:
        peer = await server.publisher()
        assert (await peer.ask("switch", model="fake", loras=["lcm"]))["code"] == "unknown_lora"
        await peer.say("switch", model="fake", loras=["soft"])
        await peer.ask("stats")
        assert server.worker.switches[0][:2] == ("fake", ("soft",))


async def test_one_model_is_loaded_at_a_time_whoever_asks(server: Running) -> None:
    one, two = await server.publisher(), await server.publisher()
    await one.say("switch", model="other", ref="s")
    await one.ask("stats")
    error = await two.ask("switch", model="fake")
    assert (error["code"], error["retryable"]) == ("switch_pending", True)
    take_model(server)
    await two.say("switch", model="fake")
    await two.ask("stats")
    assert len(server.worker.switches) == 2


async def test_a_model_that_cannot_be_loaded_is_answered_to_who_asked_and_the_old_one_stays(
    server: Running, picture: Pixels
) -> None:
    peer, other = await server.publisher(session="a"), await server.publisher(session="b")
    await peer.say("switch", model="other", ref="s")
    await peer.ask("stats")
    server.worker.switches[0][2].on_switch_failed(WeightsError("weights_missing", "there is no file"))
    error = await peer.hear("error")
    assert (error["code"], error["ref"]) == ("weights_missing", "s")
    await other.frame(picture)
    assert (await other.see())[0].source_seq == 0
    assert (await (await server.peer()).hello())["model"] == "fake"


# ------------------------------------------------------------------------------------------------------ prompt streams


async def test_frames_sent_to_a_prompt_stream_are_counted_before_they_are_decoded(
    server: Running, picture: Pixels
) -> None:
    peer = await server.publisher(session="cam", settings={"source": "prompt"})
    await peer.frame(picture)
    assert await peer.hear("ack") == {"type": "ack", "seq": 0}
    stats = await peer.ask("stats")
    assert (stats["frames_in"], stats["drops"]) == (1, {"source": 1})
    assert server.worker.opened["cam"].frames == []
    await peer.ask("update", settings={"source": "frames"})
    await peer.frame(picture, seq=1)
    assert (await peer.see())[0].source_seq == 1


async def test_a_session_runs_while_it_is_not_paused_and_somebody_is_there(server: Running) -> None:
    peer = await server.peer()
    welcome = await peer.hello(session="cam")
    opened = server.worker.opened["cam"]
    assert opened.running
    await peer.ask("pause")
    assert not opened.running
    await peer.ask("resume")
    assert opened.running
    viewer = await server.viewer("cam")
    await lose(peer)
    await orphaned(server, "cam")
    assert opened.running  # there is somebody to see it
    await lose(viewer)
    await until(lambda: not opened.running)
    again = await server.viewer("cam")
    assert opened.running
    await lose(again)
    await until(lambda: not opened.running)
    await resume(server, welcome)
    assert server.worker.opened["cam"].running


async def test_leaving_a_session_that_has_ended_stops_no_later_one_of_its_name(server: Running) -> None:
    first = await server.publisher(session="cam")
    viewer: Peer = await server.viewer("cam")
    viewer.socket.transport.pause_reading()  # it does not notice the end
    await lose(first)
    await orphaned(server, "cam")
    await server.publisher(session="cam")
    await lose(viewer)
    await until(lambda: len(server.sessions._connected) == 1)
    assert server.worker.opened["cam"].running
