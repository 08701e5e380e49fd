"""The server over real sockets with a fake worker: the protocol's words, and what bad input gets."""

from __future__ import annotations

import asyncio
import io
import json

import numpy as np
import pytest
import simplejpeg
from PIL import Image
from websockets.asyncio.client import connect as open_socket

from streamgen.errors import SettingsError, WorkerError
from streamgen.frames import Pixels
from streamgen.protocol import MAX_MESSAGE_BYTES, Close
from streamgen.wire import Codec, Flags, FrameHeader, Kind, pack_frame
from tests.server.conftest import Peer, Running, running
from tests.server.fake import FakeWorker

HEADER = FrameHeader(Kind.INPUT, Codec.JPEG, 128, 128, seq=0)


async def error_code(peer: Peer) -> str:
    return str((await peer.hear("error"))["code"])


async def test_a_frame_comes_back_as_an_output(server: Running, picture: Pixels) -> None:
    peer = await server.publisher()
    await peer.frame(picture, seq=0, captured_us=1_780_000_000_123_456)
    assert await peer.hear("ack") == {"type": "ack", "seq": 0}
    header, payload = await peer.see()
    assert (header.kind, header.codec, header.width, header.height) == (Kind.OUTPUT, Codec.JPEG, 256, 256)
    assert (header.seq, header.source_seq, header.captured_us) == (0, 0, 1_780_000_000_123_456)
    assert (header.queue_us, header.engine_us) == (1500, 2500)
    assert header.encode_us > 0
    assert simplejpeg.decode_jpeg(payload).shape == (256, 256, 3)


async def test_the_engine_gets_the_pixels_and_the_stamps_of_the_frame(server: Running, picture: Pixels) -> None:
    server.worker.automatic = False
    peer = await server.publisher(session="cam")
    await peer.frame(picture, seq=0, captured_us=5)
    (frame,) = await server.worker.frames("cam", 1)
    assert np.abs(frame.pixels.astype(int) - picture).mean() < 5
    assert (frame.seq, frame.captured_us, frame.received_s) == (0, 5, server.clock())


async def test_outputs_can_be_raw(server: Running, picture: Pixels) -> None:
    peer = await server.publisher(codec="raw", format={"width": 128, "height": 160})
    await peer.frame(picture)
    header, payload = await peer.see()
    assert (header.codec, len(payload)) == (Codec.RAW, 128 * 160 * 3)


async def test_frames_can_be_raw_and_of_any_size(server: Running) -> None:
    peer = await server.publisher(session="cam")
    pixels = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    await peer.socket.send(pack_frame(FrameHeader(Kind.INPUT, Codec.RAW, 7, 5, 0), pixels.tobytes()))
    (frame,) = await server.worker.frames("cam", 1)
    assert (frame.pixels == pixels).all()


async def test_welcome_says_what_is_in_force(server: Running) -> None:
    peer = await server.peer()
    welcome = await peer.hello(
        ref="h", session="cam", format={"width": 512, "fit": "contain"}, settings={"prompt": "ink", "steps": 2}
    )
    assert (welcome["session"], welcome["role"], welcome["ref"], welcome["resumed"]) == ("cam", "publish", "h", False)
    assert welcome["format"] == {"width": 512, "height": 256, "fit": "contain", "upscale": 1}
    assert (welcome["settings"]["prompt"], welcome["settings"]["steps"], welcome["rev"]) == ("ink", 2, 0)
    assert (welcome["model"], welcome["styles"]) == ("fake", ["pencil sketch"])
    assert welcome["limits"] == {
        "max_message_bytes": MAX_MESSAGE_BYTES,
        "max_pixels": 4_000_000,
        "credits": 2,
        "resume_seconds": 30.0,
    }
    assert (await peer.hear("updated"))["styles"] == {"ink": 1.0}


async def test_an_update_is_answered_once_it_is_in_force(server: Running, picture: Pixels) -> None:
    peer = await server.publisher(settings={"seed": 3})
    updated = await peer.ask("update", settings={"prompt": "oil"})
    assert (updated["type"], updated["rev"], updated["understood"]) == ("updated", 1, 1.0)
    assert (updated["settings"]["prompt"], updated["settings"]["seed"]) == ("oil", 3)
    await peer.frame(picture)
    header, _ = await peer.see()
    assert header.settings_rev == 1


