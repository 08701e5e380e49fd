"""What becomes of sessions and settings, told to whoever traces it: one span a session, one a change, none a frame."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Protocol

from streamgen.settings import FrameFormat

__all__ = ["SessionTrace", "Traces", "Untraced", "traces_of"]

_LOG = logging.getLogger(__name__)


class SessionTrace(Protocol):
    """Hears what happens to one session. Call ``ended()`` once; nothing follows it."""

    def changed(self, rev: int, names: Iterable[str]) -> None:
        """Revision ``rev`` of the settings was asked for, in which those named are others. Their values are nobody's
        business: people write prompts."""

    def in_force(self, rev: int) -> None:
        """That revision, and every one before it, is in force."""

    def refused(self, rev: int, code: str) -> None:
        """That revision cannot be put in force."""

    def taken_over(self) -> None:
        """Another connection has the session; what the former one asked for is forgotten."""

    def ended(self) -> None:
        """The session is no more."""


class Traces(Protocol):
    """Makes a trace of every session."""

    def begin(self, session: str, format: FrameFormat) -> SessionTrace:
        """A session opened."""

    def end(self) -> None:
        """Send what was not sent yet. Blocks, for seconds at most."""


class Untraced:
    """Nobody traces anything: ``Traces`` and ``SessionTrace`` in one."""

    def begin(self, session: str, format: FrameFormat) -> SessionTrace:
        return self

    def end(self) -> None:
        pass

    def changed(self, rev: int, names: Iterable[str]) -> None:
        pass

    def in_force(self, rev: int) -> None:
        pass

    def refused(self, rev: int, code: str) -> None:
        pass

    def taken_over(self) -> None:
        pass

    def ended(self) -> None:
        pass


def traces_of(wanted: bool) -> Traces:
    """Spans over OTLP, where they are wanted and the packages for them are there; a warning says what is missing."""
    if not wanted:
        return Untraced()
    try:
        from streamgen.server.spans import Spans, exporting

        return Spans(exporting())
    except ModuleNotFoundError as error:
        fact = "traces are wanted, but the package %s is not installed: pip install '.[otel]' in a clone of streamgen"
        _LOG.warning(fact, error.name)
        return Untraced()
