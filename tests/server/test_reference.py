"""A reference picture as a prompt: how it is read, and how it gets to its session over real sockets."""

from __future__ import annotations

import asyncio
import base64
import io
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from streamgen.codec import decode_reference, encode
from streamgen.errors import CodecError, WorkerError
from streamgen.frames import Pixels
from streamgen.protocol import MAX_TEXT_CHARACTERS, Close
from streamgen.server.dialogue import MAX_REFUSED
from streamgen.wire import Codec
from tests.server.conftest import Peer, Running, running
from tests.server.fake import FakeWorker
from tests.server.test_changes import take_model
from tests.server.test_sessions import lose, orphaned, resume


def seeing_worker(**options: Any) -> FakeWorker:
    """A worker whose model takes a reference picture."""
    worker = FakeWorker(**options)
    worker.info = replace(worker.info, takes_reference=True)
    return worker


@pytest.fixture
async def server() -> AsyncIterator[Running]:
    async with running(seeing_worker()) as made:
        yield made


def text_of(pixels: Pixels) -> str:
    return base64.b64encode(encode(pixels, Codec.JPEG, 95)).decode()


def flat(width: int, height: int, level: int = 90) -> str:
    return text_of(np.full((height, width, 3), level, np.uint8))


def progressive(pixels: Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", progressive=True)
    return file.getvalue()


def with_scans(payload: bytes) -> bytes:
    scan = payload[payload.index(b"\xff\xda") : -2]
    return payload[:-2] + scan * 70 + payload[-2:]


def hiding_its_size(payload: bytes) -> bytes:
    start = payload.index(b"\xff\xc0")
    return payload[: start + 5] + b"\xff\xdc\xff\xdc" + payload[start + 9 :]  # 65500 x 65500 pixels would be 12 GB


# ------------------------------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize(("width", "height"), [(16, 16), (1024, 1024), (16, 1024), (300, 77)])
def test_a_picture_in_base64_is_read(width: int, height: int) -> None:
    pixels = decode_reference(flat(width, height))
    assert (pixels.shape, pixels.dtype) == ((height, width, 3), np.uint8)
    assert np.abs(pixels.astype(int) - 90).max() <= 2


def test_a_progressive_picture_is_read(picture: Pixels) -> None:
    assert decode_reference(base64.b64encode(progressive(picture)).decode()).shape == (128, 128, 3)


UNREADABLE: dict[str, Callable[[Pixels], str]] = {
    "nothing": lambda picture: "",
    "no base64": lambda picture: "grey",
    "another alphabet": lambda picture: text_of(picture).translate(str.maketrans("+/", "-_")),
    "a data URL": lambda picture: f"data:image/jpeg;base64,{text_of(picture)}",
    "a line break": lambda picture: text_of(picture)[:76] + "\n" + text_of(picture)[76:],
    "no padding": lambda picture: text_of(picture).rstrip("=")[:101],
    "no ASCII": lambda picture: "é" * 100,
    "no JPEG": lambda picture: base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(100)).decode(),
    "half a JPEG": lambda picture: base64.b64encode(encode(picture, Codec.JPEG)[:1200]).decode(),
    "too wide": lambda picture: flat(1025, 16),
    "too high": lambda picture: flat(16, 1025),
    "too narrow": lambda picture: flat(15, 1024),
    "a hidden size": lambda picture: base64.b64encode(hiding_its_size(encode(picture, Codec.JPEG))).decode(),
    "scans without end": lambda picture: base64.b64encode(with_scans(encode(picture, Codec.JPEG))).decode(),
}


@pytest.mark.parametrize("make", UNREADABLE.values(), ids=UNREADABLE)
def test_what_is_no_reference_picture_is_refused(make: Callable[[Pixels], str], picture: Pixels) -> None:
    with pytest.raises(CodecError) as caught:
        decode_reference(make(picture))
    assert (caught.value.code, caught.value.field) == ("bad_image", "image")


# ---------------------------------------------------------------------------------------------------------------- flow


@pytest.mark.parametrize("takes", [True, False])
async def test_welcome_and_switched_say_whether_the_model_takes_a_reference_picture(
    server: Running, takes: bool
) -> None:
    server.worker.info = replace(server.worker.info, takes_reference=takes)
    peer = await server.peer()
    assert (await peer.hello())["reference"] is takes
    await peer.say("switch", model="other", ref="s")
    await peer.ask("stats")
    take_model(server, replace(server.worker.info, model="other", takes_reference=not takes))
    assert (await peer.hear("switched"))["reference"] is not takes


