"""What every connection of one server shares."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from streamgen.config import ServerConfig
from streamgen.server.access import Access
from streamgen.server.picture import CodecPool
from streamgen.server.sessions import Sessions
from streamgen.server.startup import Startup
from streamgen.server.switching import ModelSwitch
from streamgen.server.worker_link import WorkerLink

__all__ = ["HELLO_TIMEOUT_S", "House"]

HELLO_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class House:
    """The parts a transport needs.

    Args:
        clock: monotonic seconds.
        hello_timeout_s: how long a connection may stay silent.
    """

    config: ServerConfig
    access: Access
    worker: WorkerLink
    startup: Startup
    sessions: Sessions
    switch: ModelSwitch
    pool: CodecPool
    clock: Callable[[], float] = time.monotonic
    hello_timeout_s: float = HELLO_TIMEOUT_S
