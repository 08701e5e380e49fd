"""One life of the worker process: started, spoken to, and ended."""

from __future__ import annotations

import asyncio
import logging
import threading
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.synchronize import Lock, Semaphore

from streamgen.config import ServerConfig
from streamgen.engine.messages import Stop, WorkerLaunch
from streamgen.engine.pulse import Pulse
from streamgen.engine.worker import run_worker
from streamgen.errors import WorkerError
from streamgen.server.commands import CommandSender
from streamgen.server.opened import MAX_FRAME_BYTES

__all__ = ["Incarnation", "first_launch"]

_LOG = logging.getLogger(__name__)
_STOP_TIMEOUT_S = 5.0


def first_launch(config: ServerConfig) -> WorkerLaunch:
    """What the first process is started with, as the configuration says."""
    models = config.specs
    return WorkerLaunch(
        models,
        next(iter(models)),
        None,
        config.backend,
        config.threads,
        MAX_FRAME_BYTES,
        config.hang_timeout_s,
        config.log_format,
        guard=config.guard,
    )


@dataclass(frozen=True, slots=True)
class Incarnation:
    """A process and the ways to it; the lock dies with it, because a killed process may have held it.

    Args:
        process: the process itself.
        commands: reports come out of it; only ``sender`` writes to it.
        doorbell: rung for every frame and command.
        lock: of its slots.
        sender: takes its commands.
        pulse: says that its loop turns.
        ended: set once its reports have ended.
    """

    process: SpawnProcess
    commands: Connection
    doorbell: Semaphore
    lock: Lock
    sender: CommandSender
    pulse: Pulse
    ended: threading.Event = field(default_factory=threading.Event)

    @classmethod
    async def begin(cls, context: SpawnContext, launch: WorkerLaunch) -> Incarnation:
        """Start a process. Its first report says whether it could load its model.

        Raises:
            WorkerError: ``worker_start_failed``.
        """
        ours, theirs = context.Pipe()
        doorbell, lock, pulse = context.Semaphore(0), context.Lock(), Pulse(context)
        process = context.Process(
            target=run_worker, args=(theirs, doorbell, lock, pulse, launch), name="streamgen-worker", daemon=True
        )
        # Importing the spawn machinery and forking takes a tenth of a second: not on the event loop.
        try:
            await asyncio.to_thread(process.start)
        except OSError as error:
            raise WorkerError("worker_start_failed", f"the worker process cannot be started: {error}") from None
        theirs.close()
        return cls(process, ours, doorbell, lock, CommandSender(ours, doorbell), pulse)

    async def end(self) -> None:
        """Ask the process to stop and wait for it; end it when it does not."""
        self.sender.put(Stop())
        await asyncio.to_thread(self._join)
        self.sender.close()

    def kill(self) -> None:
        """Make sure that a process that seems dead is dead; the next one wants its memory."""
        self.process.kill()
        self.process.join(0.1)  # collects the exit code
        _LOG.error("the worker process %s ended with exit code %s", self.process.pid, self.process.exitcode)

    def _join(self) -> None:
        self.process.join(_STOP_TIMEOUT_S)
        if self.process.is_alive():
            _LOG.warning("the worker did not stop within %.0f s and is killed", _STOP_TIMEOUT_S)
            self.process.kill()
            self.process.join()
