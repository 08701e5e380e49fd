"""``POST /api/v1/tokens``: whoever knows the server's token has short-lived ones signed, each for less than it."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response

from streamgen.errors import StreamgenError
from streamgen.server.house import House
from streamgen.server.refusal import refusal
from streamgen.server.request_body import read_body
from streamgen.tokens import TokenRequest, read_request

__all__ = ["add_tokens"]

_MAX_BODY = 16 * 1024


def add_tokens(app: FastAPI, house: House, wall_clock: Callable[[], float]) -> None:
    """Add the route. ``wall_clock`` gives Unix seconds."""

    @app.post(
        "/api/v1/tokens",
        tags=["api"],
        summary="Sign a token for one role, session, place and time; needs the server's own token",
        status_code=201,
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": TokenRequest.model_json_schema()}},
            }
        },
        responses=_RESPONSES,
    )
    async def tokens(request: Request) -> Response:
        try:
            house.admit(request).check("admin", None)
            claims = read_request(await read_body(request, _MAX_BODY)).claims(wall_clock())
            token = house.access.keys.mint(claims)
        except StreamgenError as error:
            return refusal(error)
        made = {"token": token, **claims.model_dump(mode="json")}
        return JSONResponse(made, 201, headers={"Cache-Control": "no-store"})


_RESPONSES: dict[int | str, dict[str, str]] = {
    201: {"description": "The token, with its claims."},
    400: {"description": "A claim that cannot be granted; `field` names it."},
    401: {"description": "The token is missing or wrong."},
    403: {"description": "A signed token signs no others, or the origin is not allowed."},
    409: {"description": "The server was started without a token, or with one too short to sign with."},
}
