"""Write protocol.json, the vectors that the Python and the JavaScript implementation of streamgen.v1 both pass, and
docs/protocol.schema.json.

Run ``python tests/golden/make_protocol.py`` after a change of the protocol. Headers are packed here from the table in
docs/protocol.md alone, so that a mistake in ``wire.py`` cannot hide in its own vectors.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from streamgen.protocol import protocol_schema

TARGET = Path(__file__).with_name("protocol.json")
SCHEMA = Path(__file__).parents[2] / "docs" / "protocol.schema.json"
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
SETTINGS = {
    "prompt": "ink drawing",
    "prompts_blend": [{"prompt": "ink drawing", "weight": 1.0}, {"prompt": "oil painting", "weight": 0.5}],
    "strength": 0.75,
    "steps": 2,
    "seed": 4294967295,
    "seed_speed": 0.5,
    "negative_prompt": "blurry",
    "guidance": 1.5,
    "guidance_mode": "onetime",
    "stream_batch": True,
    "feedback": 0.25,
    "skip_similar": 0.01,
    "loras": {"papercut": 0.75, "pixel_art": -1.0},
    "control_scale": 0.5,
    "reference_scale": 0.25,
    "source": "prompt",
    "transition_ms": 0,
    "max_fps": 60,
    "quality": 90,
}
FORMAT = {"width": 512, "height": 256, "fit": "contain"}


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
            valid_frame("both flags", kind=2, flags=3, seq=2, source_seq=2),
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


def valid_text(name: str, text: str, message: dict[str, Any]) -> dict[str, Any]:
    """``message``: the fields that must come out, defaults filled in."""
    return {"name": name, "text": text, "message": message}


def said(name: str, message: dict[str, Any], **filled_in: Any) -> dict[str, Any]:
    return valid_text(name, json.dumps(message), {**message, **filled_in})


def bad_text(name: str, code: str, field: str | None, text: str) -> dict[str, Any]:
    return {"name": name, "text": text, "code": code, "field": field}


def client_messages() -> dict[str, Any]:
    hello_defaults = {
        "ref": None,
        "role": "publish",
        "session": None,
        "resume": None,
        "format": {},
        "settings": {},
        "codec": "jpeg",
        "client": "",
    }
    return {
        "valid": [
            said("the shortest hello", {"type": "hello"}, **hello_defaults),
            said(
                "a hello that chooses everything",
                {
                    "type": "hello",
                    "ref": "r1",
                    "role": "publish",
                    "session": "my-camera_1",
                    "resume": "token",
                    "format": FORMAT,
                    "settings": SETTINGS,
                    "codec": "raw",
                    "client": "streamgen-js/0.1.0",
                },
            ),
            said(
                "a viewer's hello",
                {"type": "hello", "role": "view", "session": "cam"},
                **{**hello_defaults, "role": "view", "session": "cam"},
            ),
            said("an update", {"type": "update", "ref": "7", "settings": {"prompt": "pencil sketch"}}),
            said("an update without a ref", {"type": "update", "settings": {}}, ref=None),
            said("a reformat", {"type": "reformat", "ref": "8", "format": FORMAT}),
            said("a reformat of one side", {"type": "reformat", "format": {"width": 128}}, ref=None),
            said("a switch", {"type": "switch", "ref": "9", "model": "tiny", "loras": ["papercut", "pixel_art"]}),
            said("a switch with all LoRAs", {"type": "switch", "model": "stabilityai/sd-turbo"}, ref=None, loras=None),
            said("a switch without LoRAs", {"type": "switch", "model": "tiny", "loras": []}, ref=None),
            said("pause", {"type": "pause"}, ref=None),
            said("resume", {"type": "resume", "ref": "a"}),
            said("snapshot", {"type": "snapshot", "ref": "a"}),
            said("stats", {"type": "stats"}, ref=None),
            said("the first ack", {"type": "ack", "seq": 0}),
            said("the last ack", {"type": "ack", "seq": 4294967295}),
            said("bye", {"type": "bye"}, reason=""),
            said("bye with a reason", {"type": "bye", "reason": "closed by the user"}),
        ],
        "invalid": [
            bad_text("no JSON", "invalid_json", None, "hello"),
            bad_text("nothing", "invalid_json", None, ""),
            bad_text("JSON that ends early", "invalid_json", None, '{"type": "hello"'),
            bad_text("a list", "unknown_type", "type", "[]"),
            bad_text("a number", "unknown_type", "type", "1"),
            bad_text("null", "unknown_type", "type", "null"),
            bad_text("no type", "unknown_type", "type", "{}"),
            bad_text("a type that nobody knows", "unknown_type", "type", '{"type": "dance"}'),
            bad_text("a type of the wrong type", "unknown_type", "type", '{"type": 3}'),
            bad_text("a server's message", "unknown_type", "type", '{"type": "paused"}'),
            bad_text("a field that nobody knows", "invalid_message", "promt", '{"type": "hello", "promt": "x"}'),
            bad_text("an unknown role", "invalid_message", "role", '{"type": "hello", "role": "admin"}'),
            bad_text("an unknown codec", "invalid_message", "codec", '{"type": "hello", "codec": "gif"}'),
            bad_text(
                "a session name with a slash", "invalid_message", "session", '{"type": "hello", "session": "a/b"}'
            ),
            bad_text("an empty session name", "invalid_message", "session", '{"type": "hello", "session": ""}'),
            bad_text(
                "a session name over 64 characters",
                "invalid_message",
                "session",
                json.dumps({"type": "hello", "session": "a" * 65}),
            ),
            bad_text("settings that are no object", "invalid_message", "settings", '{"type": "hello", "settings": 1}'),
            bad_text("an update without settings", "invalid_message", "settings", '{"type": "update"}'),
            bad_text("a reformat without a format", "invalid_message", "format", '{"type": "reformat"}'),
            bad_text("a switch without a model", "invalid_message", "model", '{"type": "switch"}'),
            bad_text(
                "a switch to a name over 256 characters",
                "invalid_message",
                "model",
                json.dumps({"type": "switch", "model": "m" * 257}),
            ),
            bad_text(
                "a switch with LoRAs that are no list",
                "invalid_message",
                "loras",
                '{"type": "switch", "model": "tiny", "loras": "papercut"}',
            ),
            bad_text(
                "a ref over 64 characters", "invalid_message", "ref", json.dumps({"type": "pause", "ref": "r" * 65})
            ),
            bad_text("an ack without seq", "invalid_message", "seq", '{"type": "ack"}'),
            bad_text("an ack below 0", "invalid_message", "seq", '{"type": "ack", "seq": -1}'),
            bad_text("an ack over 32 bits", "invalid_message", "seq", '{"type": "ack", "seq": 4294967296}'),
            bad_text("an ack of a fraction", "invalid_message", "seq", '{"type": "ack", "seq": 1.5}'),
        ],
    }


def server_messages() -> dict[str, Any]:
    limits = {"max_message_bytes": 2097152, "max_pixels": 4000000, "credits": 2, "resume_seconds": 30.0}
    welcome = {
        "type": "welcome",
        "protocol": "streamgen.v1",
        "session": "cam",
        "role": "publish",
        "resume": "token",
        "resumed": False,
        "model": "tiny",
        "styles": ["pencil sketch", "oil painting"],
        "unused": ["guidance", "negative_prompt"],
        "loras": {"papercut": 1.0},
        "models": ["tiny", "stabilityai/sd-turbo"],
        "format": FORMAT,
        "settings": SETTINGS,
        "rev": 4,
        "limits": limits,
        "ref": None,
    }
    return {
        "valid": [
            said("a publisher's welcome", welcome),
            said("a viewer's welcome", {**welcome, "role": "view", "resume": None}),
            said(
                "updated",
                {
                    "type": "updated",
                    "rev": 5,
                    "settings": SETTINGS,
                    "understood": 0.5,
                    "styles": {"ink": 0.67, "oil": 0.33},
                    "ref": "7",
                },
            ),
            said(
                "updated by a model that cannot tell",
                {"type": "updated", "rev": 1, "settings": SETTINGS, "understood": None, "styles": {}, "ref": None},
            ),
            said("reformatted", {"type": "reformatted", "format": FORMAT, "ref": "8"}),
            said("reformatted, as a viewer hears it", {"type": "reformatted", "format": FORMAT, "ref": None}),
            said(
                "switched",
                {
                    "type": "switched",
                    "model": "stabilityai/sd-turbo",
                    "styles": [],
                    "unused": ["feedback"],
                    "loras": {"papercut": 0.75},
                    "backend": "cuda-graph float16",
                    "device": "cuda",
                    "ref": "9",
                },
            ),
            said("ack", {"type": "ack", "seq": 3}),
            said("paused", {"type": "paused", "ref": "a"}),
            said("resumed", {"type": "resumed", "ref": None}),
            said("snapshot taken", {"type": "snapshot_taken", "seq": 9, "width": 512, "height": 256, "ref": "a"}),
            said(
                "stats",
                {
                    "type": "stats",
                    "frames_in": 100,
                    "frames_out": 90,
                    "drops": {"replaced": 10},
                    "stages": {"engine_ms": {"p50": 11.5, "p90": 14.25}},
                    "viewers": 1,
                    "backend": "openvino",
                    "ref": None,
                },
            ),
            said("a warning", {"type": "warning", "code": "worker_restarted", "message": "frames flow again"}),
            said(
                "an error",
                {
                    "type": "error",
                    "code": "invalid_settings",
                    "message": "steps: input should be less than or equal to 4, got 9",
                    "retryable": False,
                    "field": "steps",
                    "ref": "7",
                },
            ),
            said(
                "a model that this server has not",
                {
                    "type": "error",
                    "code": "unknown_model",
                    "message": "there is no model 'sdxl'; there are: tiny",
                    "retryable": False,
                    "field": "model",
                    "ref": "9",
                },
            ),
            said("bye", {"type": "bye", "reason": "session_ended"}),
        ],
        "invalid": [
            bad_text("no JSON", "invalid_json", None, "<html>"),
            bad_text("a client's message", "unknown_type", "type", '{"type": "hello"}'),
        ],
    }


def settings() -> dict[str, Any]:
    """Changes that are well-formed messages but no valid settings: the code and field of the error that answers."""
    return {
        "invalid": [
            {"name": "too many steps", "changes": {"steps": 9}, "code": "invalid_settings", "field": "steps"},
            {"name": "strength over 1", "changes": {"strength": 1.01}, "code": "invalid_settings", "field": "strength"},
            {"name": "a negative seed", "changes": {"seed": -1}, "code": "invalid_settings", "field": "seed"},
            {
                "name": "a prompt of 1,001",
                "changes": {"prompt": "x" * 1001},
                "code": "invalid_settings",
                "field": "prompt",
            },
            {
                "name": "a prompt that is no text",
                "changes": {"prompt": 3},
                "code": "invalid_settings",
                "field": "prompt",
            },
            {"name": "a frame rate of 0", "changes": {"max_fps": 0}, "code": "invalid_settings", "field": "max_fps"},
            {
                "name": "a source nobody knows",
                "changes": {"source": "film"},
                "code": "invalid_settings",
                "field": "source",
            },
            {"name": "a setting nobody knows", "changes": {"promt": "x"}, "code": "unknown_setting", "field": "promt"},
        ],
    }


def vectors() -> dict[str, Any]:
    return {
        "about": "Written by make_protocol.py. 'parse_only': packing gives other bytes. docs/protocol.md explains.",
        "subprotocol": "streamgen.v1",
        "header_bytes": 48,
        "max_pixels": 4_000_000,
        "max_message_bytes": 2 * 1024 * 1024,
        "credits": 2,
        "frames": frames(),
        "client_messages": client_messages(),
        "server_messages": server_messages(),
        "settings": settings(),
    }


if __name__ == "__main__":
    for target, content in ((TARGET, vectors()), (SCHEMA, protocol_schema())):
        target.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        print(f"wrote {target}")
