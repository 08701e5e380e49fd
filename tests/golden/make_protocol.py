"""Write protocol.json, the vectors that the Python and the JavaScript implementation of streamgen.v1 both pass, and
docs/protocol.schema.json.

Run ``python -m tests.golden.make_protocol`` after a change of the protocol.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from streamgen.protocol import protocol_schema
from tests.golden.binary import frames

TARGET = Path(__file__).with_name("protocol.json")
SCHEMA = Path(__file__).parents[2] / "docs" / "protocol.schema.json"
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
    "alpha": True,
    "matte": "background",
    "key_colour": "#00b140",
    "key_similarity": 0.35,
    "key_smoothness": 0.15,
    "transition_ms": 0,
    "max_fps": 60,
    "quality": 90,
    "video_bitrate_kbps": 2500,
    "video_codec": "h264",
    "audio_sync": True,
}
FORMAT = {"width": 512, "height": 256, "fit": "contain", "upscale": 2}
IMAGE = (
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAFA3PEY8MlBGQUZaVVBfeMiCeG5uePWvuZHI////////////////////////////////////////////////"
    "////wAALCAAQABABAREA/8QAFAABAAAAAAAAAAAAAAAAAAAAAP/EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAIAQEAAD8AAP/Z"
)
"""16x16 grey pixels."""


def valid_text(name: str, text: str, message: dict[str, Any]) -> dict[str, Any]:
    """``message``: the fields that must come out, defaults filled in."""
    return {"name": name, "text": text, "message": message}


def said(name: str, message: dict[str, Any], **filled_in: Any) -> dict[str, Any]:
    return valid_text(name, json.dumps(message), {**message, **filled_in})


def bad_text(name: str, code: str, field: str | None, text: str) -> dict[str, Any]:
    return {"name": name, "text": text, "code": code, "field": field}


OUTPUT = {
    "rtp_timestamp": 4294967295,
    "seq": 9,
    "source_seq": 11,
    "settings_rev": 2,
    "captured_us": 1780000000000000,
    "queue_us": 1500,
    "engine_us": 20000,
    "encode_us": 2500,
}


def client_messages() -> dict[str, Any]:
    hello_defaults = {
        "ref": None,
        "role": "publish",
        "session": None,
        "resume": None,
        "format": {},
        "settings": {},
        "codec": "jpeg",
        "alpha": False,
        "client": "",
        "queue": False,
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
                    "alpha": True,
                    "client": "streamgen-js/0.1.0",
                    "queue": True,
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
            said("a reference picture", {"type": "reference", "ref": "p", "image": IMAGE}),
            said("no reference picture any more", {"type": "reference", "image": None}, ref=None),
            said("a switch", {"type": "switch", "ref": "9", "model": "tiny", "loras": ["papercut", "pixel_art"]}),
            said("a switch with all LoRAs", {"type": "switch", "model": "stabilityai/sd-turbo"}, ref=None, loras=None),
            said("a switch without LoRAs", {"type": "switch", "model": "tiny", "loras": []}, ref=None),
            said("pause", {"type": "pause"}, ref=None),
            said("resume", {"type": "resume", "ref": "a"}),
            said("snapshot", {"type": "snapshot", "ref": "a"}),
            said("stats", {"type": "stats"}, ref=None),
            said("the first ack", {"type": "ack", "seq": 0}),
            said("the last ack", {"type": "ack", "seq": 4294967295}),
            said("ping", {"type": "ping", "id": "17"}),
            said("pong", {"type": "pong"}, id=""),
            said("bye", {"type": "bye"}, reason="", code=None),
            said("bye with a reason", {"type": "bye", "reason": "closed by the user"}, code=None),
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
            bad_text("a reference without a picture", "invalid_message", "image", '{"type": "reference", "ref": "p"}'),
            bad_text(
                "a picture that is no text", "invalid_message", "image", '{"type": "reference", "image": [255, 216]}'
            ),
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
        "reference": False,
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
            said("the welcome of a model that takes a reference picture", {**welcome, "reference": True}),
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
            said("referenced", {"type": "referenced", "ref": "p"}),
            said(
                "switched",
                {
                    "type": "switched",
                    "model": "stabilityai/sd-turbo",
                    "styles": [],
                    "unused": ["feedback"],
                    "loras": {"papercut": 0.75},
                    "reference": True,
                    "backend": "cuda-graph float16",
                    "device": "cuda",
                    "ref": "9",
                },
            ),
            said("queued", {"type": "queued", "position": 2, "ref": "h1"}),
            said("restyled", {"type": "restyled", "styles": ["ink", "my aunt"]}),
            said("ack", {"type": "ack", "seq": 3}),
            said("paused", {"type": "paused", "ref": "a"}),
            said("resumed", {"type": "resumed", "ref": None}),
            said(
                "snapshot taken",
                {"type": "snapshot_taken", "seq": 9, "width": 512, "height": 256, "bytes": 70_000, "ref": "a"},
            ),
            said("a frame of video sent", {"type": "output", **OUTPUT}, flags=0),
            said("ping", {"type": "ping", "id": "a"}),
            said("pong", {"type": "pong", "id": "17"}),
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
            said(
                "a picture that cannot be read",
                {
                    "type": "error",
                    "code": "bad_image",
                    "message": "the reference picture is no base64: incorrect padding",
                    "retryable": False,
                    "field": "image",
                    "ref": "p",
                },
            ),
            said("bye", {"type": "bye", "reason": "session_ended"}, code=None),
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
            {
                "name": "a key colour by name",
                "changes": {"key_colour": "green"},
                "code": "invalid_settings",
                "field": "key_colour",
            },
            {
                "name": "a key that takes everything and more",
                "changes": {"key_similarity": 1.5},
                "code": "invalid_settings",
                "field": "key_similarity",
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
