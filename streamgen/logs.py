"""What is logged and how: a line of text or of JSON on standard error, with the session that it is about.

Who logs on behalf of a session names it with ``extra=about(session)``. On the event loop that is not needed: tasks know
whom they work for, once ``Labels`` has been told.
"""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime

__all__ = ["Labels", "about", "configure_logs"]

_SESSION = "streamgen_session"
"""An attribute of log records."""


@dataclass(slots=True)
class Labels:
    """What the log lines of one connection carry. Its tasks share it, those too that began before the session was
    known. Call ``attach()`` before they begin."""

    session: str = ""

    def attach(self) -> None:
        """Label what this task, and every task that it starts from now on, logs."""
        _current.set(self)


_current: ContextVar[Labels | None] = ContextVar("streamgen_labels", default=None)


def about(session: str) -> dict[str, str]:
    """``extra`` for a line about a session, named as its clients or as the worker know it."""
    return {_SESSION: session.partition("#")[0]}


def configure_logs(format: str, process: str) -> None:
    """Log to standard error from now on: everything of streamgen from INFO, and warnings of everything else.

    Args:
        format: ``text`` or ``json``.
        process: what this one is called, such as ``server`` or ``worker cuda:0``.
    """
    handler = _StandardError()
    handler.setFormatter(_Json(process) if format == "json" else _Text())
    root, ours = logging.getLogger(), logging.getLogger("streamgen")
    root.handlers = [other for other in root.handlers if not isinstance(other, _StandardError)] + [handler]
    root.setLevel(logging.WARNING)
    ours.setLevel(logging.INFO)
    for name, logger in tuple(logging.root.manager.loggerDict.items()):
        if name.startswith("streamgen.") and isinstance(logger, logging.Logger):
            logger.handlers.clear()  # what a command shows of it by itself would be there twice


class _StandardError(logging.Handler):
    """Writes to whatever standard error is by then."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(f"{self.format(record)}\n")
            sys.stderr.flush()
        except (OSError, ValueError):
            self.handleError(record)


class _Text(logging.Formatter):
    """``LEVEL logger [session]: message``, and the traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        session = _session_of(record)
        whose = f" [{session}]" if session else ""
        lines = [f"{record.levelname} {record.name}{whose}: {record.getMessage()}"]
        if record.exc_info:
            lines.append(self.formatException(record.exc_info))
        return "\n".join(lines)


class _Json(logging.Formatter):
    """One object a line; what does not apply is left out."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": self._process,
            "session": _session_of(record),
            "message": record.getMessage(),
            "exception": self.formatException(record.exc_info) if record.exc_info else "",
        }
        return json.dumps({name: value for name, value in line.items() if value}, ensure_ascii=False)


def _session_of(record: logging.LogRecord) -> str:
    named = getattr(record, _SESSION, None)
    if named is not None:
        return str(named)
    labels = _current.get()
    return "" if labels is None else labels.session
