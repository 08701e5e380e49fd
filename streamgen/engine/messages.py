"""What crosses between the server and a worker process: commands one way, reports the other. No torch in here."""

from __future__ import annotations

from dataclasses import dataclass, field

from streamgen.config import GuardSpec, ModelSpec
from streamgen.engine.shares import Load
from streamgen.errors import StreamgenError
from streamgen.frames import Pixels
from streamgen.settings import SIZE_MAX, FrameFormat, Reading, StreamSettings
from streamgen.timeline import Event

__all__ = [
    "OUTBOX_BYTES",
    "Applied",
    "CloseSession",
    "Command",
    "Dropped",
    "Failed",
    "FrameFailed",
    "Freed",
    "Load",
    "Logged",
    "Made",
    "ModelReport",
    "OpenSession",
    "Ready",
    "RecordSession",
    "ReferSession",
    "ReferenceFailed",
    "Referenced",
    "ReformatFailed",
    "ReformatSession",
    "Reformatted",
    "Refused",
    "Report",
    "Restyled",
    "RunSession",
    "SessionCommand",
    "SessionReport",
    "Stop",
    "SwitchFailed",
    "SwitchModel",
    "Switched",
    "UpdateSession",
    "WorkerInfo",
    "WorkerLaunch",
]

OUTBOX_BYTES = SIZE_MAX * SIZE_MAX * 4
"""Capacity of a session's outbox: the largest format with alpha, so that another format needs no new slot."""


@dataclass(frozen=True, slots=True)
class WorkerLaunch:
    """What a worker process is started with.

    Args:
        models: every model that it may be told to load, by name.
        model: the one to start with.
        loras: names of those of its LoRAs to load; None for all of them.
        backend: ``auto`` or a name in ``BACKENDS``.
        threads: compute threads; 0 leaves one core free.
        max_frame_bytes: of one frame, fitted or not.
        hang_timeout_s: how long the loop may stand still before the process counts as hung; 0 for ever.
        log_format: ``text`` or ``json``.
        choice: backend and precision that the model to start with ran in before; None to choose as ``backend`` and the
            model's ``dtype`` say.
        guard: what judges prompts and pictures.
    """

    models: dict[str, ModelSpec]
    model: str
    loras: tuple[str, ...] | None
    backend: str
    threads: int
    max_frame_bytes: int
    hang_timeout_s: float
    log_format: str = "text"
    choice: tuple[str, str] | None = None
    guard: GuardSpec = field(default_factory=GuardSpec)


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """What a worker says of the model that it serves.

    Args:
        model: name of the loaded model.
        styles: prompts the model is sure to know.
        backend: name of the backend in use.
        device: ``cpu``, ``cuda:0``, ...
        unused: settings that change nothing with this model, sorted.
        loras: LoRAs whose weight may be set, with the weight each was loaded with.
        models: names of all models that it may be told to load.
        width: of the model's own format, pixels.
        height: likewise.
        max_steps: most denoising steps.
        takes_reference: whether a reference picture can steer it.
        choice: backend and precision in use, as ``WorkerLaunch`` takes them.
        frame_ms: of one network call at 256x256, measured when the backend was chosen; None when it was not.
    """

    model: str
    styles: tuple[str, ...]
    backend: str
    device: str
    unused: tuple[str, ...] = ()
    loras: dict[str, float] = field(default_factory=dict)
    models: tuple[str, ...] = ()
    width: int = 256
    height: int = 256
    max_steps: int = 4
    takes_reference: bool = False
    choice: tuple[str, str] | None = None
    frame_ms: float | None = None


# ------------------------------------------------------------------------------------------------------------ commands


@dataclass(frozen=True, slots=True)
class OpenSession:
    """Command: serve a session whose pictures cross in the two named slots. ``running``: see ``RunSession``;
    ``reference``: the picture that steers it from the start, where the model takes one."""

    session: str
    format: FrameFormat
    settings: StreamSettings
    rev: int
    inbox: str
    outbox: str
    format_rev: int = 0
    running: bool = True
    reference: Pixels | None = None


@dataclass(frozen=True, slots=True)
class UpdateSession:
    """Command: settings for the next frame."""

    session: str
    settings: StreamSettings
    rev: int


