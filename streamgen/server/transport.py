"""uvicorn's WebSocket with two ends of its own: one that does not wait for the client, and one that is heard.

An ASGI application can only close a WebSocket behind what is already written. A client that stopped reading would keep
its connection, and the buffers with it, for as long as its TCP stack answers.
"""

from __future__ import annotations

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

__all__ = ["BoundedWebSocket"]

_ABORT_AFTER_S = 5.0
_LINGER_S = 1.0


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """Puts ``give_up(code, reason)`` into the connection's ``scope["state"]``.

    It writes a close frame behind what the client has not read, in case the client wakes up, and cuts the connection
    five seconds later in any case.
    """

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
