"""The worker's line to a session, which can be cut."""

from __future__ import annotations

from streamgen.errors import StreamgenError
from streamgen.frames import Output
from streamgen.server.worker_link import SessionListener
from streamgen.settings import FrameFormat, Reading
from streamgen.timeline import Event

__all__ = ["Line"]


class Line:
    """The worker's line to one opening of a session; once cut, nothing that is still under way arrives."""

    __slots__ = ("_listener",)

    def __init__(self, listener: SessionListener) -> None:
        self._listener: SessionListener | None = listener

    def cut(self) -> None:
        """Hear nothing more."""
        self._listener = None

    def on_output(self, output: Output, *, gap: bool) -> None:
        if self._listener is not None:
            self._listener.on_output(output, gap=gap)

    def on_applied(self, rev: int, reading: Reading | None) -> None:
        if self._listener is not None:
            self._listener.on_applied(rev, reading)

    def on_reformatted(self, rev: int, format: FrameFormat) -> None:
        if self._listener is not None:
            self._listener.on_reformatted(rev, format)

    def on_reformat_failed(self, rev: int, error: StreamgenError) -> None:
        if self._listener is not None:
            self._listener.on_reformat_failed(rev, error)

    def on_referenced(self, rev: int) -> None:
        if self._listener is not None:
            self._listener.on_referenced(rev)

    def on_reference_failed(self, rev: int, error: StreamgenError) -> None:
        if self._listener is not None:
            self._listener.on_reference_failed(rev, error)

    def on_dropped(self, reason: str, count: int) -> None:
        if self._listener is not None:
            self._listener.on_dropped(reason, count)

    def on_refused(self, rev: int, error: StreamgenError) -> None:
        if self._listener is not None:
            self._listener.on_refused(rev, error)

    def on_logged(self, event: Event) -> None:
        if self._listener is not None:
            self._listener.on_logged(event)

    def on_error(self, error: StreamgenError) -> None:
        if self._listener is not None:
            self._listener.on_error(error)

    def on_warning(self, code: str, message: str) -> None:
        if self._listener is not None:
            self._listener.on_warning(code, message)
