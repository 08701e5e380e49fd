"""uvicorn's HTTP, with two things that an endless response needs and ASGI has no words for.

An application hands bytes over and does not learn when they left. A client that reads slowly would be sent what is old
by then, and one that stopped reading would keep its connection and the buffers with it, for as long as its TCP stack
answers.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

__all__ = ["DirectHttp"]

_UNSENT_BYTES = 16_384


class DirectHttp(H11Protocol):
    """Puts itself into ``scope["state"]`` of its requests, as ``connection``."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, {**app_state, "connection": self}, _loop)

    def hold_little(self) -> None:
        """From now on ``send`` waits until everything before it is with the kernel, and the kernel takes no more than
        the network is about to carry."""
        self.transport.set_write_buffer_limits(high=0)
        # Not on Windows; there the kernel holds a send buffer's worth of old pictures.
        option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
        if option is not None:
            self.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, option, _UNSENT_BYTES)

    def abort(self) -> None:
        """Cut the connection, whatever is unsent."""
        self.transport.abort()
