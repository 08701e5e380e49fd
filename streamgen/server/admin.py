"""What an operator asks of the server: which sessions there are, what one shows, and to end one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import JSONResponse

from streamgen.errors import SessionError, StreamgenError
from streamgen.server.house import House
from streamgen.server.overview import overview, thumbnail
from streamgen.server.refusal import refusal
from streamgen.server.session import Session

__all__ = ["add_admin"]

_FRESH = {"Cache-Control": "no-store"}


def add_admin(app: FastAPI, house: House) -> None:
    """Add the routes."""
    router = APIRouter(prefix="/api/v1/sessions", tags=["admin"])

    def guarded(answer: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def route(request: Request) -> Response:
            try:
                house.admit(request).check("admin", None)
                return await answer(request)
            except StreamgenError as error:
                return refusal(error)

        return route

    async def show_all(request: Request) -> Response:
        return JSONResponse(overview(house, prompts=request.query_params.get("prompts") == "1"), headers=_FRESH)

    async def show(request: Request) -> Response:
        newest = _named(house, request).newest
        if newest is None:
            raise SessionError("no_output_yet", "no frame has been computed yet", retryable=True)
        return Response(await house.pool.encode(thumbnail, newest.pixels), headers=_FRESH, media_type="image/jpeg")

    async def end(request: Request) -> Response:
        house.sessions.dismiss(_named(house, request))
        return Response(status_code=204)

    router.add_api_route("", guarded(show_all), summary="The live sessions; with ?prompts=1 also what people wrote")
    router.add_api_route("/{session}/snapshot", guarded(show), summary="A session's newest picture in small, JPEG")
    router.add_api_route("/{session}", guarded(end), methods=["DELETE"], summary="End a session for everybody in it")
    app.include_router(router)


def _named(house: House, request: Request) -> Session:
    """The session in the path.

    Raises:
        SessionError: ``no_such_session``.
    """
    name = request.path_params["session"]
    session = house.sessions.get(name)
    if session is None:
        raise SessionError("no_such_session", f"there is no session named {name[:80]!r}")
    return session
