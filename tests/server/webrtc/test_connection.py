"""A whole connection, with a real peer on loopback."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest

from streamgen.errors import WorkerError
from streamgen.frames import Frame, Output, Timing
from streamgen.server.webrtc.peer import Peer
from streamgen.wire import HEADER_BYTES, Kind, parse_frame
from tests.server.conftest import TIMEOUT_S, Clock, Running, running
from tests.server.fake import FakeWorker
from tests.server.webrtc.peers import Flat, RtcPeer, Tone

MakePeer = Callable[..., RtcPeer]


async def gone(running_server: Running, count: int = 0) -> None:
    """Wait until the server has no more than ``count`` connections."""
    async with asyncio.timeout(TIMEOUT_S):
        while len(running_server.peers) > count:
            await asyncio.sleep(0)


async def test_one_round_trip_and_video_flows_both_ways(server: Running, peer: MakePeer) -> None:
    publisher = peer(Flat((200, 40, 40)))
    answer = await publisher.connect({"session": "cam", "format": {"width": 256, "height": 128}})
    assert answer["welcome"]["session"] == "cam" and answer["welcome"]["resume"]
    frames = await server.worker.frames("cam", 3)
    # Not larger than the format needs; the engine does the rest.
    assert frames[-1].pixels.shape == (64, 64, 3)
    assert np.abs(frames[-1].pixels[32, 32].astype(int) - (200, 40, 40)).max() <= 6
    shown = await publisher.see()
    assert shown.shape == (128, 256, 3)
    assert np.abs(shown.astype(int) - server.worker.opened["cam"].mark).max() <= 3


async def test_every_frame_of_video_is_told_of_with_its_rtp_timestamp(server: Running, peer: MakePeer) -> None:
    publisher = peer(Flat())
    await publisher.connect({})
    async with asyncio.timeout(TIMEOUT_S):
        frame: Any = await publisher.video.receiver.track.recv()
    while (told := await publisher.hear("output"))["rtp_timestamp"] != frame.pts & 0xFFFFFFFF:
        pass
    assert (told["queue_us"], told["engine_us"], told["flags"] & ~1) == (1500, 2500, 0)
    assert told["encode_us"] > 0


async def test_frames_are_dated_by_the_senders_own_clock(server: Running, peer: MakePeer) -> None:
    publisher = peer(Flat())
    name = (await publisher.connect({}))["welcome"]["session"]
    async with asyncio.timeout(TIMEOUT_S):
        while not (frame := (await server.worker.frames(name, 1))[-1]).captured_us:
            await asyncio.sleep(0.02)
    assert abs(frame.captured_us / 1e6 - time.time()) < 5


async def test_the_data_channel_speaks_the_same_protocol(server: Running, peer: MakePeer) -> None:
    publisher = peer(Flat())
    await publisher.connect({"session": "cam"})
    publisher.say("update", settings={"prompt": "ink"}, ref="a")
    updated = await publisher.hear("updated")
    while updated["ref"] != "a":
        updated = await publisher.hear("updated")
    assert updated["settings"]["prompt"] == "ink"
    publisher.say("update", settings={"strength": 7}, ref="b")
    assert (await publisher.hear("error"))["field"] == "strength"
    publisher.say("ping", id="17")
    assert (await publisher.hear("pong"))["id"] == "17"
    await publisher.see()
    publisher.say("stats", ref="c")
    assert (await publisher.hear("stats"))["frames_in"] > 0


async def test_hello_may_be_said_on_the_data_channel(server: Running, peer: MakePeer) -> None:
    publisher = peer(Flat())
    assert (await publisher.connect())["welcome"] is None
    publisher.say("stats")
    assert (await publisher.hear("error"))["code"] == "hello_expected"
    publisher.say("hello", session="late")
    assert (await publisher.hear("welcome"))["session"] == "late"
    await publisher.see()


async def test_without_a_data_channel_a_peer_is_a_publisher(server: Running, peer: MakePeer) -> None:
    publisher = peer(Flat(), channel=False)
    assert (await publisher.connect())["welcome"]["role"] == "publish"
    await publisher.see()


async def test_a_viewer_gets_what_another_transport_publishes(server: Running, peer: MakePeer) -> None:
    publisher = await server.publisher(session="cam", format={"width": 128, "height": 128})
    viewer = peer()
    await viewer.connect({"role": "view", "session": "cam"})

    async def publish() -> None:
        for seq in range(10_000):
            await publisher.frame(np.zeros((64, 64, 3), np.uint8), seq)
            await publisher.see()

    sending = asyncio.create_task(publish())
    assert (await viewer.see()).shape == (128, 128, 3)
    sending.cancel()
    viewer.say("update", settings={"prompt": "x"}, ref="a")
    assert (await viewer.hear("error"))["code"] == "not_publisher"


async def test_a_controller_steers_a_session_that_another_publishes(server: Running, peer: MakePeer) -> None:
    publisher = peer(Flat(), channel=False)
    name = (await publisher.connect())["welcome"]["session"]
    controller = peer()
    assert (await controller.connect({"role": "control", "session": name}))["welcome"]["role"] == "control"
    controller.say("update", settings={"prompt": "charcoal"}, ref="a")
    while (await controller.hear("updated"))["ref"] != "a":
        pass
    assert server.worker.opened[name].settings.prompt == "charcoal"


async def test_alpha_is_packed_for_those_who_can_unpack_it(peer: MakePeer) -> None:
    class Transparent(FakeWorker):
        def compute(self, session: str, frame: Frame, **_: Any) -> None:
            opened = self.opened[session]
            pixels = np.full((64, 64, 4), 200, np.uint8)
            pixels[..., 3] = 51
            opened.listener.on_output(Output(pixels, frame.seq, 0, opened.rev, Timing()), gap=False)

    async with running(worker=Transparent(), clock=time.monotonic) as server:
        knows = RtcPeer(server, Flat())
        name = (await knows.connect({"alpha": True}))["welcome"]["session"]
        plain = RtcPeer(server)
        await plain.connect({"role": "view", "session": name})
        packed, flat = await knows.see(), await plain.see()
        assert packed.shape == (64, 128, 3) and flat.shape == (64, 64, 3)
        assert abs(int(packed[32, 32, 0]) - 200) <= 3 and abs(int(packed[32, 96, 0]) - 51) <= 3
        assert abs(int(flat[32, 32, 0]) - 40) <= 3
        await knows.close()
        await plain.close()


async def test_another_size_arrives_as_a_keyframe_of_its_own(server: Running, peer: MakePeer) -> None:
    publisher = peer(Flat())
    await publisher.connect({"format": {"width": 128, "height": 128}})
    assert (await publisher.see()).shape == (128, 128, 3)
    publisher.say("reformat", format={"width": 256})
    async with asyncio.timeout(TIMEOUT_S):
        while (await publisher.see()).shape != (128, 256, 3):
            pass


@pytest.mark.parametrize("codec", ["h264", "vp8"])
async def test_the_codec_is_a_setting(server: Running, peer: MakePeer, codec: str) -> None:
    publisher = peer(Flat())
    answer = await publisher.connect({"settings": {"video_codec": codec}})
    first = next(line for line in answer["sdp"].splitlines() if line.startswith("a=rtpmap:"))
    assert codec in first.lower()
    await publisher.see()


async def test_sound_passes_through_untouched_in_a_stream_of_its_own(server: Running, peer: MakePeer) -> None:
    from streamgen.server.webrtc.aiortc_shim import keep_encoded

    publisher = peer(Flat(), audio=Tone())
    assert publisher.audio is not None
    answer = await publisher.post({})
    streams = [line.split(" ")[0] for line in answer.json()["sdp"].splitlines() if line.startswith("a=msid:")]
    assert len(set(streams)) == 2
    await publisher.accept(answer.json()["sdp"])
    track: Any = publisher.audio.receiver.track
    keep_encoded(track)
    async with asyncio.timeout(TIMEOUT_S):
        numbers = [int.from_bytes(bytes(await track.recv())[1:], "big") for _ in range(5)]
    assert numbers == list(range(numbers[0], numbers[0] + 5))


async def test_a_snapshot_comes_whole_in_parts(server: Running, peer: MakePeer) -> None:
    publisher = peer(Flat())
    await publisher.connect({"format": {"width": 512, "height": 512}})
    await publisher.see()
    name = next(iter(server.worker.opened))
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    server.worker.automatic = False
    session = server.sessions.get(name)
    assert session is not None
    session.newest = Output(noise)
    publisher.say("snapshot", ref="s")
    taken = await publisher.hear("snapshot_taken")
    data = bytearray()
    async with asyncio.timeout(TIMEOUT_S):
        while len(data) < taken["bytes"]:
            part = await publisher.messages.get()
            if isinstance(part, bytes):
                assert len(part) <= 16_384
                data += part
    header, picture = parse_frame(bytes(data))
    assert header.kind is Kind.SNAPSHOT and len(picture) == len(data) - HEADER_BYTES


async def test_deleting_a_connection_ends_it(server: Running, peer: MakePeer) -> None:
    publisher = peer(Flat())
    await publisher.connect({"session": "cam"})
    async with httpx.AsyncClient(base_url=server.http) as http:
        assert (await http.delete(publisher.location)).status_code == 200
        assert (await http.delete(publisher.location)).status_code == 404
    assert len(server.peers) == 0
    session = server.sessions.get("cam")
    assert session is not None and session.publisher is None


async def test_a_session_goes_on_over_another_transport(server: Running, peer: MakePeer) -> None:
    publisher = peer(Flat())
    welcome = (await publisher.connect({"session": "cam", "settings": {"prompt": "ink"}}))["welcome"]
    follower = await server.peer()
    resumed = await follower.hello(resume=welcome["resume"])
    assert (resumed["resumed"], resumed["settings"]["prompt"]) == (True, "ink")
    assert (await publisher.hear("bye"))["code"] == 4409
    await gone(server)


async def test_a_peer_that_falls_silent_is_let_go(peer: MakePeer) -> None:
    clock = Clock()
    async with running(clock=clock) as server:
        publisher = RtcPeer(server, Flat())
        name = (await publisher.connect({}))["welcome"]["session"]
        await publisher.see()
        for transceiver in publisher.connection.getTransceivers():  # as when a machine vanishes
            transceiver.receiver.transport.transport._connection._protocols[0].transport.abort()
        async with asyncio.timeout(TIMEOUT_S):
            while len(server.peers):
                clock.now_s += 0.5
                await asyncio.sleep(0.1)
        session = server.sessions.get(name)
        assert session is not None and session.publisher is None
        await publisher.close()


async def test_a_connection_that_is_never_made_is_given_up(
    server: Running, peer: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamgen.server.webrtc.peer.CONNECT_TIMEOUT_S", 0.05)
    assert (await peer(Flat()).post({})).status_code == 200
    await gone(server)


async def test_a_server_that_ends_says_goodbye(server: Running, peer: MakePeer) -> None:
    publisher = peer(Flat())
    await publisher.connect({})
    await publisher.see()
    stopping = asyncio.create_task(server.stop())
    assert (await publisher.hear("bye"))["code"] == 4503
    await stopping
    await gone(server)


async def test_a_failing_connection_takes_nobody_with_it(
    server: Running, peer: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    bystander = peer(Flat())
    await bystander.connect({})
    await bystander.see()

    show = Peer._show

    def broken(self: Peer, item: Any) -> None:
        if self.dialogue.joined().name == "victim":
            raise WorkerError("made_up", "a defect")
        show(self, item)

    monkeypatch.setattr(Peer, "_show", broken)
    await peer(Flat()).connect({"session": "victim"})
    await gone(server, 1)
    assert (await bystander.see()).shape == (256, 256, 3)


async def test_a_picture_that_cannot_be_encoded_ends_the_connection_and_not_in_silence(
    server: Running, peer: MakePeer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> None:
        raise ValueError("no such picture")

    monkeypatch.setattr("streamgen.server.webrtc.tracks.OutputTrack.prepare", broken)
    await peer(Flat()).connect({})
    await gone(server)
    assert "no such picture" in caplog.text


async def test_a_viewer_without_a_channel_may_be_silent_for_longer(peer: MakePeer) -> None:
    clock = Clock()
    async with running(clock=clock) as server:
        await server.publisher(session="cam")
        viewer = RtcPeer(server, channel=False)
        await viewer.connect({"role": "view", "session": "cam"})
        seen = asyncio.create_task(viewer.see())
        while not seen.done():
            server.worker.compute("cam", Frame(np.zeros((64, 64, 3), np.uint8)))
            await asyncio.sleep(0.02)
        for transceiver in viewer.connection.getTransceivers():
            transceiver.receiver.transport.transport._connection._protocols[0].transport.abort()
        clock.now_s += 5
        await asyncio.sleep(1.1)
        assert len(server.peers) == 1
        async with asyncio.timeout(TIMEOUT_S):
            while len(server.peers):
                clock.now_s += 2
                await asyncio.sleep(0.1)
        await viewer.close()