async def test_a_reference_picture_is_answered_once_it_is_in_force(server: Running, picture: Pixels) -> None:
    server.worker.automatic = False
    peer = await server.publisher(session="cam")
    await peer.say("reference", image=text_of(picture), ref="p")
    assert (await peer.ask("stats"))["type"] == "stats"
    opened = server.worker.opened["cam"]
    [reference] = opened.references.values()
    assert reference is not None and reference.shape == (128, 128, 3)
    assert np.abs(reference.astype(int) - picture).mean() < 5
    server.worker.take_reference("cam", 1)
    assert await peer.hear("referenced") == {"type": "referenced", "ref": "p"}


async def test_null_takes_the_reference_picture_away(server: Running, picture: Pixels) -> None:
    peer = await server.publisher(session="cam")
    assert (await peer.ask("reference", image=text_of(picture)))["type"] == "referenced"
    assert server.worker.opened["cam"].reference is not None
    assert (await peer.ask("reference", image=None))["type"] == "referenced"
    assert server.worker.opened["cam"].reference is None


async def test_a_reference_picture_steers_its_own_session_and_is_told_to_nobody_else(
    server: Running, picture: Pixels
) -> None:
    peer, other = await server.publisher(session="a"), await server.publisher(session="b")
    viewer = await server.viewer("a")
    await peer.ask("reference", image=text_of(picture))
    assert server.worker.opened["b"].reference is None
    for stranger in (other, viewer):
        await stranger.say("stats")
        assert (await stranger.hear("referenced", "stats"))["type"] == "stats"


async def test_a_viewer_may_change_no_reference_picture(server: Running, picture: Pixels) -> None:
    await server.publisher(session="cam")
    viewer = await server.viewer("cam")
    for image in (text_of(picture), None):
        assert (await viewer.ask("reference", image=image))["code"] == "not_publisher"
    assert server.worker.opened["cam"].references == {}


async def test_a_model_that_takes_no_reference_picture_is_sent_none(server: Running, picture: Pixels) -> None:
    server.worker.info = replace(server.worker.info, takes_reference=False)
    peer = await server.publisher(session="cam")
    error = await peer.ask("reference", image="nobody looks at it")
    assert (error["code"], error["retryable"]) == ("no_reference", False)
    assert (await peer.ask("reference", image=None))["type"] == "referenced"


async def test_a_picture_that_cannot_be_read_leaves_the_one_in_force(server: Running, picture: Pixels) -> None:
    peer = await server.publisher(session="cam")
    await peer.ask("reference", image=text_of(picture))
    kept = server.worker.opened["cam"].reference
    for image in ("grey", flat(1025, 16)):
        error = await peer.ask("reference", image=image)
        assert (error["code"], error["field"], error["retryable"]) == ("bad_image", "image", False)
    assert server.worker.opened["cam"].reference is kept is not None


async def test_a_client_that_sends_nothing_but_broken_pictures_is_given_up(server: Running) -> None:
    peer = await server.publisher()
    for _ in range(MAX_REFUSED):
        await peer.say("reference", image="grey")
    assert await peer.closed() == Close.PROTOCOL


async def test_a_picture_longer_than_a_text_message_is_refused(server: Running) -> None:
    peer = await server.publisher(session="cam")
    await peer.say("reference", image="A" * MAX_TEXT_CHARACTERS)
    assert (await peer.hear("error"))["code"] == "message_too_long"
    assert server.worker.opened["cam"].references == {}


