"""Flow control over real sockets: credits, a client that stops reading, and many frames at once."""

from __future__ import annotations

import asyncio
import itertools
import resource

import numpy as np
from websockets.asyncio.client import connect as open_socket

from streamgen.frames import Frame, Pixels
from streamgen.protocol import Close
from tests.server.conftest import Peer, Running, running
from tests.server.fake import FakeWorker


async def test_without_acks_two_outputs_are_in_flight_and_the_newest_waits(server: Running, picture: Pixels) -> None:
    peer = await server.publisher(session="cam")
    listener_of = server.worker.opened
    for seq in range(6):
        server.worker.compute("cam", Frame(picture, seq=seq))
        if seq < 2:
            assert (await peer.see())[0].source_seq == seq
    assert listener_of["cam"].frames == []
    assert (await peer.ask("stats"))["drops"] == {"no_credit": 3}
    await peer.say("ack", seq=0)
    header, _ = await peer.see()
    assert (header.seq, header.source_seq) == (2, 5)


async def test_a_viewer_that_never_acknowledges_slows_nobody_down(server: Running, picture: Pixels) -> None:
    publisher = await server.publisher(session="cam")
    lazy = await server.viewer("cam")
    for seq in range(10):
        server.worker.compute("cam", Frame(picture, seq=seq))
        header, _ = await publisher.see()
        assert header.source_seq == seq
        await publisher.say("ack", seq=header.seq)
        await publisher.ask("stats")
    assert (await publisher.ask("stats"))["drops"] == {}
    assert (await lazy.ask("stats"))["drops"] == {"no_credit": 7}


async def test_frames_that_come_faster_than_they_are_decoded_replace_each_other(picture: Pixels) -> None:
    seconds = itertools.count()
    async with running(FakeWorker(automatic=False), clock=lambda: float(next(seconds))) as server:
        peer = await server.publisher(session="cam")
        for seq in range(300):
            await peer.frame(picture, seq=seq)
        while (await peer.hear("ack"))["seq"] != 299:
            pass
        stats = await peer.ask("stats")
        assert stats["frames_in"] == 300
        taken = len(server.worker.opened["cam"].frames)
        assert taken + stats["drops"].get("replaced", 0) >= 298  # one being decoded, one waiting


async def test_a_client_that_stops_reading_is_disconnected_and_costs_no_memory(picture: Pixels) -> None:
    async with running(send_timeout_s=0.1) as server:
        publisher = await server.publisher(session="cam", format={"width": 1024, "height": 1024})
        # Acknowledges everything in advance, and reads nothing: only the send itself can notice.
        socket = await open_socket(
            server.url, subprotocols=["streamgen.v1"], compression=None, max_size=None, max_queue=1
        )
        stalled = Peer(socket)
        assert (await stalled.hello(role="view", session="cam", codec="raw"))["type"] == "welcome"
        session = server.sessions.get("cam")
        assert session is not None
        (viewer,) = session.viewers
        socket.transport.pause_reading()
        before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        noise = np.zeros((8, 8, 3), np.uint8)
        seq = 0
        async with asyncio.timeout(20):
            while session.viewers:
                server.worker.compute("cam", Frame(noise, seq=seq))
                viewer.acknowledged(viewer._seq - 1)
                seq += 1
                await publisher.ask("stats")
        grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
        assert grown_kib < 100 * 1024, f"{seq} outputs of 3 MiB made the server grow by {grown_kib} KiB"
        socket.transport.resume_reading()
        assert await stalled.closed() in (Close.SLOW, 1006)
        assert (await publisher.ask("stats"))["viewers"] == 0
