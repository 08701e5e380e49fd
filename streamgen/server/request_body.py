"""The body of a request, within bounds."""

from __future__ import annotations

from fastapi import Request
from starlette.requests import ClientDisconnect

from streamgen.errors import ProtocolError

__all__ = ["read_body"]


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
