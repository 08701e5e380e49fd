"""What the server asks of the process that computes, and what that process tells it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from streamgen.engine.messages import WorkerInfo
from streamgen.engine.shares import Load
from streamgen.errors import StreamgenError
from streamgen.frames import Frame, Output, Pixels
from streamgen.settings import FrameFormat, Reading, StreamSettings
from streamgen.timeline import Event

__all__ = ["DeviceStatus", "ModelListener", "SessionListener", "WorkerInfo", "WorkerLink"]


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """One device and its process.

    Args:
        name: ``cpu``, ``cuda:0``, ...; as it was asked for until the process has started.
        ready: whether it serves now.
        busy: the share of the last second that it computed, 0 to 1.
        memory_bytes: of tensors on it; on a CPU, of its process.
        deaths: its processes that ended unasked, or could not be started again.
        sessions: names of those it serves.
    """

    name: str
    ready: bool
    busy: float = 0.0
    memory_bytes: int = 0
    deaths: int = 0
    sessions: frozenset[str] = frozenset()


class SessionListener(Protocol):
    """How a session hears from its worker. Every method is called on the event loop and must not block."""

    def on_output(self, output: Output, *, gap: bool) -> None:
        """A frame came back; ``gap``: an earlier output was replaced before it could be read."""

    def on_applied(self, rev: int, reading: Reading | None) -> None:
        """Settings revision ``rev`` is in force from the next frame on. Said again when another model reads it."""

    def on_reformatted(self, rev: int, format: FrameFormat) -> None:
        """Every output from here on has ``format``, which was asked for with ``rev``."""

    def on_reformat_failed(self, rev: int, error: StreamgenError) -> None:
        """The format asked for with ``rev`` cannot be had; the present one stays."""

    def on_referenced(self, rev: int) -> None:
        """The reference picture asked for with ``rev`` is in force from the next frame on."""

    def on_reference_failed(self, rev: int, error: StreamgenError) -> None:
        """The reference picture asked for with ``rev`` cannot be put in force; the one before it stays."""

    def on_dropped(self, reason: str, count: int) -> None:
        """``count`` frames were dropped, because of ``reason``: ``replaced`` by a newer one before the engine took it,
        ``failed`` in the engine, ``not_ready``, ``similar``, ``pipelined`` or ``source``."""

    def on_refused(self, rev: int, error: StreamgenError) -> None:
        """Settings revision ``rev`` cannot be put in force; the last one applied stays."""

    def on_logged(self, event: Event) -> None:
        """What happened to the session, while it is recorded, in the order in which it did."""

    def on_error(self, error: StreamgenError) -> None:
        """A frame of this session failed; the session goes on."""

    def on_warning(self, code: str, message: str) -> None:
        """Something the client should know, such as ``worker_restarted``."""


class ModelListener(Protocol):
    """How whoever asked for another model hears of it. Called on the event loop, one method once."""

    def on_switched(self, info: WorkerInfo) -> None:
        """It serves every session from here on. Settings that it cannot do have been fitted in the worker, under the
        revision they had: say which ones they are with ``update``."""

    def on_switch_failed(self, error: StreamgenError) -> None:
        """It cannot be had; everything goes on with the present one."""


class WorkerLink(Protocol):
    """One worker as the server sees it. Called on the event loop; no method but ``start`` and ``stop`` waits."""

    on_restyled: Callable[[tuple[str, ...]], None] | None
    """Called on the event loop when the model knows other styles than before, after ``info`` has changed; an
    ``on_applied`` follows for every session."""

    on_load: Callable[[Load], None] | None
    """Called on the event loop once a second with what each session of a device, by name, has had of it."""

    @property
    def ready(self) -> bool:
        """True while frames are being served."""

    @property
    def info(self) -> WorkerInfo:
        """The model in force. Known once ``start`` returned."""

    @property
    def devices(self) -> tuple[DeviceStatus, ...]:
        """Every device that was asked for."""

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
        self,
        session: str,
        format: FrameFormat,
        settings: StreamSettings,
        rev: int,
        listener: SessionListener,
        reference: Pixels | None = None,
    ) -> None:
        """Begin serving ``session``, if the device can take it beside the others. Opening an open session replaces its
        format, settings, listener and reference picture. The latter steers wherever the model takes one.

        Raises:
            SessionError: ``server_full``; never for a session that is open.
            WorkerError: ``worker_not_ready`` or ``no_shared_memory``.
        """

    def update(self, session: str, settings: StreamSettings, rev: int) -> None:
        """Put settings in force; answered by ``on_applied`` or ``on_refused``.

        Frames submitted after that answer are made with them; one submitted before it may be made with either, and its
        output says which.
        """

    def reformat(self, session: str, format: FrameFormat, rev: int) -> None:
        """Prepare another format; answered by ``on_reformatted`` or ``on_reformat_failed``, unless a newer one replaces
        it. ``rev`` counts up from 1 in every opening of a session."""

    def refer(self, session: str, reference: Pixels | None, rev: int) -> None:
        """Steer by another reference picture, uint8 [H, W, 3], or by none; answered by ``on_referenced`` or
        ``on_reference_failed``, unless a newer one replaces it. ``rev`` as in ``reformat``."""

    def set_running(self, session: str, running: bool) -> None:
        """Whether a session that makes its own frames may do so now; it may once it is opened."""

    def record(self, session: str, on: bool) -> None:
        """Whether ``on_logged`` is to hear all that happens to the session, frame by frame. To begin with, what its
        earlier frames left is forgotten, and a transition is over. Ends when the session is opened anew."""

    def submit(self, session: str, frame: Frame) -> None:
        """Hand over the newest frame, replacing one the engine has not taken yet. Copies the pixels."""

    def close(self, session: str) -> None:
        """Forget ``session`` and free its memory; unknown names are ignored."""

    def switch(self, model: str, loras: tuple[str, ...] | None, listener: ModelListener) -> None:
        """Load another model beside the present one, and let it take over. One at a time.

        Raises:
            WorkerError: ``worker_not_ready``.
        """
