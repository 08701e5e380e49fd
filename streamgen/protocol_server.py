"""What a server of streamgen.v1 says."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from streamgen.errors import StreamgenError
from streamgen.protocol_common import CREDITS, MAX_MESSAGE_BYTES, Ack, Bye, Message, Ping, Pong
from streamgen.settings import FrameFormat, StreamSettings
from streamgen.wire import MAX_PIXELS

__all__ = [
    "ErrorMessage",
    "Limits",
    "OutputSent",
    "Paused",
    "Queued",
    "Referenced",
    "Reformatted",
    "Restyled",
    "Resumed",
    "ServerMessage",
    "SnapshotTaken",
    "StatsReport",
    "Switched",
    "Updated",
    "WarningMessage",
    "Welcome",
]


class Limits(Message):
    """What the server holds a client to."""

    max_message_bytes: int = MAX_MESSAGE_BYTES
    max_pixels: int = MAX_PIXELS
    credits: int = CREDITS
    resume_seconds: float = 30.0


class Welcome(Message):
    """Answer to ``hello``: from here on frames may be sent."""

    type: Literal["welcome"] = "welcome"
    protocol: Literal["streamgen.v1"] = "streamgen.v1"
    session: str
    role: Literal["publish", "view", "control"]
    resume: str | None
    """Publisher only."""
    resumed: bool = False
    model: str
    styles: tuple[str, ...] = ()
    """Prompts the model is sure to know; () when it takes any text."""
    unused: tuple[str, ...] = ()
    """Settings that change nothing with this model."""
    loras: dict[str, float] = Field(default_factory=dict)
    """LoRAs whose weight may be set, with the weight each was loaded with."""
    reference: bool = False
    """Whether the model can be steered by a reference picture."""
    models: tuple[str, ...] = ()
    """What ``switch`` may name."""
    format: FrameFormat
    settings: StreamSettings
    rev: int
    limits: Limits = Limits()
    ref: str | None = None


class Queued(Message):
    """Answer to ``hello`` on a full server, and news whenever the position has changed; ``welcome`` follows."""

    type: Literal["queued"] = "queued"
    position: int
    """1 for the next one to be let in."""
    ref: str | None = None


class Updated(Message):
    """The settings now in force; sent to the publisher and to every viewer of the session."""

    type: Literal["updated"] = "updated"
    rev: int
    settings: StreamSettings
    understood: float | None = None
    """0 to 1: how well the model knows the prompt; None when it cannot tell."""
    styles: dict[str, float] = Field(default_factory=dict)
    """The styles the prompt was read as, with weights that sum to 1; the nearest where it was not understood."""
    ref: str | None = None


class Reformatted(Message):
    """Outputs have this format from now on; sent to the publisher and to every viewer of the session."""

    type: Literal["reformatted"] = "reformatted"
    format: FrameFormat
    ref: str | None = None


class Referenced(Message):
    """The reference picture is in force from the next frame on; sent to the publisher alone."""

    type: Literal["referenced"] = "referenced"
    ref: str | None = None


class Switched(Message):
    """Another model computes from now on; sent to everybody on the server. The fields are those of ``welcome``."""

    type: Literal["switched"] = "switched"
    model: str
    styles: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    loras: dict[str, float] = Field(default_factory=dict)
    reference: bool = False
    backend: str
    device: str
    ref: str | None = None


class Restyled(Message):
    """The styles that the model knows are others from now on; sent to everybody on the server."""

    type: Literal["restyled"] = "restyled"
    styles: tuple[str, ...]


class Paused(Message):
    """Answer to ``pause``."""

    type: Literal["paused"] = "paused"
    ref: str | None = None


class Resumed(Message):
    """Answer to ``resume``."""

    type: Literal["resumed"] = "resumed"
    ref: str | None = None


class SnapshotTaken(Message):
    """The next binary message of kind SNAPSHOT answers this ``ref``. A data channel carries it in several messages."""

    type: Literal["snapshot_taken"] = "snapshot_taken"
    seq: int
    width: int
    height: int
    bytes: int = 0
    """Of the binary message, or of all its parts together."""
    ref: str | None = None


class OutputSent(Message):
    """A frame of video was sent over WebRTC, where no header can travel with it."""

    type: Literal["output"] = "output"
    rtp_timestamp: int
    """Of its packets, 90 kHz, modulo 2^32."""
    seq: int
    source_seq: int
    settings_rev: int
    captured_us: int
    """The publisher's clock, Unix microseconds, as far as its sender reports tell; 0 before the first one."""
    queue_us: int
    engine_us: int
    encode_us: int
    flags: int = 0


class StatsReport(Message):
    """Counters since the session opened; milliseconds are medians and 90th percentiles of the last 300 frames."""

    type: Literal["stats"] = "stats"
    frames_in: int
    frames_out: int
    drops: dict[str, int]
    """By reason."""
    stages: dict[str, dict[str, float]]
    """``{"queued_ms": {"p50": ..., "p90": ...}, "engine_ms": ..., "encode_ms": ...}``."""
    viewers: int
    backend: str
    ref: str | None = None


class WarningMessage(Message):
    """Something the client should know; the session goes on."""

    type: Literal["warning"] = "warning"
    code: str
    message: str


class ErrorMessage(Message):
    """A request or frame was refused; the session goes on unless the server closes next."""

    type: Literal["error"] = "error"
    code: str
    message: str
    retryable: bool = False
    field: str | None = None
    ref: str | None = None

    @classmethod
    def of(cls, error: StreamgenError, ref: str | None = None) -> ErrorMessage:
        """The wire form of ``error``, in answer to the message that carried ``ref``."""
        return cls(code=error.code, message=error.message, retryable=error.retryable, field=error.field, ref=ref)


ServerMessage = (
    Welcome
    | Queued
    | Updated
    | Reformatted
    | Referenced
    | Switched
    | Restyled
    | Paused
    | Resumed
    | SnapshotTaken
    | OutputSent
    | StatsReport
    | Ack
    | Ping
    | Pong
    | WarningMessage
    | ErrorMessage
    | Bye
)