async def test_every_update_is_answered_though_the_worker_confirms_the_last_only(server: Running) -> None:
    peer = await server.publisher(session="cam")
    await peer.hear("updated")
    server.worker.automatic = False
    for steps, ref in ((2, "a"), (3, "b"), (4, "c")):
        await peer.say("update", settings={"steps": steps}, ref=ref)
    await peer.ask("stats")
    server.worker.automatic = True
    server.worker.apply("cam", 3)
    answers = [await peer.hear("updated") for _ in range(3)]
    assert [(answer["ref"], answer["rev"], answer["settings"]["steps"]) for answer in answers] == [
        ("a", 3, 4),
        ("b", 3, 4),
        ("c", 3, 4),
    ]


async def test_updates_that_nobody_confirms_are_bounded(server: Running) -> None:
    peer = await server.publisher(session="cam")
    server.worker.automatic = False
    for _ in range(64):
        await peer.say("update", settings={"steps": 2})
    answer = await peer.ask("update", settings={"steps": 3})
    assert (answer["code"], answer["retryable"]) == ("too_many_updates", True)
    assert server.worker.opened["cam"].settings.steps == 2


async def test_an_update_that_the_worker_refuses_is_answered_and_the_settings_in_force_stay(server: Running) -> None:
    peer = await server.publisher(session="cam", settings={"prompt": "oil"})
    await peer.hear("updated")
    server.worker.automatic = False
    await peer.say("update", settings={"steps": 3}, ref="a")
    await peer.ask("stats")
    error = SettingsError("invalid_settings", "steps must be 1 to 2, got 3", field="steps")
    server.worker.opened["cam"].listener.on_refused(1, error)
    answer = await peer.hear("error")
    assert (answer["code"], answer["field"], answer["ref"]) == ("invalid_settings", "steps", "a")
    server.worker.automatic = True
    updated = await peer.ask("update", settings={"seed": 9})
    assert (updated["settings"]["steps"], updated["settings"]["prompt"], updated["rev"]) == (1, "oil", 2)


async def test_a_snapshot_is_the_newest_output_without_loss(server: Running, picture: Pixels) -> None:
    peer = await server.publisher(session="cam")
    assert (await peer.ask("snapshot"))["code"] == "no_output_yet"
    await peer.frame(picture, seq=0)
    await peer.see()
    taken = await peer.ask("snapshot")
    assert (taken["type"], taken["seq"], taken["width"], taken["height"]) == ("snapshot_taken", 0, 256, 256)
    header, payload = await peer.see()
    assert (header.kind, header.codec, header.source_seq) == (Kind.SNAPSHOT, Codec.PNG, 0)
    with Image.open(io.BytesIO(payload)) as image:
        assert (np.asarray(image) == server.worker.opened["cam"].mark).all()


async def test_stats_count_frames_stages_and_viewers(server: Running, picture: Pixels) -> None:
    peer = await server.publisher(session="cam")
    await server.viewer("cam")
    await peer.frame(picture)
    await peer.see()
    stats = await peer.ask("stats")
    assert (stats["frames_in"], stats["frames_out"], stats["drops"], stats["viewers"]) == (1, 1, {}, 1)
    assert stats["backend"] == "none"
    assert stats["stages"].keys() == {"decode_ms", "queued_ms", "engine_ms", "encode_ms"}
    assert stats["stages"]["engine_ms"] == {"p50": 2.5, "p90": 2.5}


async def test_a_paused_publisher_has_nothing_computed(server: Running, picture: Pixels) -> None:
    peer = await server.publisher(session="cam")
    assert (await peer.ask("pause"))["type"] == "paused"
    await peer.frame(picture, seq=0)
    assert (await peer.ask("stats"))["drops"] == {"paused": 1}
    assert (await peer.ask("resume"))["type"] == "resumed"
    await peer.frame(picture, seq=1)
    header, _ = await peer.see()
    assert header.source_seq == 1
    assert len(server.worker.opened["cam"].frames) == 1


async def test_frames_over_the_agreed_rate_are_dropped_and_acknowledged(server: Running, picture: Pixels) -> None:
    peer = await server.publisher(session="cam", settings={"max_fps": 10})
    for seq in range(6):
        await peer.frame(picture, seq=seq)
        while (await peer.hear("ack"))["seq"] != seq:
            pass
    stats = await peer.ask("stats")
    assert stats["frames_in"] == 6
    assert stats["drops"]["rate"] == 3


async def test_warnings_and_errors_of_the_worker_reach_the_client(server: Running) -> None:
    peer = await server.publisher(session="cam")
    listener = server.worker.opened["cam"].listener
    listener.on_dropped("failed", 2)
    listener.on_error(WorkerError("engine_failed", "out of memory", retryable=True))
    listener.on_warning("worker_restarted", "frames flow again")
    assert (await peer.hear("error"))["code"] == "engine_failed"
    assert (await peer.hear("warning"))["code"] == "worker_restarted"
    assert (await peer.ask("stats"))["drops"] == {"failed": 2}


