"""A port of its own for the metrics, so that a firewall can let the monitoring in and nobody else."""

from __future__ import annotations

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from streamgen.server.exposition import METRICS_PATH

__all__ = ["MetricsPort"]


class MetricsPort:
    """ASGI middleware: the metrics are found at ``port`` alone, and nothing else is found there.

    Args:
        app: what is behind it.
        port: that the server listens on beside its own.
    """

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app = app
        self._port = port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        # What the socket is bound to, not what the client says in ``Host``.
        there = scope["server"][1] == self._port
        if there == (scope["type"] == "http" and scope["path"] == METRICS_PATH):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose()(scope, receive, send)
        else:
            await PlainTextResponse("Not Found", 404)(scope, receive, send)
