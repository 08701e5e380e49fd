"""streamgen.v1, sans-I/O: the control messages and the credit window. The binary half is ``wire.py``; the messages
live in ``protocol_client.py``, ``protocol_server.py`` and ``protocol_common.py``, and all are to be had here.

Text messages are JSON objects told apart by ``type``. Nothing here touches a socket: the caller passes in what it
received, sends what it gets back, and on an error sends ``ErrorMessage.of(error)`` and carries on.
``docs/protocol.md`` is the same thing in prose.
"""

from __future__ import annotations

from collections import deque
from typing import Annotated, Any, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from streamgen.errors import ProtocolError
from streamgen.protocol_client import (
    ClientMessage,
    Hello,
    Pause,
    Reference,
    Reformat,
    Resume,
    Snapshot,
    Stats,
    Switch,
    Update,
)
from streamgen.protocol_common import (
    CREDITS,
    MAX_MESSAGE_BYTES,
    MAX_TEXT_CHARACTERS,
    SUBPROTOCOL,
    Ack,
    Bye,
    Close,
    Ping,
    Pong,
)
from streamgen.protocol_server import (
    ErrorMessage,
    Limits,
    OutputSent,
    Paused,
    Queued,
    Referenced,
    Reformatted,
    Restyled,
    Resumed,
    ServerMessage,
    SnapshotTaken,
    StatsReport,
    Switched,
    Updated,
    WarningMessage,
    Welcome,
)

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
    "OutputSent",
    "Pause",
    "Paused",
    "Ping",
    "Pong",
    "Queued",
    "Reference",
    "Referenced",
    "Reformat",
    "Reformatted",
    "Restyled",
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