async def test_decoding_a_reference_picture_holds_up_no_other_client(
    server: Running, picture: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def decode(image: str) -> Pixels:
        begun.set()
        assert may_end.wait(10)
        return picture

    monkeypatch.setattr("streamgen.server.dialogue.decode_reference", decode)
    peer, other = await server.publisher(session="cam"), await server.publisher()
    await peer.say("reference", image=text_of(picture), ref="p")
    assert await asyncio.to_thread(begun.wait, 10)
    assert (await other.ask("stats"))["type"] == "stats"
    may_end.set()
    assert (await peer.hear("referenced"))["ref"] == "p"


async def test_a_newer_reference_picture_replaces_one_without_an_answer(server: Running) -> None:
    server.worker.automatic = False
    peer = await server.publisher(session="cam")
    await peer.say("reference", image=flat(16, 16), ref="first")
    await peer.say("reference", image=None, ref="second")
    error = await peer.hear("error")
    assert (error["code"], error["field"], error["ref"]) == ("superseded", "image", "first")
    server.worker.take_reference("cam", 1)  # it was on its way already
    server.worker.take_reference("cam", 2)
    assert (await peer.hear("referenced"))["ref"] == "second"


async def test_a_reference_picture_that_the_worker_refuses_is_answered(server: Running, picture: Pixels) -> None:
    server.worker.automatic = False
    peer = await server.publisher(session="cam")
    await peer.say("reference", image=text_of(picture), ref="p")
    await peer.ask("stats")
    listener = server.worker.opened["cam"].listener
    for _ in range(2):  # once is enough
        listener.on_reference_failed(1, WorkerError("engine_failed", "out of memory"))
    error = await peer.hear("error")
    assert (error["code"], error["ref"]) == ("engine_failed", "p")
    await peer.say("stats")
    assert (await peer.hear("error", "stats"))["type"] == "stats"


# ------------------------------------------------------------------------------------------------------- what is kept


async def referred(server: Running, picture: Pixels) -> tuple[Peer, dict[str, Any]]:
    peer = await server.peer()
    welcome = await peer.hello(session="cam")
    assert (await peer.ask("reference", image=text_of(picture)))["type"] == "referenced"
    return peer, welcome


async def test_a_resumed_session_keeps_its_reference_picture(server: Running, picture: Pixels) -> None:
    peer, welcome = await referred(server, picture)
    kept = server.worker.opened["cam"].reference
    await lose(peer)
    await orphaned(server, "cam")
    again, welcome = await resume(server, welcome)
    assert (welcome["resumed"], server.worker.opened["cam"].reference is kept) == (True, True)
    assert (await again.ask("reference", image=None))["type"] == "referenced"
    await lose(again)
    await resume(server, welcome)
    assert server.worker.opened["cam"].reference is None


async def test_a_reference_picture_that_came_into_force_while_nobody_was_there_is_kept(
    server: Running, picture: Pixels
) -> None:
    server.worker.automatic = False
    peer = await server.peer()
    welcome = await peer.hello(session="cam")
    await peer.say("reference", image=text_of(picture))
    await peer.ask("stats")
    await lose(peer)
    await orphaned(server, "cam")
    server.worker.take_reference("cam", 1)
    await resume(server, welcome)
    assert server.worker.opened["cam"].reference is not None


async def test_a_reference_picture_without_an_answer_is_lost_with_its_connection(
    server: Running, picture: Pixels
) -> None:
    server.worker.automatic = False
    peer = await server.peer()
    welcome = await peer.hello(session="cam")
    await peer.say("reference", image=text_of(picture))
    await peer.ask("stats")
    former = server.worker.opened["cam"].listener
    await resume(server, welcome)
    former.on_referenced(1)
    await resume(server, welcome)
    assert server.worker.opened["cam"].reference is None


async def test_a_picture_still_being_decoded_when_another_connection_takes_over_is_forgotten(
    server: Running, picture: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def decode(image: str) -> Pixels:
        begun.set()
        assert may_end.wait(10)
        return picture

    monkeypatch.setattr("streamgen.server.dialogue.decode_reference", decode)
    peer = await server.peer()
    welcome = await peer.hello(session="cam")
    await peer.say("reference", image=text_of(picture))
    assert await asyncio.to_thread(begun.wait, 10)
    again, _ = await resume(server, welcome)
    may_end.set()
    assert await peer.closed() == Close.PUBLISHER_EXISTS
    await again.ask("stats")
    opened = server.worker.opened["cam"]
    assert (opened.reference, opened.references) == (None, {})


async def test_a_new_session_of_the_same_name_starts_without_a_reference_picture(
    server: Running, picture: Pixels
) -> None:
    peer, _ = await referred(server, picture)
    await lose(peer)
    await orphaned(server, "cam")
    await server.publisher(session="cam")
    assert server.worker.opened["cam"].reference is None
