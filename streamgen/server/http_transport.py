"""uvicorn's HTTP, with bounds on what a request may be, and with two things that an endless response needs and ASGI has
no words for.

An application hands bytes over and does not learn when they left. A client that reads slowly would be sent what is old
by then, and one that stopped reading would keep its connection and the buffers with it, for as long as its TCP stack
answers.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from streamgen.errors import AccessError, ProtocolError, StreamgenError
from streamgen.server.addresses import RETRY_S
from streamgen.server.house import House
from streamgen.server.refusal import refusal

__all__ = ["MAX_HEAD_BYTES", "DirectHttp", "HouseConfig"]

MAX_HEAD_BYTES = 16 * 1024
"""Of a request's line and headers."""
_SLICE = 4096
_UNSENT_BYTES = 16_384


class HouseConfig(Config):
    """uvicorn's configuration, with what its connections need of ours."""

    house: House


class DirectHttp(H11Protocol):
    """Puts itself into ``scope["state"]`` of its requests, as ``connection``.

    A request whose head is too large is answered 431, one that does not arrive whole within
    ``House.request_timeout_s`` 408, and a connection too many from one address 429. Each ends the connection.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, {**app_state, "connection": self}, _loop)
        assert isinstance(config, HouseConfig)
        self._house = config.house
        self._counted = False
        self._deadline: asyncio.TimerHandle | None = None

    # ---------------------------------------------------------------------------------------------- bounds on requests

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._counted = self._house.limits.enter(_address(self.client))
        if not self._counted:
            fact = f"too many connections; come back in {RETRY_S} s"
            self._refuse(AccessError("too_many_requests", fact, retryable=True))
            return
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_expecting()
        if self._counted:
            self._house.limits.leave(_address(self.client))
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        # In slices, because h11 takes a head of any size that comes all at once.
        for at in range(0, len(data), _SLICE):
            if self.transport.is_closing():
                return
            part = data[at : at + _SLICE]
            receiver = self.transport.get_protocol()
            if receiver is self:
                super().data_received(part)
            else:  # an earlier slice asked for a WebSocket
                receiver.data_received(part)  # type: ignore[attr-defined]
        upgraded = self.transport.get_protocol() is not self
        if upgraded or self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._stop_expecting()
        elif self._deadline is None:
            self._expect_request()

    def send_400_response(self, msg: str) -> None:
        if len(self.conn.trailing_data[0]) > MAX_HEAD_BYTES:
            fact = f"a request's line and headers have at most {MAX_HEAD_BYTES} bytes"
            self._refuse(ProtocolError("header_too_large", fact))
        else:
            self._refuse(ProtocolError("bad_request", "this is no HTTP request"))

    def _expect_request(self) -> None:
        self._deadline = self.loop.call_later(self._house.request_timeout_s, self._give_up)

    def _stop_expecting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        fact = f"a request has to arrive within {self._house.request_timeout_s:g} s"
        self._refuse(ProtocolError("request_timeout", fact, retryable=True))

    def _refuse(self, error: StreamgenError) -> None:
        """Answer, unless an answer has begun, and close."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            answer = refusal(error)
            head = h11.Response(
                status_code=answer.status_code, headers=[*answer.raw_headers, (b"connection", b"close")]
            )
            for event in (head, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    # ---------------------------------------------------------------------------------------------- endless responses

    def hold_little(self) -> None:
        """From now on ``send`` waits until everything before it is with the kernel, and the kernel takes no more than
        the network is about to carry. Over TLS another 64 KiB may be on their way to the kernel."""
        # Not 0: under TLS asyncio takes an empty buffer for a full one then, and waits for ever.
        self.transport.set_write_buffer_limits(high=1, low=0)
        # Not on Windows; there the kernel holds a send buffer's worth of old pictures.
        option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
        if option is not None:
            self.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, option, _UNSENT_BYTES)

    def abort(self) -> None:
        """Cut the connection, whatever is unsent."""
        self.transport.abort()


def _address(client: tuple[str, int] | None) -> str:
    return "" if client is None else client[0]
