"""Run the server until it is told to stop."""

from __future__ import annotations

import errno
import logging
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from types import FrameType
from urllib.parse import quote

import uvicorn

from streamgen.config import ServerConfig
from streamgen.errors import ConfigError, PortInUse, StreamgenError
from streamgen.protocol import MAX_MESSAGE_BYTES
from streamgen.server.access import is_loopback
from streamgen.server.app import create_app
from streamgen.server.fleet import Fleet
from streamgen.server.house import HELLO_TIMEOUT_S, REQUEST_TIMEOUT_S, House
from streamgen.server.http_transport import DirectHttp, HouseConfig
from streamgen.server.pool import Worker
from streamgen.server.tls import Certificate, certificate_of
from streamgen.server.transport import BoundedWebSocket
from streamgen.server.worker_link import WorkerLink

__all__ = ["Server", "bind", "serve", "server_for", "worker_for"]

_LOG = logging.getLogger(__name__)
_GRACE_S = 3
_FAREWELL_S = 1.0


class Server(uvicorn.Server):
    """uvicorn, saying goodbye in the protocol's own words before it closes connections."""

    house: House
    certificate: Certificate | None = None
    failure: StreamgenError | None = None

    def fail(self, error: StreamgenError) -> None:
        """Stop, because the worker could not start."""
        self.failure = error
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.house.worker.expect_end()
        await self.house.sessions.farewell(_FAREWELL_S)
        await super().shutdown(sockets)


def serve(config: ServerConfig) -> int:
    """Serve until SIGINT or SIGTERM, and return the exit code 0.

    Raises:
        ConfigError: ``not_loopback`` for an address other machines can reach without a token; ``bad_publish``;
            ``bad_certificate``.
        PortInUse: another program listens on the address.
        StreamgenError: what kept the worker from starting.
    """
    with ExitStack() as stack:
        listener = stack.enter_context(bind(config))
        listeners = [listener]
        if config.metrics_port:
            listeners.append(stack.enter_context(bind(config, config.metrics_port, "--metrics-port")))
        host, port = listener.getsockname()[:2]
        url = f"{'https' if config.tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}/"
        if config.token:
            url += f"#token={quote(config.token, safe='')}"
        worker = worker_for(config)
        server = server_for(config, worker, url=url)
        worker.on_given_up = server.fail
        _tell_start(config, url, "" if server.certificate is None else server.certificate.fingerprint)
        with _planned_stops():
            server.run(sockets=listeners)
    if server.failure is not None:
        raise server.failure
    return 0


def worker_for(config: ServerConfig) -> Worker | Fleet:
    """A worker for each device that was asked for."""
    if not config.devices:
        return Worker(config)
    return Fleet([Worker(replace(config, device=device)) for device in config.devices])


def server_for(
    config: ServerConfig,
    worker: WorkerLink,
    *,
    url: str = "",
    clock: Callable[[], float] = time.monotonic,
    wall_clock: Callable[[], float] = time.time,
    hello_timeout_s: float = HELLO_TIMEOUT_S,
    request_timeout_s: float = REQUEST_TIMEOUT_S,
) -> Server:
    """A server that is ready to run. ``url`` is announced once the worker serves.

    Raises:
        ConfigError: ``bad_certificate``, and what ``create_app`` raises.
    """
    certificate = certificate_of(config)

    def announce() -> None:
        if config.log_format == "json":
            _LOG.info("%s serves on %s", worker.info.model, worker.info.backend)
        elif url:
            print(_banner(url, worker.info.model, worker.info.backend), flush=True)

    def fail(error: StreamgenError) -> None:
        server.fail(error)

    app = create_app(
        config,
        worker,
        on_ready=announce,
        on_failed=fail,
        clock=clock,
        wall_clock=wall_clock,
        hello_timeout_s=hello_timeout_s,
        request_timeout_s=request_timeout_s,
    )
    uvicorn_config = HouseConfig(
        app,
        http=DirectHttp,
        ws=BoundedWebSocket,
        ws_max_size=MAX_MESSAGE_BYTES,
        # Pictures are compressed already; deflate would cost twenty times the round trip.
        ws_per_message_deflate=False,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=_GRACE_S,
        ssl_context_factory=None if certificate is None else lambda _config, _default: certificate.context,
    )
    uvicorn_config.house = app.state.house
    server = Server(uvicorn_config)
    server.house, server.certificate = app.state.house, certificate
    return server


def bind(config: ServerConfig, port: int | None = None, option: str = "--port (make run PORT=...)") -> socket.socket:
    """Listen on the configured address.

    Args:
        port: instead of the configuration's.
        option: that names another one.

    Raises:
        ConfigError: ``not_loopback``, ``bad_address``.
        PortInUse: another program listens there.
    """
    if not config.token and not config.insecure_public and not is_loopback(config.host):
        raise ConfigError(
            "not_loopback",
            f"host must be a loopback address such as 127.0.0.1, got {config.host!r}: without an access token "
            "(--token) anyone in the network could use the server; --insecure-public allows that",
            field="host",
        )
    port = config.port if port is None else port
    if not 0 <= port <= 65535:
        # getaddrinfo would quietly take the lower 16 bits.
        raise ConfigError("bad_address", f"port must be 0 to 65535, got {port}", field="port")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(config.host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise ConfigError("bad_address", f"cannot listen on {config.host}:{port}: {error}", field="host") from None
    listener = socket.socket(family, kind, protocol)
    if sys.platform != "win32":
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(
                "port_in_use",
                f"port {port} is in use by another program; choose another with {option}",
                field="port",
            ) from None
        raise ConfigError("bad_address", f"cannot listen on {config.host}:{port}: {error}", field="port") from None
    return listener


def _tell_start(config: ServerConfig, url: str, fingerprint: str) -> None:
    """Where the server will be found: for whoever started it, or into the log. Without the token there, because logs
    are kept, and sent elsewhere."""
    if config.log_format == "text":
        print(f"streamgen loads {config.model} ... the page is at {url}", flush=True)
        if fingerprint:
            print(f"its certificate's SHA-256 fingerprint: {fingerprint}", flush=True)
    else:
        _LOG.info("loading %s; the page is at %s", config.model, url.partition("#")[0])
        if fingerprint:
            _LOG.info("its certificate's SHA-256 fingerprint: %s", fingerprint)
    if config.insecure_public and not config.token:
        _LOG.warning("anyone who reaches this address may use the server and see its sessions")


def _banner(url: str, model: str, backend: str) -> str:
    line = f"streamgen is ready:  {url}"
    return "\n".join(
        (
            "",
            "=" * (len(line) + 6),
            f"   {line}",
            f"   {model} on {backend}, Ctrl+C stops it",
            "=" * (len(line) + 6),
            "",
        )
    )


@contextmanager
def _planned_stops() -> Iterator[None]:
    """uvicorn shuts down on a signal and then raises it once more, which would end the process as if it had failed."""
    former = {number: signal.signal(number, _already_handled) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _already_handled(number: int, frame: FrameType | None) -> None:
    """The server has shut down in answer to this signal already."""
