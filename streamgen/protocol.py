"""streamgen.v1, sans-I/O: the control messages and the credit window. The binary half is ``wire.py``.

Text messages are JSON objects told apart by ``type``. Nothing here touches a socket: the caller passes in what it
received, sends what it gets back, and on an error sends ``ErrorMessage.of(error)`` and carries on.
``docs/protocol.md`` is the same thing in prose.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from streamgen.errors import ProtocolError, StreamgenError
from streamgen.settings import FrameFormat, StreamSettings
from streamgen.wire import MAX_PIXELS

__all__ = [
    "CREDITS",
    "MAX_MESSAGE_BYTES",
    "MAX_TEXT_CHARACTERS",
    "SUBPROTOCOL",
    "Ack",
    "Bye",
    "ClientMessage",
    "Close",
    "CreditWindow",
    "ErrorMessage",
    "Hello",
    "Limits",
    "Pause",
    "Paused",
    "Reformat",
    "Reformatted",
    "Resume",
    "Resumed",
    "ServerMessage",
    "Snapshot",
    "SnapshotTaken",
    "Stats",
    "StatsReport",
    "Switch",
    "Switched",
    "Update",
    "Updated",
    "WarningMessage",
    "Welcome",
    "parse_client_message",
    "parse_server_message",
    "protocol_schema",
]

SUBPROTOCOL = "streamgen.v1"
CREDITS = 2
"""Frames in flight each way: sent, and not yet acknowledged."""
MAX_MESSAGE_BYTES = 2 * 1024 * 1024
MAX_TEXT_CHARACTERS = 64 * 1024
"""Of one text message of a client."""


class Close(IntEnum):
    """WebSocket close codes in use."""

    NORMAL = 1000
    TOO_BIG = 1009
    CAPACITY = 1013
    PROTOCOL = 4400
    UNAUTHORISED = 4401
    ORIGIN = 4403
    NO_SESSION = 4404
    IDLE = 4408
    PUBLISHER_EXISTS = 4409
    SLOW = 4410
    DRAINING = 4503


SessionId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Ref = Annotated[str, Field(max_length=64)]


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def dump(self) -> str:
        """The JSON text to send."""
        return self.model_dump_json()


class _Request(_Message):
    ref: Ref | None = None
    """Chosen by the client; the answer to this message repeats it."""


class Hello(_Request):
    """First message of a client."""

    type: Literal["hello"] = "hello"
    role: Literal["publish", "view"] = "publish"
    session: SessionId | None = None
    """To publish: the name wanted, None for a random one. To view: the session to look at."""
    resume: Annotated[str, Field(max_length=128)] | None = None
    """The token from ``welcome``: take the session over as it was left."""
    format: dict[str, Any] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)
    codec: Literal["jpeg", "raw"] = "jpeg"
    """How outputs are to be encoded for this client."""
    client: Annotated[str, Field(max_length=100)] = ""


class Update(_Request):
    """Change live settings; those not named stay."""

    type: Literal["update"] = "update"
    settings: dict[str, Any]


class Reformat(_Request):
    """Make outputs of another size or fit; those fields not named stay. The old format goes on until it is ready."""

    type: Literal["reformat"] = "reformat"
    format: dict[str, Any]


class Switch(_Request):
    """Load another of the server's models, or this one with other LoRAs, for every session there is."""

    type: Literal["switch"] = "switch"
    model: Annotated[str, Field(max_length=256)]
    """One of ``welcome.models``."""
    loras: Annotated[tuple[Annotated[str, Field(max_length=64)], ...], Field(max_length=16)] | None = None
    """Which of the model's LoRAs to load, by name; None for all of them."""


class Pause(_Request):
    """Publisher: stop computing. Viewer: stop sending to me."""

    type: Literal["pause"] = "pause"


class Resume(_Request):
    """End a pause."""

    type: Literal["resume"] = "resume"


class Snapshot(_Request):
    """Send the newest output once, losslessly: ``snapshot_taken``, then a binary message of kind SNAPSHOT."""

    type: Literal["snapshot"] = "snapshot"


class Stats(_Request):
    """Ask for the counters of this session."""

    type: Literal["stats"] = "stats"


class Ack(_Message):
    """Every frame up to ``seq`` left the wire (server) or is on the screen (client). Gives its credit back."""

    type: Literal["ack"] = "ack"
    seq: int = Field(ge=0, le=0xFFFFFFFF)


class Bye(_Message):
    """The sender closes next and does not come back for this session."""

    type: Literal["bye"] = "bye"
    reason: str = ""


class Limits(_Message):
    """What the server holds a client to."""

    max_message_bytes: int = MAX_MESSAGE_BYTES
    max_pixels: int = MAX_PIXELS
    credits: int = CREDITS
    resume_seconds: float = 30.0


class Welcome(_Message):
    """Answer to ``hello``: from here on frames may be sent."""

    type: Literal["welcome"] = "welcome"
    protocol: Literal["streamgen.v1"] = "streamgen.v1"
    session: str
    role: Literal["publish", "view"]
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
    models: tuple[str, ...] = ()
    """What ``switch`` may name."""
    format: FrameFormat
    settings: StreamSettings
    rev: int
    limits: Limits = Limits()
    ref: str | None = None


