"""Vectors of the binary messages. Headers are packed here from the table in docs/protocol.md alone, so that a mistake
in ``wire.py`` cannot hide in its own vectors."""

from __future__ import annotations

import struct
from typing import Any

PAYLOAD = bytes.fromhex("ffd8ffd9")
FIELDS = (
    ("magic", "2s", b"SG"),
    ("version", "B", 1),
    ("kind", "B", 1),
    ("codec", "B", 1),
    ("flags", "B", 0),
    ("header_length", "H", 48),
    ("seq", "I", 0),
    ("source_seq", "I", 0),
    ("settings_rev", "I", 0),
    ("width", "H", 256),
    ("height", "H", 256),
    ("captured_us", "Q", 0),
    ("queue_us", "I", 0),
    ("engine_us", "I", 0),
    ("encode_us", "I", 0),
    ("reserved", "I", 0),
)
NOT_A_CHOICE = {"magic", "version", "header_length", "reserved"}


def pack(payload: bytes = PAYLOAD, extra: bytes = b"", **values: Any) -> bytes:
    """One binary message; ``extra`` are header bytes of a later version."""
    layout = "<" + "".join(kind for _, kind, _ in FIELDS)
    return struct.pack(layout, *(values.get(name, default) for name, _, default in FIELDS)) + extra + payload


def valid_frame(name: str, payload: bytes = PAYLOAD, extra: bytes = b"", **values: Any) -> dict[str, Any]:
    values["header_length"] = 48 + len(extra)
    header = {field: values.get(field, default) for field, _, default in FIELDS if field not in NOT_A_CHOICE}
    return {
        "name": name,
        "header": header,
        "payload_hex": payload.hex(),
        "hex": pack(payload, extra, **values).hex(),
        "parse_only": bool(extra),
    }


def bad_frame(name: str, code: str, field: str | None, data: bytes) -> dict[str, Any]:
    return {"name": name, "hex": data.hex(), "code": code, "field": field}


def frames() -> dict[str, Any]:
    return {
        "valid": [
            valid_frame("the first input frame"),
            valid_frame(
                "an input frame with every field set",
                seq=7,
                source_seq=7,
                width=1280,
                height=720,
                captured_us=1_780_000_000_123_456,
            ),
            valid_frame(
                "an output with timing after a gap",
                kind=2,
                flags=1,
                seq=41,
                source_seq=99,
                settings_rev=3,
                width=512,
                height=512,
                captured_us=1_780_000_000_000_001,
                queue_us=1500,
                engine_us=12_345,
                encode_us=678,
            ),
            valid_frame("an output of the warm-up", kind=2, flags=2, seq=1, source_seq=1),
            valid_frame("an output with packed alpha", kind=2, flags=4, seq=2, source_seq=2, width=1024, height=512),
            valid_frame("every flag", kind=2, flags=7, seq=3, source_seq=3),
            valid_frame("a raw picture", payload=bytes(range(12)), codec=2, width=2, height=2),
            valid_frame("a PNG snapshot", payload=b"\x89PNG\r\n\x1a\n", kind=3, codec=3, settings_rev=12),
            valid_frame(
                "the largest numbers",
                seq=0xFFFFFFFF,
                source_seq=0xFFFFFFFF,
                settings_rev=0xFFFFFFFF,
                captured_us=2**53 - 1,
                queue_us=0xFFFFFFFF,
                engine_us=0xFFFFFFFF,
                encode_us=0xFFFFFFFF,
            ),
            valid_frame("exactly 4 megapixels", width=2000, height=2000),
            valid_frame("the longest side", width=65535, height=61),
            valid_frame("flags of a later version are kept", flags=0x80),
            valid_frame("a longer header of a later version is skipped", extra=bytes(range(16)), seq=5, source_seq=5),
        ],
        "invalid": [
            bad_frame("nothing at all", "truncated_header", None, b""),
            bad_frame("half a header", "truncated_header", None, pack()[:24]),
            bad_frame("a header that lacks its last byte", "truncated_header", None, pack()[:47]),
            bad_frame("another format's magic", "bad_magic", "magic", pack(magic=b"PK")),
            bad_frame("a bare JPEG", "bad_magic", "magic", b"\xff\xd8\xff\xe0" + bytes(60)),
            bad_frame("version 0", "unsupported_version", "version", pack(version=0)),
            bad_frame("version 2", "unsupported_version", "version", pack(version=2)),
            bad_frame("a header length below 48", "bad_header_length", "header_length", pack(header_length=47)),
            bad_frame("a header longer than the message", "bad_header_length", "header_length", pack(header_length=53)),
            bad_frame("the longest header length", "bad_header_length", "header_length", pack(header_length=65535)),
            bad_frame("kind 0", "unknown_kind", "kind", pack(kind=0)),
            bad_frame("kind 4", "unknown_kind", "kind", pack(kind=4)),
            bad_frame("codec 0", "unknown_codec", "codec", pack(codec=0)),
            bad_frame("codec 255", "unknown_codec", "codec", pack(codec=255)),
            bad_frame("no width", "bad_size", "width", pack(width=0)),
            bad_frame("no height", "bad_size", "width", pack(height=0)),
            bad_frame("a pixel row over 4 megapixels", "frame_too_large", "width", pack(width=2000, height=2001)),
            bad_frame("the largest size", "frame_too_large", "width", pack(width=65535, height=65535)),
            bad_frame("a header without a picture", "empty_payload", "payload", pack(payload=b"")),
        ],
    }
