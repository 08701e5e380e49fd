"""A server with a real clock, and peers that are closed in the end."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.server.conftest import Running, running
from tests.server.webrtc.peers import RtcPeer


@pytest.fixture
async def server() -> AsyncIterator[Running]:
    async with running(clock=time.monotonic) as made:
        yield made


@pytest.fixture
async def peer(server: Running) -> AsyncIterator[Callable[..., RtcPeer]]:
    made: list[RtcPeer] = []

    def make(*arguments: Any, **options: Any) -> RtcPeer:
        made.append(RtcPeer(options.pop("server", server), *arguments, **options))
        return made[-1]

    yield make
    for each in made:
        await each.close()
