"""The Python SDK's reference picture: how it is made small, and what becomes of it, against a real server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import cv2
import numpy as np
import pytest

from streamgen.client_reference import encode_reference, shrink
from streamgen.codec import decode_reference
from streamgen.errors import CodecError, SessionError, SettingsError
from streamgen.frames import Pixels
from streamgen.protocol import MAX_TEXT_CHARACTERS, Reference
from tests.server.conftest import Running, running
from tests.server.test_changes import take_model, until
from tests.server.test_reference import seeing_worker
from tests.test_client import connect, cut, lose_and_return

NOISE = np.random.default_rng(0).integers(0, 256, (700, 900, 3), np.uint8)


@pytest.fixture
async def server() -> AsyncIterator[Running]:
    async with running(seeing_worker(), clock=time.monotonic) as made:
        yield made


# ------------------------------------------------------------------------------------------------------- making small


@pytest.mark.parametrize("side", [64, 300, 333])
def test_a_picture_is_shrunk_by_area_means(side: int) -> None:
    small = shrink(NOISE, side)
    height, width = small.shape[:2]
    assert (width, height) == (side, round(700 * side / 900))
    # OpenCV weighs in steps of its own; a nearest or bilinear choice would be dozens of levels away.
    assert np.abs(small.astype(int) - cv2.resize(NOISE, (width, height), interpolation=cv2.INTER_AREA)).max() <= 1


def test_a_picture_that_is_small_enough_stays_as_it_is(picture: Pixels) -> None:
    assert (shrink(picture, 128) == picture).all()
    assert np.abs(decode_reference(encode_reference(picture)).astype(int) - picture).mean() < 3


@pytest.mark.parametrize("shape", [(16, 16), (700, 900), (16, 20000), (3000, 2000), (20000, 17)])
def test_a_picture_of_any_size_and_content_becomes_one_that_the_server_reads(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    image = encode_reference(noise)
    assert len(Reference(image=image, ref="r" * 64).dump()) <= MAX_TEXT_CHARACTERS
    height, width = decode_reference(image).shape[:2]
    assert min(height, width) >= 16 and max(height, width) <= 512
    assert (height > width) == (shape[0] > shape[1])


def test_a_smooth_picture_keeps_more_pixels_than_noise(picture: Pixels) -> None:
    smooth = np.kron(picture, np.ones((8, 8, 1), np.uint8))
    assert decode_reference(encode_reference(smooth)).shape == (512, 512, 3)
    assert max(decode_reference(encode_reference(NOISE)).shape) < 512


@pytest.mark.parametrize(
    ("pixels", "code"),
    [
        (np.zeros((16, 16, 3), np.float32), "bad_pixels"),
        (np.zeros((16, 16), np.uint8), "bad_pixels"),
        (np.zeros((16, 16, 4), np.uint8), "bad_pixels"),
        (np.zeros((15, 900, 3), np.uint8), "bad_image"),
        (np.zeros((0, 16, 3), np.uint8), "bad_image"),
    ],
)
async def test_what_is_no_picture_is_refused_before_it_is_sent(server: Running, pixels: Pixels, code: str) -> None:
    async with connect(server, session="cam") as stream:
        with pytest.raises(CodecError) as caught:
            await stream.reference(pixels)
        assert caught.value.code == code
        assert server.worker.opened["cam"].reference is None


# ---------------------------------------------------------------------------------------------------------------- flow


async def test_a_reference_picture_is_in_force_when_the_call_returns(server: Running) -> None:
    async with connect(server, session="cam") as stream:
        assert stream.welcome.reference
        await stream.reference(NOISE[:, ::-1])
        reference = server.worker.opened["cam"].reference
        assert reference is not None and reference.shape[1] > reference.shape[0]
        await stream.reference(None)
        assert server.worker.opened["cam"].reference is None


async def test_a_refused_reference_picture_is_raised(server: Running, picture: Pixels) -> None:
    async with connect(server) as stream, connect(server, role="view", session=stream.session) as viewer:
        with pytest.raises(SessionError) as refused:
            await viewer.reference(picture)
        assert refused.value.code == "not_publisher"
        asking = asyncio.create_task(stream.switch("other"))
        await until(lambda: server.worker.switches)
        take_model(server)
        await asking
        assert not stream.welcome.reference
        with pytest.raises(SettingsError) as caught:
            await stream.reference(picture)
        assert caught.value.code == "no_reference"


async def test_a_reference_picture_that_another_replaced_is_raised(server: Running, picture: Pixels) -> None:
    server.worker.automatic = False
    async with connect(server, session="cam") as stream:
        opened = server.worker.opened["cam"]
        first = asyncio.create_task(stream.reference(picture))
        await until(lambda: 1 in opened.references)
        second = asyncio.create_task(stream.reference(None))
        with pytest.raises(SessionError) as caught:
            await first
        assert caught.value.code == "superseded"
        server.worker.take_reference("cam", 2)
        await second


async def test_a_reference_picture_outlives_a_lost_connection(server: Running, picture: Pixels) -> None:
    async with connect(server, session="cam") as stream:
        await stream.reference(picture)
        kept = server.worker.opened["cam"].reference
        await lose_and_return(server, stream)
        assert server.worker.opened["cam"].reference is kept is not None


async def lose_session(server: Running, name: str) -> None:
    """End the session behind its publisher's back, and wait until another one has taken its place."""
    session = server.sessions.get(name)
    assert session is not None
    await cut(server, name)
    await until(lambda: server.sessions.get(name) not in (None, session))


async def test_a_reference_picture_outlives_a_lost_session(picture: Pixels) -> None:
    async with (
        running(seeing_worker(), resume_seconds=0.0, clock=time.monotonic) as server,
        connect(server, session="cam", backoff_s=lambda attempt: 0.05) as stream,
    ):
        await stream.reference(picture)
        await lose_session(server, "cam")
        await until(lambda: server.worker.opened["cam"].reference is not None)
        assert not stream.welcome.resumed
        await stream.reference(None)
        await lose_session(server, "cam")
        await stream.stats()
        assert server.worker.opened["cam"].reference is None


async def test_a_server_that_takes_the_reference_picture_no_more_is_told_of_frames_nevertheless(
    picture: Pixels, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        running(seeing_worker(), resume_seconds=0.0, clock=time.monotonic) as server,
        connect(server, session="cam", backoff_s=lambda attempt: 0.05) as stream,
    ):
        await stream.reference(picture)
        server.worker.info = replace(server.worker.info, takes_reference=False)
        await lose_session(server, "cam")
        await stream.send(picture)
        await asyncio.wait_for(anext(stream), 10)
        assert "the reference picture is lost: this model takes no reference picture" in caplog.text


async def test_a_picture_given_while_the_connection_was_lost_is_not_replaced_by_the_one_before(
    picture: Pixels,
) -> None:
    async with (
        running(seeing_worker(), resume_seconds=0.0, clock=time.monotonic) as server,
        connect(server, session="cam", backoff_s=lambda attempt: 0.05) as stream,
    ):
        await stream.reference(picture)
        losing = asyncio.create_task(lose_session(server, "cam"))
        await until(lambda: stream.state != "open")
        await stream.reference(picture[:64])
        await losing
        await stream.stats()
        reference = server.worker.opened["cam"].reference
        assert reference is not None and reference.shape == (64, 128, 3)
