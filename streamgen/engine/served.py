"""What the worker's loop keeps of one session: the slots its pictures cross in, and where its frames come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.synchronize import Lock

from streamgen.engine.messages import OUTBOX_BYTES, OpenSession
from streamgen.engine.ticker import Ticker
from streamgen.frames import Frame, Output, Pixels
from streamgen.mailbox import Note, SharedSlot
from streamgen.settings import StreamSettings

__all__ = ["Served", "Taking", "attach"]


@dataclass(frozen=True, slots=True)
class Taking:
    """A session's newest frame, if it has one, and how many others were dropped for which reason."""

    frame: Frame | None = None
    dropped: int = 0
    reason: str = ""


@dataclass(slots=True)
class Served:
    """One session in the loop. Call ``close()`` when done.

    Args:
        inbox: frames that the client sent.
        outbox: pictures made of them.
        format_rev: of the format that the engine makes now.
        next_format_rev: of the one that it prepares.
        reference: the picture that steers the session wherever the model takes one, uint8 [H, W, 3].
        running: whether frames may be made of the prompt alone.
        dreams: whether the settings ask for that.
        max_fps: how many of them a second.
        ticker: when the next one is due.
    """

    inbox: SharedSlot
    outbox: SharedSlot
    format_rev: int = 0
    next_format_rev: int = 0
    reference: Pixels | None = None
    running: bool = True
    dreams: bool = False
    max_fps: int = 1
    ticker: Ticker = field(default_factory=Ticker)

    def apply(self, settings: StreamSettings, now_s: float) -> None:
        """Note settings that are in force."""
        self.dreams, self.max_fps = settings.source == "prompt", settings.max_fps
        self._pace(now_s)

    def run(self, running: bool, now_s: float) -> None:
        """Allow or forbid frames made of the prompt."""
        self.running = running
        self._pace(now_s)

    def take(self, now_s: float, dream: Callable[[int], Frame]) -> Taking:
        """The frame to compute now: the newest that was sent, or one made by ``dream(seq)`` if that is due. What was
        sent to a session that makes its own frames is dropped."""
        sent = self.inbox.take()
        if self.dreams:
            dropped = 0 if sent is None else sent.replaced + 1
            due = self.ticker.wait_s(now_s) == 0
            taking = Taking(dream(self.ticker.tick(now_s)) if due else None, dropped, "source")
        elif sent is None:
            return Taking()
        else:
            note = sent.note
            frame = Frame(sent.pixels, note.seq, note.captured_us, note.received_s)
            taking = Taking(frame, sent.replaced, "replaced")
        return taking

    def deliver(self, output: Output, began_s: float, ended_s: float) -> None:
        """Put a picture out, made by a step that took from ``began_s`` to ``ended_s``."""
        note = Note(
            seq=output.seq,
            captured_us=output.captured_us,
            settings_rev=output.settings_rev,
            queued_ms=max(0.0, began_s - output.received_s) * 1000,
            engine_ms=(ended_s - began_s) * 1000,
            warm_up=output.warm_up,
            format_rev=self.format_rev,
        )
        self.outbox.put(output.pixels, note)

    def close(self) -> None:
        """Detach from the slots."""
        self.inbox.close()
        self.outbox.close()

    def _pace(self, now_s: float) -> None:
        if self.dreams and self.running:
            self.ticker.run(self.max_fps, now_s)
        else:
            self.ticker.stop()


def attach(command: OpenSession, lock: Lock, max_frame_bytes: int) -> Served | None:
    """The session with its slots; None when the server has removed them, because it has already opened the session anew
    or closed it, and says so in a command that is on its way."""
    try:
        inbox = SharedSlot(lock, max_frame_bytes, command.inbox)
    except FileNotFoundError:
        return None
    try:
        outbox = SharedSlot(lock, OUTBOX_BYTES, command.outbox)
    except FileNotFoundError:
        inbox.close()
        return None
    rev = command.format_rev
    return Served(inbox, outbox, rev, rev, reference=command.reference, running=command.running)
