"""A program that publishes one picture again and again, beside a browser."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import streamgen
from streamgen.client import Stream
from streamgen.frames import Pixels

__all__ = ["Still", "publishing"]

START_S = 60


class Still:
    """Publishes ``pixels``, which may be exchanged for others, until ``publishing`` ends."""

    def __init__(self, server: str, session: str, pixels: Pixels, **options: Any) -> None:
        self.pixels = pixels
        self._outputs = 0
        self._counted = threading.Condition()
        self._url = f"{server.replace('http', 'ws', 1)}/ws"
        self._options = {"session": session, "strength": 0.0, "max_fps": 30, **options}
        self._ends = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stream: Stream | None = None

    def wait_for_outputs(self, count: int = 1) -> None:
        """Wait for so many more."""
        with self._counted:
            wanted = self._outputs + count
            assert self._counted.wait_for(lambda: self._outputs >= wanted, START_S), "nothing comes back"

    def update(self, **settings: Any) -> int:
        """Change settings; their revision, once they are in force."""
        assert self._stream is not None and self._loop is not None
        return asyncio.run_coroutine_threadsafe(self._stream.update(**settings), self._loop).result(START_S).rev

    def run(self) -> None:
        asyncio.run(self._publish())

    def end(self) -> None:
        self._ends.set()

    async def _publish(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with streamgen.connect(self._url, **self._options) as stream:
            self._stream = stream
            while not self._ends.is_set():
                await stream.send(self.pixels)
                await asyncio.wait_for(anext(stream), START_S)
                with self._counted:
                    self._outputs += 1
                    self._counted.notify_all()


@contextmanager
def publishing(server: str, session: str, pixels: Pixels, **options: Any) -> Iterator[Still]:
    """Publish at strength 0, so that colours are known, until the block is left. Options are those of ``connect``."""
    still = Still(server, session, pixels, **options)
    thread = threading.Thread(target=still.run, daemon=True)
    thread.start()
    try:
        still.wait_for_outputs()
        yield still
    finally:
        still.end()
        thread.join(START_S)
