"""What the server asks of the process that computes, and what that process tells it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from streamgen.errors import StreamgenError
from streamgen.frames import Frame, Output
from streamgen.settings import FrameFormat, Reading, StreamSettings

__all__ = ["SessionListener", "WorkerInfo", "WorkerLink"]


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """What a worker that is ready says of itself.

    Args:
        model: family name of the loaded model.
        styles: prompts the model is sure to know.
        backend: name of the backend in use.
        device: ``cpu``, ``cuda:0``, ...
    """

    model: str
    styles: tuple[str, ...]
    backend: str
    device: str


class SessionListener(Protocol):
    """How a session hears from its worker. Every method is called on the event loop and must not block."""

    def on_output(self, output: Output, *, gap: bool) -> None:
        """A frame came back; ``gap``: an earlier output was replaced before it could be read."""

    def on_applied(self, rev: int, reading: Reading | None) -> None:
        """Settings revision ``rev`` is in force from the next frame on."""

    def on_dropped(self, reason: str, count: int) -> None:
        """``count`` frames were dropped, because of ``reason``: ``replaced`` by a newer one before the engine took it,
        ``failed`` in the engine, ``lost`` with a crashed worker."""

    def on_refused(self, rev: int, error: StreamgenError) -> None:
        """Settings revision ``rev`` cannot be put in force; the last one applied stays."""

    def on_error(self, error: StreamgenError) -> None:
        """A frame of this session failed; the session goes on."""

    def on_warning(self, code: str, message: str) -> None:
        """Something the client should know, such as ``worker_restarted``."""


class WorkerLink(Protocol):
    """One worker as the server sees it. Called on the event loop; no method but ``start`` and ``stop`` waits."""

    @property
    def ready(self) -> bool:
        """True while frames are being served."""

    @property
    def info(self) -> WorkerInfo:
        """Known once ``start`` returned."""

    async def start(self) -> None:
        """Start the worker and wait until its model is loaded.

        Raises:
            StreamgenError: whatever kept the worker from starting (WeightsError, BackendUnavailable, ...).
        """

    def expect_end(self) -> None:
        """The server is shutting down: a worker that ends from now on has not crashed."""

    async def stop(self) -> None:
        """End the worker and give its memory back."""

    def open(
        self, session: str, format: FrameFormat, settings: StreamSettings, rev: int, listener: SessionListener
    ) -> None:
        """Begin serving ``session``. Opening an open session replaces its format, settings and listener."""

    def update(self, session: str, settings: StreamSettings, rev: int) -> None:
        """Put settings in force; answered by ``on_applied`` or ``on_refused``.

        Frames submitted after that answer are made with them; one submitted before it may be made with either, and its
        output says which.
        """

    def submit(self, session: str, frame: Frame) -> None:
        """Hand over the newest frame, replacing one the engine has not taken yet. Copies the pixels."""

    def close(self, session: str) -> None:
        """Forget ``session`` and free its memory; unknown names are ignored."""
