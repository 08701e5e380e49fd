"""How late the event loop is: what every message and every picture waits for at least."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from streamgen.metrics import Histogram

__all__ = ["watch_lag"]

_EVERY_S = 0.25


async def watch_lag(
    into: Histogram,
    clock: Callable[[], float] = time.monotonic,  # uvloop's own counts whole milliseconds
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Ask to be woken four times a second, and count by how much that comes too late. Runs until it is cancelled."""
    while True:
        due_s = clock() + _EVERY_S
        await sleep(_EVERY_S)
        into.observe(max(0.0, clock() - due_s))
