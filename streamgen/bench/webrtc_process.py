"""A measurement in a process of its own: what is mended of aiortc holds for a whole process, and a part that hangs or
dies must not take the others with it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from streamgen.errors import WorkerError

__all__ = ["in_process"]

Measure = Callable[..., dict[str, Any]]
_GRACE_S = 15.0


def in_process(measure: Measure, limit_s: float, **options: Any) -> dict[str, Any]:
    """Call ``measure(**options)`` elsewhere and return what it returns.

    Args:
        measure: a function at the top of a module.
        limit_s: it is ended after so long.

    Raises:
        WorkerError: ``measurement_failed`` with the reason.
    """
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(theirs, measure, options))
    process.start()
    theirs.close()
    try:
        name = f"{measure.__module__}.{measure.__name__}"
        if not ours.poll(limit_s):
            raise WorkerError("measurement_failed", f"{name} took longer than {limit_s:.0f} s")
        try:
            failure, result = ours.recv()
        except EOFError:
            raise WorkerError("measurement_failed", f"{name} died") from None
        if failure:
            raise WorkerError("measurement_failed", f"{name}: {failure}")
        return dict(result)
    finally:
        ours.close()
        process.join(timeout=_GRACE_S)
        if process.is_alive():
            process.terminate()  # it then stops what it started
            process.join(timeout=_GRACE_S)
        if process.is_alive():
            process.kill()
            process.join()


def _run(connection: Connection, measure: Measure, options: dict[str, Any]) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        connection.send(("", measure(**options)))
    except Exception as error:  # the edge of the process: whatever it was, the report names it
        connection.send((f"{type(error).__name__}: {error}", None))
        raise