@dataclass(frozen=True, slots=True)
class ReformatSession:
    """Command: prepare another format, and take it over once it is ready. A newer one replaces it."""

    session: str
    format: FrameFormat
    rev: int


@dataclass(frozen=True, slots=True)
class ReferSession:
    """Command: steer by another reference picture, uint8 [H, W, 3], from the next frame on; None for none."""

    session: str
    reference: Pixels | None
    rev: int


@dataclass(frozen=True, slots=True)
class RunSession:
    """Command: whether a session that makes its own frames may do so now."""

    session: str
    running: bool


@dataclass(frozen=True, slots=True)
class RecordSession:
    """Command: whether to report all that happens to a session, frame by frame. To begin with, what earlier frames left
    is forgotten, and a transition is over."""

    session: str
    on: bool


@dataclass(frozen=True, slots=True)
class CloseSession:
    """Command: forget a session."""

    session: str


@dataclass(frozen=True, slots=True)
class SwitchModel:
    """Command: load another model beside the present one, and take it over for all sessions."""

    model: str
    loras: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """Command: end the process."""


SessionCommand = (
    OpenSession | UpdateSession | ReformatSession | ReferSession | RunSession | RecordSession | CloseSession
)
Command = SessionCommand | SwitchModel | Stop

# ------------------------------------------------------------------------------------------------------------- reports


@dataclass(frozen=True, slots=True)
class Ready:
    """Report: the model is loaded and warm."""

    info: WorkerInfo


@dataclass(frozen=True, slots=True)
class Failed:
    """Report: the worker cannot start."""

    error: StreamgenError


@dataclass(frozen=True, slots=True)
class Applied:
    """Report: a settings revision is in force."""

    session: str
    rev: int
    reading: Reading | None


@dataclass(frozen=True, slots=True)
class Refused:
    """Report: a settings revision cannot be put in force; the last one applied stays."""

    session: str
    rev: int
    error: StreamgenError


@dataclass(frozen=True, slots=True)
class Reformatted:
    """Report: pictures made from now on have the format that came with this revision."""

    session: str
    rev: int


@dataclass(frozen=True, slots=True)
class ReformatFailed:
    """Report: a format cannot be had; the one in force stays."""

    session: str
    rev: int
    error: StreamgenError


@dataclass(frozen=True, slots=True)
class Referenced:
    """Report: the reference picture that came with this revision is in force."""

    session: str
    rev: int


@dataclass(frozen=True, slots=True)
class ReferenceFailed:
    """Report: a reference picture cannot be put in force; the one before it stays."""

    session: str
    rev: int
    error: StreamgenError


@dataclass(frozen=True, slots=True)
class Made:
    """Report: a picture lies in the session's outbox."""

    session: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """Report: frames of a session that no picture is made of, and why: ``replaced`` by a newer one before they were
    taken, ``source`` because the session makes its own, ``similar`` to the last one, or ``pipelined`` while the first
    pictures are under way."""

    session: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class Logged:
    """Report: what happened to a session that is recorded, in the order in which it did."""

    session: str
    event: Event


@dataclass(frozen=True, slots=True)
class FrameFailed:
    """Report: the engine failed on a session's frame, which is lost."""

    session: str
    error: StreamgenError


@dataclass(frozen=True, slots=True)
class Switched:
    """Report: another model serves every session from now on; an ``Applied`` for each of them follows."""

    info: WorkerInfo


@dataclass(frozen=True, slots=True)
class Restyled:
    """Report: the model knows these styles from now on; an ``Applied`` for every session follows."""

    styles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SwitchFailed:
    """Report: a model cannot be had; everything goes on with the present one."""

    error: StreamgenError


@dataclass(frozen=True, slots=True)
class Freed:
    """Report: the model that served before is gone, and with it this much memory of the device, bytes."""

    freed_bytes: int


ModelReport = Switched | SwitchFailed | Freed | Restyled
ChangeReport = Applied | Refused | Reformatted | ReformatFailed | Referenced | ReferenceFailed
SessionReport = ChangeReport | Dropped | FrameFailed | Logged
Report = Ready | Failed | SessionReport | Made | ModelReport | Load
