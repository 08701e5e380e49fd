"""The binary frame header of streamgen.v1, sans-I/O: 48 little-endian bytes in front of one encoded picture.

``docs/protocol.md`` has the table of offsets; ``tests/golden/protocol.json`` has vectors that the Python and the
JavaScript implementation both pass.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag

from streamgen.errors import ProtocolError

__all__ = [
    "HEADER_BYTES",
    "MAX_PIXELS",
    "Codec",
    "Flags",
    "FrameHeader",
    "Kind",
    "pack_frame",
    "parse_frame",
    "peek_seq",
]

MAX_PIXELS = 4_000_000
"""Width times height a frame may declare; checked before anything is decoded."""

_MAGIC = b"SG"
_VERSION = 1
_HEADER = struct.Struct("<2sBBBBHIIIHHQIIII")
HEADER_BYTES = _HEADER.size


class Kind(IntEnum):
    """What a binary message carries."""

    INPUT = 1
    OUTPUT = 2
    SNAPSHOT = 3


class Codec(IntEnum):
    """How the picture behind the header is encoded."""

    JPEG = 1
    RAW = 2
    """RGB, 8 bits a channel, rows from the top, no padding: exactly width x height x 3 bytes."""
    PNG = 3
    """Snapshots only."""


class Flags(IntFlag):
    """Facts about one frame."""

    NONE = 0
    GAP_BEFORE = 1
    """At least one output between this one and the last one sent was dropped."""
    WARM_UP = 2
    """Made while a faster version of the model was still being prepared."""
    ALPHA = 4
    """Twice as wide as what it shows: the colour left, its alpha right, as grey."""


_KINDS = frozenset(int(kind) for kind in Kind)
_CODECS = frozenset(int(codec) for codec in Codec)


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """The 48 bytes in front of every picture. ``docs/protocol.md`` has the table of offsets."""

    kind: Kind
    codec: Codec
    width: int
    height: int
    seq: int
    """The sender's count of the frames it sent on this connection, from 0."""
    source_seq: int = 0
    """On outputs: ``seq`` of the input this was made from. Repeats ``seq`` on inputs."""
    settings_rev: int = 0
    captured_us: int = 0
    """The publisher's clock, Unix microseconds; the server echoes it."""
    queue_us: int = 0
    engine_us: int = 0
    encode_us: int = 0
    flags: Flags = Flags.NONE


def pack_frame(header: FrameHeader, payload: bytes | bytearray | memoryview) -> bytes:
    """Return one binary message: header, then payload."""
    head = _HEADER.pack(
        _MAGIC,
        _VERSION,
        header.kind,
        header.codec,
        header.flags,
        HEADER_BYTES,
        header.seq & 0xFFFFFFFF,
        header.source_seq & 0xFFFFFFFF,
        header.settings_rev & 0xFFFFFFFF,
        header.width,
        header.height,
        header.captured_us & 0xFFFFFFFFFFFFFFFF,
        min(header.queue_us, 0xFFFFFFFF),
        min(header.engine_us, 0xFFFFFFFF),
        min(header.encode_us, 0xFFFFFFFF),
        0,
    )
    return b"".join((head, payload))


def parse_frame(data: bytes | memoryview) -> tuple[FrameHeader, memoryview]:
    """Split a binary message into its header and its payload, a view into ``data``.

    Bytes between the 48 known ones and ``header_length`` belong to later versions and are skipped.

    Raises:
        ProtocolError: ``truncated_header``, ``bad_magic``, ``unsupported_version``, ``bad_header_length``,
            ``unknown_kind``, ``unknown_codec``, ``bad_size``, ``frame_too_large`` or ``empty_payload``.
    """
    view = memoryview(data)
    if len(view) < HEADER_BYTES:
        raise ProtocolError("truncated_header", f"a frame header has {HEADER_BYTES} bytes, got {len(view)}")
    fields = _HEADER.unpack_from(view)
    magic, version, kind, codec, flags, header_length = fields[:6]
    seq, source_seq, settings_rev, width, height, captured_us, queue_us, engine_us, encode_us, _reserved = fields[6:]
    if magic != _MAGIC:
        raise ProtocolError("bad_magic", f"a frame starts with {_MAGIC!r}, got {magic!r}", field="magic")
    if version != _VERSION:
        raise ProtocolError("unsupported_version", f"this is version {_VERSION}, got {version}", field="version")
    if not HEADER_BYTES <= header_length <= len(view):
        raise ProtocolError(
            "bad_header_length",
            f"header_length must be {HEADER_BYTES} to the message's {len(view)} bytes, got {header_length}",
            field="header_length",
        )
    _check_picture(kind, codec, width, height)
    if header_length == len(view):
        raise ProtocolError("empty_payload", "a frame needs a picture behind its header", field="payload")
    header = FrameHeader(
        kind=Kind(kind),
        codec=Codec(codec),
        width=width,
        height=height,
        seq=seq,
        source_seq=source_seq,
        settings_rev=settings_rev,
        captured_us=captured_us,
        queue_us=queue_us,
        engine_us=engine_us,
        encode_us=encode_us,
        flags=Flags(flags),
    )
    return header, view[header_length:]


def peek_seq(data: bytes | memoryview) -> int | None:
    """``seq`` of a message that ``parse_frame`` refused, where its header reaches that far: a refused frame is
    acknowledged too, or its sender would wait for the credit for ever."""
    if len(data) < HEADER_BYTES or bytes(data[:3]) != _MAGIC + bytes([_VERSION]):
        return None
    return int(_HEADER.unpack_from(data)[6])


def _check_picture(kind: int, codec: int, width: int, height: int) -> None:
    if kind not in _KINDS:
        raise ProtocolError("unknown_kind", f"kind must be one of {sorted(_KINDS)}, got {kind}", field="kind")
    if codec not in _CODECS:
        raise ProtocolError("unknown_codec", f"codec must be one of {sorted(_CODECS)}, got {codec}", field="codec")
    if width == 0 or height == 0:
        raise ProtocolError("bad_size", f"width and height must be at least 1, got {width}x{height}", field="width")
    if width * height > MAX_PIXELS:
        raise ProtocolError(
            "frame_too_large", f"a frame has at most {MAX_PIXELS} pixels, got {width}x{height}", field="width"
        )
