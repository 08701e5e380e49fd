"""The WebRTC measurements measure; no figure of this file means anything."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import av
import numpy as np
import pytest

pytest.importorskip("aiortc")

from streamgen.bench.webrtc import PARTS, main
from streamgen.bench.webrtc_asked import ASKED, figures
from streamgen.bench.webrtc_loss import Thief
from streamgen.bench.webrtc_mark import read_mark, stamp_mark
from streamgen.bench.webrtc_peer import Sighting, longest_gap_ms
from streamgen.bench.webrtc_relay import Path as Way
from streamgen.bench.webrtc_relay import Shape, rtp_of, video_types
from streamgen.server.webrtc.aiortc_shim import MENDS

SDP = "m=video 9 UDP/TLS/RTP/SAVPF 97 98\r\na=rtpmap:97 VP8/90000\r\na=rtpmap:98 rtx/90000\r\n"


def rtp(number: int, payload_type: int = 97, *, marker: bool = False) -> bytes:
    first = bytes([128, payload_type | (128 if marker else 0)])
    return first + number.to_bytes(2, "big") + (90 * number).to_bytes(4, "big") + bytes(20)


def through(shape: Shape, packets: list[bytes]) -> list[bytes]:
    """What comes out of one way of a relay, in order."""
    arrived: list[bytes] = []

    async def run() -> None:
        way = Way(arrived.append, seed=3)
        way.shape = shape
        for packet in packets:
            way.take(packet)
        async with asyncio.timeout(10):
            while len(arrived) < way.counts.packets - way.counts.lost:
                await asyncio.sleep(0)

    asyncio.run(run())
    return arrived


@pytest.mark.parametrize("number", [0, 1, 0x5555, 0xFFFF])
def test_a_number_is_read_from_the_picture_it_was_stamped_on(number: int) -> None:
    picture = np.full((128, 128, 3), 120, np.uint8)
    stamp_mark(picture, number)
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
    assert read_mark(frame) == number


def test_a_picture_without_a_number_is_told_from_others() -> None:
    picture = np.full((128, 128, 3), 120, np.uint8)
    assert read_mark(av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")) is None


def test_packets_of_video_are_known_by_their_headers() -> None:
    packet = rtp_of(rtp(7, marker=True))
    assert packet is not None
    assert (packet.payload_type, packet.sequence_number, packet.marker) == (97, 7, True)
    assert [rtp_of(bytes([first, 200]) + bytes(20)) for first in (0, 22, 128)] == [None, None, None]
    assert video_types(SDP) == (frozenset({97}), frozenset({98}))


def test_a_path_loses_and_reorders_the_same_packets_every_time() -> None:
    packets = [rtp(number) for number in range(200)]
    shape = Shape(loss=0.1, jitter_s=0.02)
    first = through(shape, packets)
    assert 150 < len(first) < 195
    assert first != sorted(first)
    assert set(first) == set(through(shape, packets))


def test_what_does_not_fit_before_the_narrow_place_is_lost() -> None:
    packets = [rtp(number) for number in range(50)]
    shape = Shape(bits_per_second=1e6, buffer_bytes=10 * len(packets[0]))
    assert len(through(shape, packets)) in (10, 11)


def test_a_thief_takes_one_packet_and_as_many_of_its_repetitions_as_it_is_told() -> None:
    thief = Thief(SDP)
    thief.arm(1, last=True)
    stream = [rtp(1), rtp(2, marker=True), rtp(3), rtp(900, 98), rtp(901, 98), rtp(4, marker=True)]
    assert [thief(packet) for packet in stream] == [False, True, False, True, False, False]


def test_the_longest_gap_counts_the_edges_of_its_time() -> None:
    seen = [Sighting(1, 10.1, 5.0), Sighting(2, 10.2, 5.0)]
    assert longest_gap_ms(seen, 10.0, 10.5) == pytest.approx(300)
    assert longest_gap_ms([], 10.0, 10.5) == pytest.approx(500)


def test_every_mend_of_aiortc_has_a_part_of_its_own() -> None:
    assert set(MENDS) <= set(PARTS)
    assert {asked.part for asked in ASKED} <= set(PARTS)


def test_what_was_asked_is_held_against_what_was_found() -> None:
    row = {"through_the_server": {"added_ms": {"p50": 12.0, "p95": 31.0}}}
    found = [*figures({"latency": {"rows": [row]}, "loss": {"error": "it failed"}})]
    assert [(figure["found"], figure["within"]) for figure in found] == [(12.0, True), (31.0, False)]


def test_the_quickest_part_is_measured(tmp_path: Path) -> None:
    output = tmp_path / "webrtc.json"
    assert main(["--only", "channel", "--quick", "--output", str(output)]) == 0
    report = json.loads(output.read_text())
    assert report["hardware"]["cores"] >= 1
    part = report["results"]["channel"]
    assert part["took_s"] > 0
    for variant in ("stock", "mended"):
        assert {"dtls", "rtp"} <= set(part[variant]["largest_datagram_bytes"])


def test_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "speed"])
    assert "must be some of latency" in capsys.readouterr().err
