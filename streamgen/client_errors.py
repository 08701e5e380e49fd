"""What a server says no with, and what a caller got wrong, as typed errors of the Python SDK. No I/O."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from pydantic import ValidationError
from websockets.exceptions import ConnectionClosed

from streamgen.errors import (
    AccessError,
    BackendUnavailable,
    CodecError,
    ConfigError,
    ProtocolError,
    SessionError,
    SettingsError,
    StreamgenError,
    WeightsError,
    WorkerError,
)
from streamgen.protocol import Close, ErrorMessage
from streamgen.protocol_common import Message

__all__ = ["closed_by", "compose", "typed", "wire_values"]

_FINAL = frozenset(
    {Close.NORMAL, Close.PROTOCOL, Close.UNAUTHORISED, Close.ORIGIN, Close.IDLE, Close.PUBLISHER_EXISTS}
    | {Close.TOKEN_EXPIRED, Close.TOKEN_SCOPE}
)
"""Close codes after which the same connection would only fail again."""
_CLOSED: dict[int, tuple[str, type[StreamgenError]]] = {
    Close.NORMAL: ("closed", SessionError),
    Close.TOO_BIG: ("message_too_big", SessionError),
    Close.CAPACITY: ("server_full", SessionError),
    Close.PROTOCOL: ("not_understood", ProtocolError),
    Close.UNAUTHORISED: ("unauthorised", AccessError),
    Close.ORIGIN: ("origin_not_allowed", AccessError),
    Close.NO_SESSION: ("no_such_session", SessionError),
    Close.IDLE: ("idle", SessionError),
    Close.PUBLISHER_EXISTS: ("publisher_exists", SessionError),
    Close.SLOW: ("too_slow", SessionError),
    Close.TOKEN_EXPIRED: ("token_expired", AccessError),
    Close.TOKEN_SCOPE: ("token_scope", AccessError),
    Close.TOO_MANY: ("too_many_requests", AccessError),
    Close.DRAINING: ("shutting_down", SessionError),
}
_KINDS: dict[str, type[StreamgenError]] = {
    "unauthorised": AccessError,
    "origin_not_allowed": AccessError,
    "token_expired": AccessError,
    "token_scope": AccessError,
    "too_many_requests": AccessError,
    "unknown_setting": SettingsError,
    "invalid_settings": SettingsError,
    "prompt_refused": SettingsError,
    "undecodable": CodecError,
    "size_mismatch": CodecError,
    "bad_image": CodecError,
    "no_reference": SettingsError,
    "engine_failed": WorkerError,
    "worker_restarted": WorkerError,
    "worker_not_ready": WorkerError,
    "no_such_session": SessionError,
    "publisher_exists": SessionError,
    "not_publisher": SessionError,
    "bad_resume_token": SessionError,
    "server_full": SessionError,
    "queue_full": SessionError,
    "no_output_yet": SessionError,
    "too_many_updates": SessionError,
    "superseded": SessionError,
    "switch_pending": SessionError,
    "switch_failed": WorkerError,
    "worker_died": WorkerError,
    "unknown_model": ConfigError,
    "unknown_lora": ConfigError,
    "backend_unavailable": BackendUnavailable,
    "weights_missing": WeightsError,
    "weights_corrupt": WeightsError,
    "lora_unusable": WeightsError,
}
"""The same table is in web/js/errors.js; a test compares them. What is not in it is a ``ProtocolError``."""

_M = TypeVar("_M", bound=Message)


def typed(message: ErrorMessage) -> StreamgenError:
    """The error of a message."""
    kind = _KINDS.get(message.code, ProtocolError)
    return kind(message.code, message.message, field=message.field, retryable=message.retryable)


def closed_by(closed: ConnectionClosed, said: StreamgenError | None = None) -> StreamgenError:
    """Why a connection ended; ``retryable`` tells whether another one may do better.

    Args:
        said: what the server said of it before it closed.
    """
    received = closed.rcvd
    if received is None:
        return SessionError("connection_lost", "the connection was lost", retryable=True)
    code, kind = _CLOSED.get(received.code, ("connection_lost", SessionError))
    if said is not None and kind is AccessError:
        return said
    reason = received.reason or f"the server closed with code {received.code}"
    return kind(code, reason, retryable=received.code not in _FINAL)


def compose(kind: type[_M], **fields: Any) -> _M:
    """A message to the server.

    Raises:
        ProtocolError: ``invalid_message``, as the server would answer it, with ``field``.
    """
    try:
        return kind(**fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    name = ".".join(str(part) for part in first["loc"])
    fact = f"{name}: {first['msg'][0].lower()}{first['msg'][1:]}"
    raise ProtocolError("invalid_message", fact[:300], field=name[:100])


def wire_values(values: dict[str, Any]) -> dict[str, Any]:
    """Settings or a format as JSON can say them: numbers of numpy become Python's, tuples lists.

    Raises:
        SettingsError: ``invalid_settings``, with ``field``: JSON has no word for it. The server checks the ranges.
    """
    return {name: _wire_value(name, value) for name, value in values.items()}


def _wire_value(name: str, value: Any) -> Any:
    try:
        return json.loads(json.dumps(value, default=_as_json, allow_nan=False))
    except (TypeError, ValueError) as error:
        fact = f"{name}: a setting is text, a number, true, false or a list of these, got {type(value).__name__}"
        raise SettingsError("invalid_settings", f"{fact} ({error})", field=name) from None


def _as_json(value: Any) -> Any:
    """What ``json`` does not know: pydantic's models, and numbers and arrays of numpy."""
    for convert in ("model_dump", "tolist"):
        if hasattr(value, convert):
            return getattr(value, convert)()
    raise TypeError(f"JSON has no {type(value).__name__}")
