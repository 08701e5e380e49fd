"""A typed error as the answer to an HTTP request."""

from __future__ import annotations

from typing import Literal

from fastapi.responses import JSONResponse

from streamgen.errors import StreamgenError
from streamgen.protocol import ErrorMessage
from streamgen.server.addresses import RETRY_S
from streamgen.server.dialogue import close_code

__all__ = ["refusal"]

_STATUS = {
    "unauthorised": 401,
    "token_expired": 401,
    "origin_not_allowed": 403,
    "token_scope": 403,
    "no_such_session": 404,
    "no_such_connection": 404,
    "no_output_yet": 404,
    "request_timeout": 408,
    "no_secret": 409,
    "publisher_exists": 409,
    "weak_secret": 409,
    "no_such_preset": 404,
    "not_recording": 404,
    "already_recording": 409,
    "etag_mismatch": 412,
    "sdp_too_large": 413,
    "body_too_large": 413,
    "unsupported_media_type": 415,
    "ice_restart_unsupported": 422,
    "etag_required": 428,
    "too_many_requests": 429,
    "header_too_large": 431,
    "server_full": 503,
    "queue_full": 503,
    "worker_not_ready": 503,
    "recording_failed": 507,
    "preset_failed": 507,
}
_RETRY_S = 2


def refusal(error: StreamgenError, challenge: Literal["Basic", "Bearer"] = "Bearer") -> JSONResponse:
    """The error message of streamgen.v1, with the close code that a WebSocket would end with; 400 unless its code says
    otherwise.

    Args:
        challenge: how to ask for the token. Either way of giving it is taken; players know ``Basic`` alone, and a
            browser asks its user for a password when it reads that.
    """
    body = ErrorMessage.of(error).model_dump() | {"close": close_code(error)}
    status = _STATUS.get(error.code, 400)
    headers = {
        401: {"WWW-Authenticate": f'{challenge} realm="streamgen"'},
        429: {"Retry-After": str(RETRY_S)},
        503: {"Retry-After": str(_RETRY_S)},
    }
    return JSONResponse(body, status, headers=headers.get(status))
