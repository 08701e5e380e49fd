"""What both sides of streamgen.v1 share: its limits, its close codes, and the messages that either may send."""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "CREDITS",
    "MAX_MESSAGE_BYTES",
    "MAX_TEXT_CHARACTERS",
    "SUBPROTOCOL",
    "Ack",
    "Bye",
    "Close",
    "Message",
    "Ping",
    "Pong",
    "Ref",
    "SessionId",
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
    TOKEN_EXPIRED = 4411
    TOKEN_SCOPE = 4412
    TOO_MANY = 4429
    DRAINING = 4503


SessionId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Ref = Annotated[str, Field(max_length=64)]


class Message(BaseModel):
    """Frozen, and strict about names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def dump(self) -> str:
        """The JSON text to send."""
        return self.model_dump_json()


class Ack(Message):
    """Every frame up to ``seq`` left the wire (server) or is on the screen (client). Gives its credit back."""

    type: Literal["ack"] = "ack"
    seq: int = Field(ge=0, le=0xFFFFFFFF)


class Bye(Message):
    """The sender closes next and does not come back for this session."""

    type: Literal["bye"] = "bye"
    reason: str = ""
    code: int | None = None
    """The close code, where the transport has none of its own: a data channel."""


class Ping(Message):
    """Answered with ``pong``. Over WebRTC either side sends one a second; three seconds of silence are death."""

    type: Literal["ping"] = "ping"
    id: Annotated[str, Field(max_length=64)] = ""


class Pong(Message):
    """Answer to ``ping``."""

    type: Literal["pong"] = "pong"
    id: Annotated[str, Field(max_length=64)] = ""