class Updated(_Message):
    """The settings now in force; sent to the publisher and to every viewer of the session."""

    type: Literal["updated"] = "updated"
    rev: int
    settings: StreamSettings
    understood: float | None = None
    """0 to 1: how well the model knows the prompt; None when it cannot tell."""
    styles: dict[str, float] = Field(default_factory=dict)
    """The styles the prompt was read as, with weights that sum to 1."""
    ref: str | None = None


class Reformatted(_Message):
    """Outputs have this format from now on; sent to the publisher and to every viewer of the session."""

    type: Literal["reformatted"] = "reformatted"
    format: FrameFormat
    ref: str | None = None


class Switched(_Message):
    """Another model computes from now on; sent to everybody on the server. The fields are those of ``welcome``."""

    type: Literal["switched"] = "switched"
    model: str
    styles: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    loras: dict[str, float] = Field(default_factory=dict)
    backend: str
    device: str
    ref: str | None = None


class Paused(_Message):
    """Answer to ``pause``."""

    type: Literal["paused"] = "paused"
    ref: str | None = None


class Resumed(_Message):
    """Answer to ``resume``."""

    type: Literal["resumed"] = "resumed"
    ref: str | None = None


class SnapshotTaken(_Message):
    """The next binary message of kind SNAPSHOT answers this ``ref``."""

    type: Literal["snapshot_taken"] = "snapshot_taken"
    seq: int
    width: int
    height: int
    ref: str | None = None


class StatsReport(_Message):
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


class WarningMessage(_Message):
    """Something the client should know; the session goes on."""

    type: Literal["warning"] = "warning"
    code: str
    message: str


class ErrorMessage(_Message):
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


ClientMessage = Hello | Update | Reformat | Switch | Pause | Resume | Snapshot | Stats | Ack | Bye
ServerMessage = (
    Welcome
    | Updated
    | Reformatted
    | Switched
    | Paused
    | Resumed
    | SnapshotTaken
    | StatsReport
    | Ack
    | WarningMessage
    | ErrorMessage
    | Bye
)
_T = TypeVar("_T")
_CLIENT: TypeAdapter[ClientMessage] = TypeAdapter(Annotated[ClientMessage, Field(discriminator="type")])
_SERVER: TypeAdapter[ServerMessage] = TypeAdapter(Annotated[ServerMessage, Field(discriminator="type")])


def parse_client_message(text: str) -> ClientMessage:
    """Read one text message of a client.

    Raises:
        ProtocolError: ``message_too_long``, ``invalid_json``, ``unknown_type`` or ``invalid_message`` naming the field
            at fault.
    """
    if len(text) > MAX_TEXT_CHARACTERS:  # validating a long list of nonsense costs seconds
        raise ProtocolError("message_too_long", f"a text message has at most {MAX_TEXT_CHARACTERS} characters")
    return _parse(_CLIENT, text)


def parse_server_message(text: str) -> ServerMessage:
    """Read one text message of a server. Raises as ``parse_client_message``."""
    return _parse(_SERVER, text)


def _parse(adapter: TypeAdapter[_T], text: str) -> _T:
    try:
        return adapter.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
    if first["type"] == "json_invalid":
        raise ProtocolError("invalid_json", f"a text message must be JSON: {first['msg']}")
    if first["type"].startswith("union_tag") or not first["loc"]:
        raise ProtocolError("unknown_type", "the message has no known type", field="type")
    # loc[0] is the union's tag, which names the message and not the field.
    name = ".".join(str(part) for part in first["loc"][1:]) or "type"
    raise ProtocolError(
        "invalid_message", f"{name}: {first['msg'][0].lower()}{first['msg'][1:]}"[:300], field=name[:100]
    )


def protocol_schema() -> dict[str, Any]:
    """JSON Schema of every text message, both ways."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": SUBPROTOCOL,
        "client": _CLIENT.json_schema(),
        "server": _SERVER.json_schema(),
    }


class CreditWindow:
    """Counts frames in flight in one direction.

    Call ``sent(seq)`` for each frame sent while ``open``; call ``acknowledged(seq)`` for each ack received.
    """

    __slots__ = ("_in_flight", "_limit")

    def __init__(self, limit: int = CREDITS) -> None:
        self._limit = limit
        self._in_flight: deque[int] = deque()

    @property
    def open(self) -> bool:
        """True when another frame may be sent."""
        return len(self._in_flight) < self._limit

    @property
    def in_flight(self) -> int:
        """Frames sent and not yet acknowledged."""
        return len(self._in_flight)

    def sent(self, seq: int) -> None:
        """Take one credit for frame ``seq``."""
        self._in_flight.append(seq)

    def acknowledged(self, seq: int) -> None:
        """Give back the credits of ``seq`` and of every frame sent before it; an unknown ``seq`` gives back none."""
        if seq not in self._in_flight:
            return
        while self._in_flight.popleft() != seq:
            pass
