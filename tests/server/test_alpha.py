"""Outputs with alpha over real sockets: packed for those who said that they can unpack it."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from streamgen.codec import decode, unpack_alpha
from streamgen.frames import Pixels
from streamgen.wire import Codec, Flags
from tests.server.conftest import Running


async def test_viewers_get_alpha_if_they_can_unpack_it_and_plain_pictures_if_not(
    server: Running, picture: Pixels
) -> None:
    publisher = await server.publisher(session="cam", settings={"alpha": True}, format={"width": 128, "height": 160})
    able = await server.viewer("cam", alpha=True, codec="raw")
    unable = await server.viewer("cam", codec="raw")
    await publisher.frame(picture)
    mark = server.worker.opened["cam"].mark

    header, payload = await able.see()
    assert (header.flags, header.width, header.height) == (Flags.ALPHA, 256, 160)
    assert (unpack_alpha(decode(header.codec, payload, header.width, header.height)) == mark).all()

    for peer in (unable, publisher):
        header, payload = await peer.see()
        assert (header.flags, header.width, header.height) == (Flags.NONE, 128, 160)
        shown = decode(header.codec, payload, header.width, header.height)
        assert np.abs(shown.astype(int) - round(mark * mark / 255)).max() <= 1


async def test_alpha_is_a_setting_like_any_other_and_may_change_from_frame_to_frame(
    server: Running, picture: Pixels
) -> None:
    publisher = await server.publisher(session="cam", alpha=True)
    seen = []
    for seq, alpha in enumerate((False, True, False)):
        await publisher.ask("update", settings={"alpha": alpha})
        server.clock.now_s += 1
        await publisher.frame(picture, seq=seq)
        header, _ = await publisher.see()
        await publisher.say("ack", seq=header.seq)
        seen.append((header.width, header.flags & Flags.ALPHA))
    assert seen == [(256, Flags.NONE), (512, Flags.ALPHA), (256, Flags.NONE)]


async def test_a_snapshot_has_its_alpha_whatever_the_client_can_unpack(server: Running, picture: Pixels) -> None:
    peer = await server.publisher(session="cam", settings={"alpha": True})
    await peer.frame(picture)
    await peer.see()
    taken = await peer.ask("snapshot")
    assert (taken["width"], taken["height"]) == (256, 256)
    header, payload = await peer.see()
    assert (header.codec, header.width) == (Codec.PNG, 256)
    with Image.open(io.BytesIO(payload)) as image:
        assert image.mode == "RGBA"
        assert (np.asarray(image) == server.worker.opened["cam"].mark).all()
