"""A session as the server knows it of its worker: what a restarted worker needs to go on, and the slots."""

from __future__ import annotations

from dataclasses import dataclass, field
from multiprocessing.synchronize import Lock

from streamgen.engine.messages import (
    OUTBOX_BYTES,
    Applied,
    Dropped,
    FrameFailed,
    Logged,
    OpenSession,
    RecordSession,
    Referenced,
    ReferenceFailed,
    ReferSession,
    ReformatFailed,
    Reformatted,
    Refused,
    SessionCommand,
    SessionReport,
)
from streamgen.errors import StreamgenError, WorkerError
from streamgen.frames import Output, Pixels, Timing
from streamgen.mailbox import SharedSlot, Taken
from streamgen.server.capacity import Work
from streamgen.server.worker_link import SessionListener
from streamgen.settings import FrameFormat, Reading, StreamSettings
from streamgen.wire import MAX_PIXELS

__all__ = ["MAX_FRAME_BYTES", "Opened", "make_slots"]

MAX_FRAME_BYTES = MAX_PIXELS * 3


@dataclass(slots=True)
class Opened:
    """One opening of a session. The slots are those of the present worker process: call ``discard_slots()`` when done.

    Args:
        key: the session's name in the worker. It is unique to this opening, so that a report about an earlier session
            of the same name reaches nobody.
        format: in force.
        settings: asked for last.
        rev: their revision.
        listener: hears of everything.
        inbox: frames on their way to the worker.
        outbox: pictures on their way back.
        running: see ``WorkerLink.set_running``.
        recorded: see ``WorkerLink.record``.
        applied: revision and settings that the worker confirmed last.
        format_rev: of ``format``; 0 until the first reformat.
        reference: the picture in force, wherever the model takes one.
        referring: the one that was asked for last, until the worker has answered.
        asked: formats that were asked for and are not in force, by revision.
    """

    key: str
    format: FrameFormat
    settings: StreamSettings
    rev: int
    listener: SessionListener
    inbox: SharedSlot
    outbox: SharedSlot
    running: bool = True
    recorded: bool = False
    applied: tuple[int, StreamSettings] | None = None
    format_rev: int = 0
    reference: Pixels | None = None
    referring: ReferSession | None = None
    asked: dict[int, FrameFormat] = field(default_factory=dict)

    @property
    def work(self) -> Work:
        """What each of its frames asks of the device."""
        return Work.of(self.format, self.settings)

    def open_commands(self) -> list[SessionCommand]:
        """What opens the session in a new worker: as it was asked to be, not as the last worker had it. A reference
        picture that has no answer yet follows by itself, for one."""
        opening: list[SessionCommand] = [self._open_command()]
        if self.recorded:
            opening.append(RecordSession(self.key, True))
        return opening if self.referring is None else [*opening, self.referring]

    def _open_command(self) -> OpenSession:
        rev = max(self.asked, default=self.format_rev)
        format = self.asked.get(rev, self.format)
        slots = self.inbox.name, self.outbox.name
        return OpenSession(self.key, format, self.settings, self.rev, *slots, rev, self.running, self.reference)

    def hear(self, report: SessionReport) -> None:
        """Obey a report of the worker on this session."""
        match report:
            case Applied(_, rev, reading):
                self._applied(rev, reading)
            case Refused(_, rev, error):
                self._refused(rev, error)
            case Reformatted(_, rev):
                self._announce_format(rev)
            case ReformatFailed(_, rev, error):
                self._format_failed(rev, error)
            case Referenced(_, rev):
                self._referenced(rev)
            case ReferenceFailed(_, rev, error):
                self._reference_failed(rev, error)
            case Dropped(_, reason, count):
                self.listener.on_dropped(reason, count)
            case Logged(_, event):
                self.listener.on_logged(event)
            case FrameFailed(_, error):
                self.listener.on_dropped("failed", 1)
                self.listener.on_error(error)

    def ask_format(self, rev: int, format: FrameFormat) -> None:
        """Note a format that the worker is asked for; those asked for before it will not be prepared any more."""
        self.asked[rev] = format

    def _announce_format(self, rev: int) -> None:
        """Tell the listener that this format is in force, unless it has heard so."""
        format = self.asked.get(rev)
        if format is None:
            return
        self.format_rev, self.format = rev, format
        self.asked = {later: wanted for later, wanted in self.asked.items() if later > rev}
        self.listener.on_reformatted(rev, format)

    def announce_newest_format(self) -> None:
        """After ``open_commands`` went to a new worker: it begins with the format that was asked for last."""
        if self.asked:
            self._announce_format(max(self.asked))

    def _format_failed(self, rev: int, error: StreamgenError) -> None:
        """The worker cannot make this format."""
        if self.asked.pop(rev, None) is not None:
            self.listener.on_reformat_failed(rev, error)

    def ask_reference(self, rev: int, reference: Pixels | None) -> ReferSession:
        """Note a reference picture that the worker is to be asked for, instead of one without an answer."""
        self.referring = ReferSession(self.key, reference, rev)
        return self.referring

    def _referenced(self, rev: int) -> None:
        """The worker steers by this reference picture."""
        if self.referring is not None and self.referring.rev == rev:
            self.reference, self.referring = self.referring.reference, None
        self.listener.on_referenced(rev)

    def _reference_failed(self, rev: int, error: StreamgenError) -> None:
        """The worker cannot steer by this reference picture."""
        if self.referring is not None and self.referring.rev == rev:
            self.referring = None
        self.listener.on_reference_failed(rev, error)

    def _applied(self, rev: int, reading: Reading | None) -> None:
        """The worker confirmed a revision."""
        if rev == self.rev:
            self.applied = (rev, self.settings)
        self.listener.on_applied(rev, reading)

    def _refused(self, rev: int, error: StreamgenError) -> None:
        """The worker refused a revision; a restarted one must not choke on the same again."""
        if rev == self.rev and self.applied is not None:
            self.rev, self.settings = self.applied
        self.listener.on_refused(rev, error)

    def deliver(self, taken: Taken) -> None:
        """Hand a picture to the listener, and first say that its format is in force: it may have come in the place of
        an older one, ahead of the worker's own word."""
        note = taken.note
        self._announce_format(note.format_rev)
        timing = Timing(queued_ms=note.queued_ms, engine_ms=note.engine_ms)
        made = note.settings_rev, timing, note.warm_up, note.received_s
        output = Output(taken.pixels, note.seq, note.captured_us, *made)
        self.listener.on_output(output, gap=taken.replaced > 0)

    def renew_slots(self, lock: Lock) -> None:
        """Exchange the slots for new ones, which a new worker and its lock go with."""
        self.discard_slots()
        self.inbox, self.outbox = make_slots(lock)

    def discard_slots(self) -> None:
        """Remove the slots from memory."""
        for slot in (self.inbox, self.outbox):
            slot.close()
            slot.unlink()


def make_slots(lock: Lock) -> tuple[SharedSlot, SharedSlot]:
    """An inbox and an outbox.

    Raises:
        WorkerError: ``no_shared_memory``.
    """
    try:
        inbox = SharedSlot(lock, MAX_FRAME_BYTES)
        try:
            return inbox, SharedSlot(lock, OUTBOX_BYTES)
        except OSError:
            inbox.close()
            inbox.unlink()
            raise
    except OSError as error:
        raise WorkerError("no_shared_memory", f"shared memory cannot be had: {error}", retryable=True) from None