async def test_warm_up_and_gaps_are_flagged(server: Running, picture: Pixels) -> None:
    server.worker.automatic = False
    peer = await server.publisher(session="cam")
    await peer.frame(picture)
    (frame,) = await server.worker.frames("cam", 1)
    server.worker.compute("cam", frame, gap=True, warm_up=True)
    header, _ = await peer.see()
    assert header.flags == Flags.GAP_BEFORE | Flags.WARM_UP
    server.worker.compute("cam", frame)
    header, _ = await peer.see()
    assert header.flags == Flags.NONE


# --------------------------------------------------------------------------------------------------------- bad input

BAD_FRAMES = {
    "truncated_header": b"SG\x01",
    "bad_magic": b"\xff\xd8" + bytes(100),
    "unsupported_version": b"SG\x02" + bytes(100),
    "unknown_codec": pack_frame(HEADER, b"x")[:4] + b"\x09" + pack_frame(HEADER, b"x")[5:],
    "unknown_kind": pack_frame(FrameHeader(Kind.OUTPUT, Codec.JPEG, 8, 8, 0), b"x"),
    "bad_header_length": pack_frame(HEADER, b"x")[:6] + b"\xff\xff" + pack_frame(HEADER, b"x")[8:],
    "empty_payload": pack_frame(HEADER, b""),
    "frame_too_large": pack_frame(FrameHeader(Kind.INPUT, Codec.JPEG, 2001, 2000, 0), b"x"),
    "undecodable": pack_frame(HEADER, b"no picture at all"),
    "size_mismatch": pack_frame(
        HEADER, simplejpeg.encode_jpeg(np.zeros((64, 128, 3), np.uint8), colorspace="RGB")
    ),
}  # fmt: skip


@pytest.mark.parametrize(("code", "message"), BAD_FRAMES.items(), ids=BAD_FRAMES)
async def test_a_bad_frame_gets_its_error_and_the_next_one_is_computed(
    server: Running, picture: Pixels, code: str, message: bytes
) -> None:
    peer = await server.publisher()
    await peer.socket.send(message)
    assert await error_code(peer) == code
    await peer.frame(picture, seq=1)
    header, _ = await peer.see()
    assert header.source_seq == 1


async def test_a_refused_frame_gives_its_credit_back(server: Running) -> None:
    peer = await server.publisher()
    await peer.socket.send(pack_frame(FrameHeader(Kind.INPUT, Codec.JPEG, 2001, 2000, seq=77), b"x"))
    assert (await peer.hear("ack"))["seq"] == 77


BAD_TEXTS = {
    "no JSON": ("{", "invalid_json", None),
    "an unknown type": ('{"type": "dance"}', "unknown_type", "type"),
    "an unknown field": ('{"type": "pause", "till": 1}', "invalid_message", "till"),
    "an unknown setting": ('{"type": "update", "settings": {"promt": "x"}}', "unknown_setting", "promt"),
    "too many steps": ('{"type": "update", "settings": {"steps": 9}}', "invalid_settings", "steps"),
    "a long prompt": (
        json.dumps({"type": "update", "settings": {"prompt": "x" * 1001}}),
        "invalid_settings",
        "prompt",
    ),
    "a second hello": ('{"type": "hello"}', "already_welcome", None),
}


@pytest.mark.parametrize(("text", "code", "field"), BAD_TEXTS.values(), ids=BAD_TEXTS)
async def test_a_bad_message_gets_its_error_and_changes_nothing(
    server: Running, text: str, code: str, field: str | None
) -> None:
    peer = await server.publisher(session="cam", settings={"prompt": "ink"})
    await peer.socket.send(text)
    error = await peer.hear("error")
    assert (error["code"], error["field"], error["retryable"]) == (code, field, False)
    assert (await peer.ask("stats"))["type"] == "stats"
    assert (server.worker.opened["cam"].settings.prompt, server.worker.opened["cam"].rev) == ("ink", 0)


async def test_an_error_repeats_the_ref(server: Running) -> None:
    peer = await server.publisher()
    assert (await peer.ask("update", settings={"steps": 9}))["code"] == "invalid_settings"


async def test_frames_and_requests_before_hello_are_refused(server: Running, picture: Pixels) -> None:
    peer = await server.peer()
    await peer.frame(picture)
    assert await error_code(peer) == "hello_expected"
    await peer.say("stats")
    assert await error_code(peer) == "hello_expected"
    assert (await peer.hello())["type"] == "welcome"


async def test_a_hello_with_bad_settings_may_be_said_again(server: Running) -> None:
    peer = await server.peer()
    assert (await peer.hello(settings={"steps": 9}))["field"] == "steps"
    assert (await peer.hello(format={"width": 100}))["field"] == "width"
    assert len(server.worker.opened) == 0
    assert (await peer.hello())["type"] == "welcome"


