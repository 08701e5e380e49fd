"""Where a session's recording branches off."""

from __future__ import annotations

from streamgen.frames import Frame
from streamgen.server.recorder import Recorder
from streamgen.server.worker_link import WorkerLink
from streamgen.timeline import Event

__all__ = ["Tap"]


class Tap:
    """Passes what a session's engine is given to a recorder, while there is one.

    Args:
        session: its name.
    """

    def __init__(self, session: str, worker: WorkerLink) -> None:
        self.recorder: Recorder | None = None
        self._session = session
        self._worker = worker
        self._newest: Frame | None = None

    def open(self, recorder: Recorder) -> None:
        """Begin to record."""
        if self._newest is not None:
            recorder.frame(self._newest)  # the engine may not have taken it yet
        self.recorder = recorder
        self._worker.record(self._session, True)

    def close(self, reason: str) -> Recorder | None:
        """End the recording, if there is one, and return what writes it."""
        recorder, self.recorder = self.recorder, None
        if recorder is not None:
            recorder.end(reason)
            self._worker.record(self._session, False)
        return recorder

    def opened(self) -> None:
        """The session was opened anew in the worker."""
        if self.recorder is not None:
            self._worker.record(self._session, True)

    def frame(self, frame: Frame) -> None:
        """The engine is about to be given a frame."""
        self._newest = frame
        if self.recorder is not None:
            self.recorder.frame(frame)

    def log(self, event: Event) -> None:
        """The engine did something."""
        if self.recorder is not None:
            self.recorder.log(event)
