"""The body of a request: bounded while it is read, then validated."""

from __future__ import annotations

from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

from streamgen.errors import ProtocolError

__all__ = ["parse_body", "read_body"]

_Model = TypeVar("_Model", bound=BaseModel)


async def read_body(request: Request, limit: int) -> bytes:
    """A request's body.

    Raises:
        ProtocolError: ``body_too_large``, before more than ``limit`` bytes are held; ``body_incomplete`` when the
            client breaks off.
    """
    body = bytearray()
    try:
        async for part in request.stream():
            body += part
            if len(body) > limit:
                raise ProtocolError("body_too_large", f"a request has at most {limit} bytes")
    except ClientDisconnect:
        raise ProtocolError("body_incomplete", "the request broke off") from None
    return bytes(body)


def parse_body(kind: type[_Model], body: bytes) -> _Model:
    """What the JSON says.

    Raises:
        ProtocolError: ``invalid_json``, or ``invalid_message`` naming the field.
    """
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
    if first["type"] == "json_invalid":
        raise ProtocolError("invalid_json", "the body must be JSON")
    name = ".".join(str(part) for part in first["loc"]) or next(iter(kind.model_fields))
    raise ProtocolError("invalid_message", f"{name}: {first['msg']}"[:300], field=name[:100])
