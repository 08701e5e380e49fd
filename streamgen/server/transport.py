"""uvicorn's WebSocket with two ends of its own, one that does not wait for the client and one that is heard, and with a
limit on what costs time without being a message.

An ASGI application can only close a WebSocket behind what is already written. A client that stopped reading would keep
its connection, and the buffers with it, for as long as its TCP stack answers.
"""

from __future__ import annotations

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

from streamgen.server.http_transport import HouseConfig

__all__ = ["BoundedWebSocket"]

_ABORT_AFTER_S = 5.0
_LINGER_S = 1.0
_SLICE = 4096
_EXTRAS_PER_SECOND = 1000
"""Pings and fragments. Parsing them is work for the event loop that every session shares."""


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """Puts ``give_up(code, reason)`` into the connection's ``scope["state"]``.

    It writes a close frame behind what the client has not read, in case the client wakes up, and cuts the connection
    five seconds later in any case.
    """

    _extras = 0
    _extras_since_s = 0.0

    def data_received(self, data: bytes) -> None:
        # In slices, because everything handed over at once is parsed before anything is counted.
        for at in range(0, len(data), _SLICE):
            if self.transport.is_closing():
                return
            super().data_received(data[at : at + _SLICE])

    def handle_ping(self) -> None:
        if self._count_extra():
            super().handle_ping()

    def handle_cont(self, event: Frame) -> None:
        if self._count_extra():
            super().handle_cont(event)

    def _count_extra(self) -> bool:
        """Count a ping or a fragment; False when there are too many, and the connection is cut."""
        now_s = self.loop.time()
        if now_s - self._extras_since_s >= 1.0:
            self._extras, self._extras_since_s = 0, now_s
        self._extras += 1
        if self._extras <= _EXTRAS_PER_SECOND:
            return True
        self.transport.abort()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        # Counted when it was an HTTP connection still, which never hears of its end.
        assert isinstance(self.config, HouseConfig)
        self.config.house.limits.leave("" if self.client is None else self.client[0])
        super().connection_lost(exc)

    async def run_asgi(self) -> None:
        self.scope["state"]["give_up"] = self.give_up
        await super().run_asgi()

    def give_up(self, code: int, reason: str) -> None:
        if self.close_sent or self.transport.is_closing():
            return
        self.conn.send_close(code, reason)
        self.close_sent = True
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.transport.close()
        self.loop.call_later(_ABORT_AFTER_S, self.transport.abort)

    def handle_parser_exception(self) -> None:
        """Say why (a message over the limit: 1009), then keep reading for a second: closing a socket with unread data
        resets the connection, and the client would never see the close frame."""
        if self.close_sent:
            return
        assert self.conn.close_sent is not None
        closed = self.conn.close_sent
        self.queue.put_nowait({"type": "websocket.disconnect", "code": closed.code, "reason": closed.reason})
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.transport.resume_reading()
        self.close_timer = self.loop.call_later(_LINGER_S, self.transport.close)
