"""Commands on their way to a worker, sent by a thread of their own: a busy worker never blocks the event loop."""

from __future__ import annotations

import threading
from collections import OrderedDict
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Semaphore

from streamgen.engine.messages import (
    CloseSession,
    Command,
    OpenSession,
    RecordSession,
    ReferSession,
    ReformatSession,
    RunSession,
    UpdateSession,
)

__all__ = ["CommandSender"]


class CommandSender:
    """Sends commands in order. What waits is bounded by the sessions there are: a newer command of a kind replaces the
    one that waits, and closing a session takes its waiting commands away.

    Session names must be unique to one opening. The thread ends with the process at the other end, or with ``close()``.

    Args:
        pipe: to the worker; only this thread writes to it.
        doorbell: rung after every command.
    """

    def __init__(self, pipe: Connection, doorbell: Semaphore) -> None:
        self._pipe = pipe
        self._doorbell = doorbell
        self._waiting: OrderedDict[tuple[type, str], Command] = OrderedDict()
        self._changed = threading.Condition()
        self._closed = False
        threading.Thread(target=self._run, name="streamgen-commands", daemon=True).start()

    def put(self, command: Command) -> None:
        """Hand a command over. Never blocks."""
        session = getattr(command, "session", "")
        with self._changed:
            if isinstance(command, CloseSession):
                for kind in (UpdateSession, ReformatSession, ReferSession, RunSession, RecordSession):
                    self._waiting.pop((kind, session), None)
                if self._waiting.pop((OpenSession, session), None) is not None:
                    return  # the worker has never heard of it
            self._waiting[type(command), session] = command
            self._changed.notify()

    def close(self) -> None:
        """Send nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _run(self) -> None:
        try:
            while (command := self._next()) is not None:
                self._pipe.send(command)
                self._doorbell.release()
        except OSError:
            return  # the process ended; whoever listens to it sees that too

    def _next(self) -> Command | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._waiting)
            return None if self._closed else self._waiting.popitem(last=False)[1]