async def test_ten_messages_in_a_row_that_nobody_understands_end_the_connection(server: Running) -> None:
    peer = await server.publisher()
    for _ in range(10):
        await peer.socket.send("nonsense")
    assert await peer.closed() == Close.PROTOCOL


async def test_an_understood_message_starts_the_count_again(server: Running) -> None:
    peer = await server.publisher()
    for _ in range(3):
        for _ in range(9):
            await peer.socket.send("nonsense")
        assert (await peer.ask("stats"))["type"] == "stats"


async def test_refused_settings_never_end_the_connection(server: Running) -> None:
    peer = await server.publisher()
    for _ in range(30):
        assert (await peer.ask("update", settings={"prompt": "x" * 1001}))["code"] == "invalid_settings"


async def test_ten_broken_pictures_in_a_row_end_the_connection(server: Running) -> None:
    server.clock.now_s = 0.0
    peer = await server.publisher()
    for seq in range(10):
        server.clock.now_s += 1.0
        await peer.socket.send(pack_frame(FrameHeader(Kind.INPUT, Codec.JPEG, 8, 8, seq), b"broken"))
        if seq < 9:
            assert await error_code(peer) == "undecodable"
    assert await peer.closed() == Close.PROTOCOL


async def test_a_message_over_2_mib_ends_the_connection_as_too_big(server: Running) -> None:
    peer = await server.publisher()
    await peer.socket.send(bytes(MAX_MESSAGE_BYTES + 1))
    assert await peer.closed() == Close.TOO_BIG


async def test_silence_instead_of_hello_ends_the_connection() -> None:
    async with running(hello_timeout_s=0.02) as server:
        peer = await server.peer()
        assert await peer.closed() == Close.PROTOCOL


async def test_silence_after_a_refused_hello_ends_the_connection_too() -> None:
    async with running(hello_timeout_s=0.1) as server:
        peer = await server.peer()
        assert (await peer.hello(settings={"steps": 9}))["code"] == "invalid_settings"
        assert await peer.closed() == Close.PROTOCOL


async def test_a_connection_without_the_subprotocol_is_told_so(server: Running) -> None:
    peer = await server.peer(subprotocols=None)
    assert await error_code(peer) == "unsupported_subprotocol"
    assert await peer.closed() == Close.PROTOCOL


async def test_pages_of_other_sites_are_turned_away(server: Running) -> None:
    peer = await server.peer(origin="https://evil.example")
    assert await peer.closed() == Close.ORIGIN


async def test_the_servers_own_page_is_let_in(server: Running) -> None:
    peer = await server.peer(origin=server.http)
    assert (await peer.hello())["type"] == "welcome"


async def test_bye_ends_the_connection_normally(server: Running) -> None:
    peer = await server.publisher(session="cam")
    await peer.say("bye")
    assert await peer.closed() == Close.NORMAL
    await server.worker.gone("cam")


async def test_a_client_that_breaks_off_in_mid_frame_harms_nobody(server: Running, picture: Pixels) -> None:
    broken = await server.publisher(session="broken")
    broken.socket.transport.write(b"\x82\xfe\x40\x00")  # a frame header that announces 16 KiB, and nothing more
    broken.socket.transport.abort()
    peer = await server.publisher()
    await peer.frame(picture)
    assert (await peer.see())[0].kind == Kind.OUTPUT


# ------------------------------------------------------------------------------------------------- starting, stopping


async def test_hello_waits_for_the_model_to_be_loaded() -> None:
    worker = FakeWorker()
    worker.may_start.clear()
    async with running(worker) as server:
        peer = await server.peer()
        await peer.say("hello")
        worker.may_start.set()
        assert (await peer.hear("welcome"))["model"] == "fake"


async def test_hello_while_the_worker_restarts_is_worth_another_try(server: Running) -> None:
    server.worker.ready = False
    peer = await server.peer()
    error = await peer.hello()
    assert (error["code"], error["retryable"]) == ("worker_not_ready", True)
    assert await peer.closed() == Close.CAPACITY


async def test_a_server_that_stops_says_goodbye() -> None:
    async with running() as server:
        publisher = await server.publisher(session="cam")
        viewer = await server.viewer("cam")
        stranger = await open_socket(server.url, subprotocols=["streamgen.v1"])
        async with asyncio.timeout(5):
            assert await asyncio.gather(
                server.stop(), publisher.closed(), viewer.closed(), Peer(stranger).closed()
            ) == [
                None,
                Close.DRAINING,
                Close.DRAINING,
                Close.DRAINING,
            ]
