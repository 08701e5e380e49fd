"""What a client of streamgen.v1 says."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from streamgen.protocol_common import Ack, Bye, Message, Ping, Pong, Ref, SessionId

__all__ = [
    "ClientMessage",
    "Hello",
    "Pause",
    "Reference",
    "Reformat",
    "Resume",
    "Snapshot",
    "Stats",
    "Switch",
    "Update",
]


class Request(Message):
    """A message that is answered."""

    ref: Ref | None = None
    """Chosen by the client; the answer to this message repeats it."""


class Hello(Request):
    """First message of a client."""

    type: Literal["hello"] = "hello"
    role: Literal["publish", "view", "control"] = "publish"
    """``control`` looks at a session as a viewer does, and may change it as its publisher may: for a publisher that
    speaks no streamgen.v1, such as OBS."""
    session: SessionId | None = None
    """To publish: the name wanted, None for a random one. Otherwise the session that is meant."""
    resume: Annotated[str, Field(max_length=128)] | None = None
    """The token from ``welcome``: take the session over as it was left."""
    format: dict[str, Any] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)
    codec: Literal["jpeg", "raw"] = "jpeg"
    """How outputs are to be encoded for this client."""
    alpha: bool = False
    """Whether the client can unpack outputs with alpha; to others they come without it."""
    client: Annotated[str, Field(max_length=100)] = ""
    queue: bool = False
    """To publish over a WebSocket: whether to wait for a place on a full server, hearing ``queued`` meanwhile."""


class Update(Request):
    """Change live settings; those not named stay."""

    type: Literal["update"] = "update"
    settings: dict[str, Any]


class Reformat(Request):
    """Make outputs of another size or fit; those fields not named stay. The old format goes on until it is ready."""

    type: Literal["reformat"] = "reformat"
    format: dict[str, Any]


class Reference(Request):
    """Steer by another reference picture from the next frame on, or by none."""

    type: Literal["reference"] = "reference"
    image: str | None
    """A JPEG in base64, with sides of 16 to 1024 pixels; None takes the present picture away."""


class Switch(Request):
    """Load another of the server's models, or this one with other LoRAs, for every session there is."""

    type: Literal["switch"] = "switch"
    model: Annotated[str, Field(max_length=256)]
    """One of ``welcome.models``."""
    loras: Annotated[tuple[Annotated[str, Field(max_length=64)], ...], Field(max_length=16)] | None = None
    """Which of the model's LoRAs to load, by name; None for all of them."""


class Pause(Request):
    """Publisher: stop computing. Viewer: stop sending to me."""

    type: Literal["pause"] = "pause"


class Resume(Request):
    """End a pause."""

    type: Literal["resume"] = "resume"


class Snapshot(Request):
    """Send the newest output once, losslessly: ``snapshot_taken``, then a binary message of kind SNAPSHOT."""

    type: Literal["snapshot"] = "snapshot"


class Stats(Request):
    """Ask for the counters of this session."""

    type: Literal["stats"] = "stats"


ClientMessage = (
    Hello | Update | Reformat | Reference | Switch | Pause | Resume | Snapshot | Stats | Ack | Ping | Pong | Bye
)
