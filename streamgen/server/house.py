"""What every connection of one server shares."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import HTTPConnection

from streamgen.config import ServerConfig
from streamgen.server.access import Access, Grant
from streamgen.server.addresses import AddressLimits
from streamgen.server.picture import CodecPool
from streamgen.server.sessions import Sessions
from streamgen.server.startup import Startup
from streamgen.server.switching import ModelSwitch
from streamgen.server.worker_link import WorkerLink

__all__ = ["HELLO_TIMEOUT_S", "REQUEST_TIMEOUT_S", "House"]

HELLO_TIMEOUT_S = 10.0
REQUEST_TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True)
class House:
    """The parts a transport needs.

    Args:
        clock: monotonic seconds.
        hello_timeout_s: how long a connection may stay silent.
        request_timeout_s: how long an HTTP request may take to arrive.
    """

    config: ServerConfig
    access: Access
    limits: AddressLimits
    worker: WorkerLink
    startup: Startup
    sessions: Sessions
    switch: ModelSwitch
    pool: CodecPool
    clock: Callable[[], float] = time.monotonic
    hello_timeout_s: float = HELLO_TIMEOUT_S
    request_timeout_s: float = REQUEST_TIMEOUT_S

    def admit(self, request: HTTPConnection) -> Grant:
        """What a request or a WebSocket may do here.

        Raises:
            AccessError: it may not come in; see ``Access.check``.
        """
        address = "" if request.client is None else request.client.host
        return self.access.check(request.headers, request.scope.get("subprotocols", ()), address)
