"""A publisher's frames between socket and worker: one is being decoded, the newest waits, others are dropped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from streamgen.codec import decode
from streamgen.errors import StreamgenError
from streamgen.frames import Frame, Pixels
from streamgen.server.outbox import Outbox
from streamgen.server.picture import CodecPool
from streamgen.server.session import Session
from streamgen.wire import FrameHeader

__all__ = ["Intake"]


@dataclass(frozen=True, slots=True)
class _Raw:
    header: FrameHeader
    payload: memoryview
    received_s: float


class Intake:
    """Decodes the frames of one connection. Call ``close()`` when the connection is gone.

    Args:
        publisher: the connection's outbox, which proves to the session that it still is the publisher.
        on_accepted: called for every frame that could be decoded.
        on_refused: called with the error of every other one.
    """

    def __init__(
        self,
        session: Session,
        publisher: Outbox,
        pool: CodecPool,
        on_accepted: Callable[[], None],
        on_refused: Callable[[StreamgenError], None],
    ) -> None:
        self._session = session
        self._publisher = publisher
        self._pool = pool
        self._on_accepted = on_accepted
        self._on_refused = on_refused
        self._waiting: _Raw | None = None
        self._working: asyncio.Task[None] | None = None

    def put(self, header: FrameHeader, payload: memoryview, received_s: float) -> None:
        """Take a frame in; it replaces one that waits."""
        if self._waiting is not None:
            self._session.drops["replaced"] += 1
        self._waiting = _Raw(header, payload, received_s)
        if self._working is None or self._working.done():
            self._working = asyncio.get_running_loop().create_task(self._work())

    def close(self) -> None:
        """Forget what waits and what is being decoded."""
        self._waiting = None
        if self._working is not None:
            self._working.cancel()

    async def _work(self) -> None:
        while self._waiting is not None:
            raw, self._waiting = self._waiting, None
            try:
                pixels, decode_ms = await self._pool.decode(_decode, raw)
                self._session.stages.record(decode_ms=decode_ms)
                frame = Frame(pixels, raw.header.seq, raw.header.captured_us, raw.received_s)
                self._session.submit(self._publisher, frame)
            except StreamgenError as error:
                self._on_refused(error)
            else:
                self._on_accepted()


def _decode(raw: _Raw) -> tuple[Pixels, float]:
    started_s = time.perf_counter()
    pixels = decode(raw.header.codec, raw.payload, raw.header.width, raw.header.height)
    return pixels, (time.perf_counter() - started_s) * 1000
