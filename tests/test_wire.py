"""The binary frame header: golden vectors, round trips and garbage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgen.errors import ProtocolError
from streamgen.wire import HEADER_BYTES, MAX_PIXELS, Codec, Flags, FrameHeader, Kind, pack_frame, parse_frame

GOLDEN = json.loads((Path(__file__).parent / "golden" / "protocol.json").read_text(encoding="utf-8"))
U32 = st.integers(0, 2**32 - 1)


def by_name(vectors: list[dict[str, Any]]) -> Any:
    return pytest.mark.parametrize("vector", vectors, ids=[vector["name"] for vector in vectors])


def header_of(fields: dict[str, int]) -> FrameHeader:
    typed = {"kind": Kind(fields["kind"]), "codec": Codec(fields["codec"]), "flags": Flags(fields["flags"])}
    return FrameHeader(**{**fields, **typed})  # type: ignore[arg-type]


def test_the_golden_constants_are_those_of_the_code() -> None:
    assert (GOLDEN["header_bytes"], GOLDEN["max_pixels"]) == (HEADER_BYTES, MAX_PIXELS)


@by_name(GOLDEN["frames"]["valid"])
def test_golden_frames_are_parsed(vector: dict[str, Any]) -> None:
    header, payload = parse_frame(bytes.fromhex(vector["hex"]))
    assert header == header_of(vector["header"])
    assert payload == bytes.fromhex(vector["payload_hex"])


@by_name([vector for vector in GOLDEN["frames"]["valid"] if not vector["parse_only"]])
def test_golden_frames_are_packed(vector: dict[str, Any]) -> None:
    packed = pack_frame(header_of(vector["header"]), bytes.fromhex(vector["payload_hex"]))
    assert packed.hex() == vector["hex"]


@by_name(GOLDEN["frames"]["invalid"])
def test_golden_bad_frames_are_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_frame(bytes.fromhex(vector["hex"]))
    assert (caught.value.code, caught.value.field) == (vector["code"], vector["field"])


@given(st.binary(max_size=80))
def test_any_bytes_are_a_frame_or_a_protocol_error(data: bytes) -> None:
    try:
        header, payload = parse_frame(data)
    except ProtocolError as error:
        assert error.code and error.message
    else:
        assert len(payload) >= 1
        assert 1 <= header.width * header.height <= MAX_PIXELS


@given(st.binary(min_size=HEADER_BYTES - 3, max_size=HEADER_BYTES + 8))
def test_any_bytes_behind_a_good_start_are_a_frame_or_a_protocol_error(rest: bytes) -> None:
    test_any_bytes_are_a_frame_or_a_protocol_error.hypothesis.inner_test(b"SG\x01" + rest)  # type: ignore[attr-defined]


@given(
    kind=st.sampled_from(Kind),
    codec=st.sampled_from(Codec),
    size=st.tuples(st.integers(1, 2000), st.integers(1, 2000)),
    numbers=st.tuples(U32, U32, U32, U32, U32, U32),
    captured_us=st.integers(0, 2**64 - 1),
    payload=st.binary(min_size=1, max_size=20),
)
def test_what_is_packed_is_parsed(
    kind: Kind, codec: Codec, size: tuple[int, int], numbers: tuple[int, ...], captured_us: int, payload: bytes
) -> None:
    header = FrameHeader(kind, codec, *size, *numbers[:3], captured_us, *numbers[3:])
    assert parse_frame(pack_frame(header, payload)) == (header, payload)


def test_counters_wrap_and_durations_stop_at_32_bits() -> None:
    header = FrameHeader(Kind.OUTPUT, Codec.JPEG, 8, 8, seq=2**32 + 5, engine_us=2**40)
    parsed, _ = parse_frame(pack_frame(header, b"x"))
    assert (parsed.seq, parsed.engine_us) == (5, 2**32 - 1)
