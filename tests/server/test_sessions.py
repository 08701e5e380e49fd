"""Sessions over real sockets: who may publish, who sees what, and what survives a lost connection."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import simplejpeg

from streamgen.frames import Frame, Pixels
from streamgen.protocol import Close
from tests.server.conftest import Peer, Running, running


async def lose(peer: Peer) -> None:
    """The connection breaks, as with a cable pulled."""
    peer.socket.transport.abort()
    await peer.socket.wait_closed()


async def orphaned(server: Running, name: str) -> None:
    """Wait until the server knows that a session has no publisher any more."""
    async with asyncio.timeout(5):
        while server.sessions.get(name).publisher is not None:  # type: ignore[union-attr]
            await asyncio.sleep(0)


def mark(payload: bytes) -> int:
    return round(float(simplejpeg.decode_jpeg(payload).mean()) / 40) * 40


async def resume(server: Running, welcome: dict[str, Any], **fields: Any) -> tuple[Peer, dict[str, Any]]:
    peer = await server.peer()
    return peer, await peer.hello(resume=welcome["resume"], **fields)


# ------------------------------------------------------------------------------------------------------------ isolation


async def test_two_sessions_never_see_each_others_frames(server: Running, picture: Pixels) -> None:
    peers = {name: await server.publisher(session=name, settings={"max_fps": 60}) for name in ("a", "b")}
    viewers = {name: await server.viewer(name) for name in ("a", "b")}
    marks = {name: opened.mark for name, opened in server.worker.opened.items()}
    assert marks["a"] != marks["b"]

    async def publish(name: str) -> None:
        for seq in range(20):
            await peers[name].frame(picture, seq=seq, captured_us=marks[name])
            for watcher in (peers[name], viewers[name]):
                header, payload = await watcher.see()
                assert (mark(payload), header.captured_us, header.source_seq) == (marks[name], marks[name], seq)
                await watcher.say("ack", seq=header.seq)
            server.clock.now_s += 1 / 60

    await asyncio.gather(publish("a"), publish("b"))


async def test_settings_of_one_session_leave_the_other_alone(server: Running) -> None:
    one, _ = await server.publisher(session="a"), await server.publisher(session="b")
    await one.ask("update", settings={"prompt": "ink"})
    assert server.worker.opened["b"].settings.prompt == ""


# ---------------------------------------------------------------------------------------------------- roles and viewers


async def test_a_second_publisher_is_refused_and_the_first_stays(server: Running, picture: Pixels) -> None:
    first = await server.publisher(session="cam")
    second = await server.peer()
    error = await second.hello(session="cam")
    assert (error["code"], error["field"], error["retryable"]) == ("publisher_exists", "session", False)
    assert await second.closed() == Close.PUBLISHER_EXISTS
    await first.frame(picture)
    assert (await first.see())[0].source_seq == 0


async def test_publishers_without_a_name_get_different_ones(server: Running) -> None:
    names = set()
    for _ in range(3):
        names.add((await (await server.peer()).hello())["session"])
    assert len(names) == 3


async def test_viewers_receive_what_the_publisher_receives(server: Running, picture: Pixels) -> None:
    publisher = await server.publisher(session="cam")
    viewers = [await server.viewer("cam"), await server.viewer("cam")]
    await publisher.frame(picture, captured_us=9)
    seen = [await peer.see() for peer in (publisher, *viewers)]
    assert len({payload for _, payload in seen}) == 1
    assert all(header.captured_us == 9 and header.seq == 0 for header, _ in seen)


async def test_viewers_hear_of_settings_at_once_and_when_they_change(server: Running) -> None:
    publisher = await server.publisher(session="cam", settings={"prompt": "ink"})
    await publisher.hear("updated")
    viewer = await server.viewer("cam")
    assert (await viewer.hear("updated"))["styles"] == {"ink": 1.0}
    await publisher.ask("update", settings={"prompt": "oil"})
    heard = await viewer.hear("updated")
    assert (heard["rev"], heard["settings"]["prompt"], heard["ref"]) == (1, "oil", None)


async def test_a_viewer_may_neither_change_nor_publish(server: Running, picture: Pixels) -> None:
    await server.publisher(session="cam")
    viewer = await server.viewer("cam")
    assert (await viewer.ask("update", settings={"steps": 2}))["code"] == "not_publisher"
    await viewer.frame(picture)
    assert (await viewer.hear("error"))["code"] == "not_publisher"
    assert server.worker.opened["cam"].frames == []
    await viewer.say("bye")
    assert await viewer.closed() == Close.NORMAL
    assert "cam" in server.worker.opened


async def test_a_viewer_gets_no_resume_token(server: Running) -> None:
    await server.publisher(session="cam")
    welcome = await (await server.peer()).hello(role="view", session="cam")
    assert welcome["resume"] is None


async def test_viewing_what_does_not_exist_is_worth_another_try(server: Running) -> None:
    for fields in ({"session": "nobody"}, {}):
        viewer = await server.peer()
        error = await viewer.hello(role="view", **fields)
        assert (error["code"], error["retryable"]) == ("no_such_session", True)
        assert await viewer.closed() == Close.NO_SESSION


async def test_viewers_are_told_when_the_session_ends(server: Running) -> None:
    publisher = await server.publisher(session="cam")
    viewer = await server.viewer("cam")
    await publisher.say("bye")
    assert (await viewer.hear("bye"))["reason"] == "session_ended"
    assert await viewer.closed() == Close.NO_SESSION
    await server.worker.gone("cam")


async def test_a_paused_viewer_stops_receiving_and_the_others_do_not(server: Running, picture: Pixels) -> None:
    publisher = await server.publisher(session="cam")
    viewer = await server.viewer("cam")
    await viewer.ask("pause")
    await publisher.frame(picture, seq=0)
    await publisher.see()
    await viewer.ask("resume")
    server.clock.now_s += 1
    await publisher.frame(picture, seq=1)
    header, _ = await viewer.see()
    assert (header.source_seq, header.seq, bool(header.flags & 1)) == (1, 0, True)


# --------------------------------------------------------------------------------------------------------------- resume


async def test_a_lost_publisher_takes_its_session_over_again(server: Running, picture: Pixels) -> None:
    lost = await server.peer()
    welcome = await lost.hello(session="cam", format={"width": 512}, settings={"seed": 5})
    await lost.ask("update", settings={"prompt": "ink"})
    viewer = await server.viewer("cam")
    await lose(lost)
    await orphaned(server, "cam")
    peer, again = await resume(server, welcome)
    assert (again["session"], again["resumed"], again["rev"]) == ("cam", True, 1)
    assert (again["settings"]["prompt"], again["settings"]["seed"], again["format"]["width"]) == ("ink", 5, 512)
    await peer.frame(picture, seq=0)
    assert (await peer.see())[0].settings_rev == 1
    assert (await viewer.see())[0].width == 512


async def test_settings_in_a_resuming_hello_are_merged_over_the_kept_ones(server: Running) -> None:
    lost = await server.peer()
    welcome = await lost.hello(settings={"seed": 5, "steps": 2})
    await lose(lost)
    _, again = await resume(server, welcome, settings={"steps": 3})
    assert (again["settings"]["seed"], again["settings"]["steps"], again["rev"]) == (5, 3, 1)


async def test_a_format_in_a_resuming_hello_replaces_the_kept_one(server: Running, picture: Pixels) -> None:
    lost = await server.peer()
    welcome = await lost.hello(format={"width": 512, "height": 512})
    await lose(lost)
    peer, again = await resume(server, welcome, format={"width": 128})
    assert again["format"] == {"width": 128, "height": 256, "fit": "cover", "upscale": 1}
    await peer.frame(picture)
    header, _ = await peer.see()
    assert (header.width, header.height) == (128, 256)


async def test_resuming_works_while_the_old_connection_still_looks_alive(server: Running, picture: Pixels) -> None:
    old = await server.peer()
    welcome = await old.hello(session="cam")
    new, again = await resume(server, welcome)
    assert again["resumed"] is True
    assert (await old.hear("bye"))["reason"] == "taken_over"
    assert await old.closed() == Close.PUBLISHER_EXISTS
    await new.frame(picture)
    assert (await new.see())[0].source_seq == 0


async def test_frames_in_flight_at_the_loss_are_discarded(server: Running, picture: Pixels) -> None:
    server.worker.automatic = False
    lost = await server.peer()
    welcome = await lost.hello(session="cam")
    await lost.frame(picture, seq=41)
    (old_frame,) = await server.worker.frames("cam", 1)
    old_listener = server.worker.opened["cam"].listener
    await lose(lost)
    peer, _ = await resume(server, welcome)
    old_opened = server.worker.opened["cam"]
    server.worker.opened["cam"].listener = old_listener
    server.worker.compute("cam", old_frame)
    old_listener.on_warning("stale", "nobody hears this")
    server.worker.opened["cam"] = old_opened
    assert (await peer.ask("stats"))["frames_out"] == 0


async def test_a_wrong_resume_token_lets_the_client_start_afresh(server: Running) -> None:
    peer = await server.peer()
    error = await peer.hello(resume="guessed")
    assert (error["code"], error["field"]) == ("bad_resume_token", "resume")
    assert (await peer.hello())["resumed"] is False


async def test_a_session_that_nobody_resumes_expires() -> None:
    async with running(resume_seconds=0.01) as server:
        lost = await server.peer()
        welcome = await lost.hello(session="cam")
        viewer = await server.viewer("cam")
        await lose(lost)
        await server.worker.gone("cam")
        assert (await viewer.hear("bye"))["reason"] == "session_ended"
        _, again = await resume(server, welcome)
        assert again["code"] == "bad_resume_token"


async def test_a_program_that_was_restarted_gets_its_name_back(server: Running) -> None:
    await lose(await server.publisher(session="cam", settings={"prompt": "ink"}))
    await orphaned(server, "cam")
    peer = await server.peer()
    welcome = await peer.hello(session="cam")
    assert (welcome["type"], welcome["resumed"], welcome["settings"]["prompt"]) == ("welcome", False, "")


async def test_after_bye_the_token_is_worthless(server: Running) -> None:
    peer = await server.peer()
    welcome = await peer.hello(session="cam")
    await peer.say("bye")
    await peer.closed()
    _, again = await resume(server, welcome)
    assert again["code"] == "bad_resume_token"


# ------------------------------------------------------------------------------------------------------------ admission


async def test_a_full_server_says_so() -> None:
    async with running(max_sessions=1) as server:
        await server.publisher()
        peer = await server.peer()
        error = await peer.hello()
        assert (error["code"], error["retryable"]) == ("server_full", True)
        assert await peer.closed() == Close.CAPACITY


async def test_a_session_that_waits_for_its_publisher_gives_way_on_a_full_server() -> None:
    async with running(max_sessions=2) as server:
        await lose(await server.publisher(session="older"))
        await orphaned(server, "older")
        await lose(await server.publisher(session="newer"))
        await orphaned(server, "newer")
        await server.publisher(session="third")
        assert server.worker.closed == ["older"]
        assert len(server.sessions) == 2


async def test_pixels_of_a_lost_connection_never_reach_the_next(server: Running, picture: Pixels) -> None:
    """A frame that is still being decoded when its connection is lost must not be submitted."""
    peer = await server.peer()
    welcome = await peer.hello(session="cam")
    former = server.sessions.get("cam").publisher  # type: ignore[union-attr]
    await resume(server, welcome)
    session = server.sessions.get("cam")
    assert session is not None and former is not None
    session.submit(former, Frame(np.zeros((8, 8, 3), np.uint8)))
    assert server.worker.opened["cam"].frames == []
