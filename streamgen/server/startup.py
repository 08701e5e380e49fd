"""The worker's start, beside the server that shows its pages already."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from streamgen.errors import StreamgenError, WorkerError
from streamgen.server.worker_link import WorkerLink

__all__ = ["Startup"]


class Startup:
    """Starts a worker in the background.

    Args:
        on_ready: called once the worker serves.
        on_failed: called with what kept it from starting.
    """

    def __init__(
        self,
        worker: WorkerLink,
        on_ready: Callable[[], None] | None = None,
        on_failed: Callable[[StreamgenError], None] | None = None,
    ) -> None:
        self._worker = worker
        self._on_ready = on_ready
        self._on_failed = on_failed
        self._failure: StreamgenError | None = None
        self._over = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Start the worker. Call ``end()`` before the event loop closes."""
        self._task = asyncio.get_running_loop().create_task(self._start())

    async def wait(self, timeout_s: float) -> None:
        """Return once the worker has started.

        Raises:
            WorkerError: ``worker_not_ready`` when that takes longer than ``timeout_s``, or has failed.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._over.wait()
        except TimeoutError:
            raise WorkerError("worker_not_ready", "the model is still being loaded", retryable=True) from None
        if self._failure is not None:
            raise WorkerError("worker_not_ready", f"the worker could not start: {self._failure.message}")

    async def end(self) -> None:
        """Stop the worker, or its start."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._worker.stop()

    async def _start(self) -> None:
        try:
            await self._worker.start()
        except StreamgenError as error:
            self._failure = error
            if self._on_failed is not None:
                self._on_failed(error)
        else:
            if self._on_ready is not None:
                self._on_ready()
        finally:
            self._over.set()
