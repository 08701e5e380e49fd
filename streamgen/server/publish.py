"""Sessions that go out to other servers and into files, for as long as the server runs: ``serve --publish``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from streamgen.errors import SessionError
from streamgen.logs import about
from streamgen.protocol import Hello
from streamgen.server.outbox import Delivery, End
from streamgen.server.publish_target import Target
from streamgen.server.publish_writer import Writer
from streamgen.server.session import Session
from streamgen.server.sessions import Sessions

__all__ = ["Publications"]

_LOG = logging.getLogger(__name__)
_RETRY_S = 1.0


class Publications:
    """One task for each target: it waits for its session, follows it as a viewer until it ends, and waits again.

    Args:
        targets: ``[SESSION=]URL`` each.
        clock: monotonic seconds.

    Raises:
        ConfigError: ``bad_publish`` for a target that cannot work.
    """

    def __init__(self, targets: Iterable[str], sessions: Sessions, clock: Callable[[], float]) -> None:
        self._targets = [Target.parse(text) for text in targets]
        for target in self._targets:
            target.check()
        self._sessions = sessions
        self._clock = clock
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self) -> None:
        """Start. Call ``end()`` before the event loop closes."""
        self._tasks = [asyncio.create_task(self._publish(target)) for target in self._targets]

    async def end(self) -> None:
        """Complete files, close connections. Takes seconds at most."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _publish(self, target: Target) -> None:
        while True:
            session = await self._sessions.appears(target.session)
            try:
                await self._follow(session, target)
            except SessionError:  # it is full, or has ended again
                await asyncio.sleep(_RETRY_S)
            except Exception:  # the transport edge: a defect must not end a publication for good
                _LOG.exception("publishing to %s failed", target.label, extra=about(session.name))
                await asyncio.sleep(_RETRY_S)

    async def _follow(self, session: Session, target: Target) -> None:
        outbox, joined = self._sessions.connect(), None
        writer = Writer(target, session.name, self._clock)
        writer.begin()
        try:
            joined = self._sessions.view(Hello(role="view", session=session.name), outbox)
            while not isinstance(item := await outbox.next(), End):
                if isinstance(item, Delivery):
                    writer.put(item.picture.output.pixels)
                    outbox.acknowledged(item.seq)
        finally:
            self._sessions.disconnect(outbox, joined)
            await asyncio.to_thread(writer.end)
