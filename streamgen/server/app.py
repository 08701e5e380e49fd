"""The server's routes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response, WebSocket
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse

from streamgen import __version__
from streamgen.config import ServerConfig
from streamgen.errors import AccessError, StreamgenError
from streamgen.protocol import protocol_schema
from streamgen.server.access import Access
from streamgen.server.addresses import AddressLimits
from streamgen.server.admin import add_admin
from streamgen.server.exposition import add_metrics
from streamgen.server.headers import SecurityHeaders
from streamgen.server.house import HELLO_TIMEOUT_S, REQUEST_TIMEOUT_S, House
from streamgen.server.loop_lag import watch_lag
from streamgen.server.metrics_port import MetricsPort
from streamgen.server.mjpeg import add_mjpeg
from streamgen.server.pages import Pages, web_root
from streamgen.server.picture import CodecPool
from streamgen.server.presets import Presets, add_presets
from streamgen.server.publish import Publications
from streamgen.server.recordings import Recordings, add_recordings
from streamgen.server.refusal import refusal
from streamgen.server.sessions import Sessions
from streamgen.server.startup import Startup
from streamgen.server.switching import ModelSwitch
from streamgen.server.token_route import add_tokens
from streamgen.server.tracing import traces_of
from streamgen.server.webrtc.door import add_webrtc
from streamgen.server.worker_link import WorkerLink
from streamgen.server.ws import Connection
from streamgen.settings import settings_schema

__all__ = ["create_app"]

_ABOUT = (
    "Pictures and settings travel over the WebSocket `/ws`, see docs/protocol.md. "
    "This page loads its script from a public CDN; `/openapi.json` is the same without it."
)


def create_app(
    config: ServerConfig,
    worker: WorkerLink,
    *,
    on_ready: Callable[[], None] | None = None,
    on_failed: Callable[[StreamgenError], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
    wall_clock: Callable[[], float] = time.time,
    hello_timeout_s: float = HELLO_TIMEOUT_S,
    request_timeout_s: float = REQUEST_TIMEOUT_S,
) -> FastAPI:
    """The application. Its lifespan starts ``worker`` in the background and stops it.

    Args:
        on_ready: called once the worker serves.
        on_failed: called with what kept it from starting; the pages are served nevertheless.
        clock: monotonic seconds.
        wall_clock: Unix seconds.
        hello_timeout_s: how long a connection may stay silent.
        request_timeout_s: how long an HTTP request may take to arrive.

    Raises:
        ConfigError: ``pages_missing`` or ``bad_publish``.
    """
    pool = CodecPool()
    startup = Startup(worker, on_ready, on_failed)
    traces = traces_of(config.traces)
    sessions = Sessions(config, worker, pool, clock, traces)
    switch = ModelSwitch(config.specs, worker, sessions)
    worker.on_restyled = switch.on_restyled
    worker.on_load = sessions.on_load
    limits = AddressLimits(config.address_connections, config.address_requests, config.address_failures, clock)
    access = _access(config, limits, wall_clock)
    timeouts = hello_timeout_s, request_timeout_s
    house = House(config, access, limits, worker, startup, sessions, switch, pool, clock, *timeouts)
    publications = Publications(config.publish, sessions, clock)
    recordings = Recordings(config.recordings, sessions, clock, everything=config.record is not None)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        startup.begin()
        publications.begin()
        lag = asyncio.get_running_loop().create_task(watch_lag(sessions.totals.loop_lag))
        try:
            yield
        finally:
            lag.cancel()
            sessions.shut_down()
            await publications.end()
            await recordings.end()
            if peers is not None:
                await peers.close()
            await startup.end()
            pool.close()
            await asyncio.to_thread(traces.end)

    app = FastAPI(title="streamgen", version=__version__, description=_ABOUT, lifespan=lifespan, redoc_url=None)
    app.state.house = house
    _allow_origins(app, config.origins)
    if config.metrics_port:
        app.add_middleware(MetricsPort, port=config.metrics_port)
    app.add_middleware(SecurityHeaders, origins=config.origins)
    _add_socket(app, house)
    peers = app.state.peers = add_webrtc(app, house)
    add_mjpeg(app, house)
    add_tokens(app, house, wall_clock)
    add_recordings(app, house, recordings)
    add_presets(app, house, Presets(config.presets))
    _add_health(app, worker)
    add_metrics(app, house)
    add_admin(app, house)
    _add_api(app, house)
    app.mount("/", Pages(directory=web_root(), html=True), name="pages")
    return app


def _access(config: ServerConfig, limits: AddressLimits, wall_clock: Callable[[], float]) -> Access:
    return Access(
        config.token,
        config.origins,
        former_tokens=config.former_tokens,
        public=config.insecure_public,
        limits=limits,
        wall_clock=wall_clock,
    )


def _allow_origins(app: FastAPI, origins: Iterable[str]) -> None:
    """Let pages elsewhere read the answers, which a browser asks the server about."""
    allowed = [origin.rstrip("/") for origin in origins]
    if allowed:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=allowed,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "If-Match"],
            expose_headers=["Location", "ETag", "Link"],
        )


def _add_socket(app: FastAPI, house: House) -> None:
    @app.websocket("/ws")
    async def socket(websocket: WebSocket) -> None:
        await Connection(websocket, house).run()


def _add_health(app: FastAPI, worker: WorkerLink) -> None:
    @app.get("/healthz", tags=["health"], summary="The process lives")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get(
        "/readyz",
        tags=["health"],
        summary="The worker serves frames",
        responses={503: {"description": "It is starting, restarting or has failed."}},
    )
    async def readyz(response: Response) -> dict[str, str]:
        if worker.ready:
            return {"status": "ready"}
        response.status_code = 503
        return {"status": "starting"}


def _add_api(app: FastAPI, house: House) -> None:
    @app.get("/api/v1/models", tags=["api"], summary="The model that is loaded")
    async def models(request: Request) -> Response:
        try:
            house.admit(request)
        except AccessError as error:
            return refusal(error)
        if not house.worker.ready:
            return JSONResponse({"models": []})
        info = house.worker.info
        loaded = {"name": info.model, "styles": info.styles, "backend": info.backend, "device": info.device}
        return JSONResponse({"models": [loaded]})

    @app.get("/api/v1/settings-schema", tags=["api"], summary="JSON Schema of the live settings and the format")
    async def settings() -> dict[str, Any]:
        return settings_schema()

    @app.get("/api/v1/protocol-schema", tags=["api"], summary="JSON Schema of every text message")
    async def protocol() -> dict[str, Any]:
        return protocol_schema()
