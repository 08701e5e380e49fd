"""One session: a publisher, its viewers, and the settings and counters they share."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from streamgen.engine.limits import check_settings, fit_settings
from streamgen.errors import SessionError, StreamgenError
from streamgen.frames import Frame, Output, Pixels
from streamgen.metrics import Drops, StageTimes
from streamgen.pacing import SERVER_BURST, Pacer
from streamgen.protocol import ErrorMessage, Referenced, Reformatted, StatsReport, Updated, WarningMessage
from streamgen.server.asked import Asked, Referring, Reformatting
from streamgen.server.line import Line
from streamgen.server.outbox import Outbox
from streamgen.server.picture import CodecPool, Picture
from streamgen.server.quality import AS_ASKED, Given
from streamgen.server.rates import Rates
from streamgen.server.tap import Tap
from streamgen.server.tracing import SessionTrace, Untraced
from streamgen.server.worker_link import WorkerInfo, WorkerLink
from streamgen.settings import FrameFormat, Reading, StreamSettings, merge_settings, parse_format
from streamgen.timeline import Event

__all__ = ["MAX_UPDATES_WAITING", "MAX_VIEWERS", "Session"]

MAX_VIEWERS = 64
MAX_UPDATES_WAITING = 64


class Session:
    """What outlives a publisher's connection. Made and ended by ``Sessions``; all of it runs on the event loop.

    Call ``open()`` once a publisher is there, and again whenever another connection takes the session over.
    """

    def __init__(
        self,
        name: str,
        token: str,
        format: FrameFormat,
        settings: StreamSettings,
        worker: WorkerLink,
        pool: CodecPool,
        stages: StageTimes,
    ) -> None:
        self.name = name
        self.token = token
        self.format = self.asked_format = format
        self.settings = settings
        self.given = AS_ASKED
        self.rev = 0
        self.publisher: Outbox | None = None
        self.viewers: set[Outbox] = set()
        self.newest: Output | None = None
        self.tap = Tap(name, worker)
        self.updated: Updated | None = None
        self.drops = Drops()
        self.stages = stages
        self.rates = Rates()
        self.trace: SessionTrace = Untraced()
        self._worker = worker
        self._pool = pool
        self._line: Line | None = None
        self._asked: deque[Asked] = deque()  # bounded: update() refuses more than MAX_UPDATES_WAITING
        self._reformatting: Reformatting | None = None
        self._format_rev = 0
        self._reference: Pixels | None = None
        self._referring: Referring | None = None
        self._reference_rev = 0
        self._running = True
        self._pacer = Pacer(SERVER_BURST)
        self._paused = False
        self.frames_in = 0
        self.frames_out = 0
        self.opened_s = 0.0
        self._touched_s = 0.0

    def open(self, publisher: Outbox, format: FrameFormat, settings: StreamSettings) -> None:
        """Put ``publisher`` in charge. Frames in flight from an earlier connection reach nobody.

        Raises:
            WorkerError: ``worker_not_ready``; the session stays as it was.
        """
        line = Line(self)
        rev = self.rev if settings == self.settings else self.rev + 1
        self._worker.open(self.name, format, settings, rev, line, self._reference)
        if self._line is not None:
            self._line.cut()
        self._line = line
        self.tap.opened()
        if format != self.format:
            self.newest = None
            for viewer in self.viewers:
                viewer.change_format(Reformatted(format=format))
        self.format = self.asked_format = format
        self.settings, self.rev, self.given = settings, rev, AS_ASKED
        self.publisher = publisher
        self._asked.clear()
        self._reformatting, self._format_rev = None, 0
        self._referring, self._reference_rev = None, 0
        self._paused, self._running = False, True

    def join(self, viewer: Outbox) -> None:
        """Send outputs to ``viewer`` too."""
        self.viewers.add(viewer)
        self._run_or_rest()

    def leave(self, who: Outbox) -> bool:
        """Send nothing more to ``who``; True when that was the publisher."""
        self.viewers.discard(who)
        published = self.publisher is who
        if published:
            self.publisher = None
        self._run_or_rest()
        return published

    def close(self) -> None:
        """Forget the session's frames, here and in the worker."""
        if self._line is not None:
            self._line.cut()
            self._line = None
        self.tap.close("session_ended")
        self._worker.close(self.name)

    # ------------------------------------------------------------------------------- from the publisher and controllers

    def update(self, asker: Outbox, changes: dict[str, Any], ref: str | None) -> None:
        """Validate ``changes`` and pass them to the worker; ``updated`` goes out once they are in force.

        Raises:
            SettingsError: naming the field at fault; the settings in force stay.
            SessionError: ``too_many_updates`` while too many are unconfirmed.
        """
        if len(self._asked) >= MAX_UPDATES_WAITING:
            raise SessionError(
                "too_many_updates", f"{MAX_UPDATES_WAITING} updates are not in force yet", retryable=True
            )
        settings = merge_settings(self.settings, changes)
        info = self._worker.info
        check_settings(settings, info.max_steps, info.loras)
        self.settings = settings
        self.rev += 1
        self._asked.append(Asked(self.rev, self.settings, ref, asker))
        self._worker.update(self.name, self.given.settings(settings), self.rev)
        self.trace.changed(self.rev, changes)

    def reformat(self, asker: Outbox, changes: dict[str, Any], ref: str | None) -> None:
        """Have another format prepared, instead of one that is being prepared; ``reformatted`` goes out once it is in
        force. What ``changes`` does not name stays as it was asked for last.

        Raises:
            SettingsError: naming the field at fault; nothing changes.
        """
        superseded = self._reformatting
        last = self.asked_format if superseded is None else superseded.format
        wanted = parse_format({**last.model_dump(), **changes})
        self.given = replace(self.given, shrunk=0)
        self._reformatting = Reformatting(self._prepare(wanted), wanted, ref, asker)
        if superseded is not None:
            self._supersede("format", superseded)

    def give(self, given: Given, why: str) -> bool:
        """Compute with less than was asked for, or with more again, and tell everybody why."""
        format = given.format(self.asked_format)
        if self._reformatting is not None or len(self._asked) >= MAX_UPDATES_WAITING:
            return False
        before, self.given = self.given, given
        if format != before.format(self.asked_format):
            self._prepare(format)
        if given.one_step != before.one_step:
            self.rev += 1
            self._worker.update(self.name, given.settings(self.settings), self.rev)
        code = "quality_restored" if given == AS_ASKED else "quality_changed"
        steps = given.settings(self.settings).steps
        fact = f"at most {given.rate(self.settings.max_fps)} frames a second, {format.width}x{format.height}"
        self.on_warning(code, f"{why}; now {fact}, {steps} {'step' if steps == 1 else 'steps'}")
        return True

    def _prepare(self, format: FrameFormat) -> int:
        """Have the worker make another format, and return the revision that it will be in force with."""
        self._format_rev += 1
        self._worker.reformat(self.name, format, self._format_rev)
        return self._format_rev

    def refer(self, asker: Outbox, reference: Pixels | None, ref: str | None) -> None:
        """Have another reference picture steer, uint8 [H, W, 3], or none, unless ``asker`` has left, or another
        connection has taken over from it; ``referenced`` goes out once it is in force. One without an answer is
        replaced."""
        if not self._has(asker):
            return
        superseded = self._referring
        self._reference_rev += 1
        self._referring = Referring(self._reference_rev, reference, ref, asker)
        self._worker.refer(self.name, reference, self._reference_rev)
        if superseded is not None:
            self._supersede("image", superseded)

    def touch(self, now_s: float) -> None:
        """Begin to count how long the session lasts, and how long nothing comes."""
        self.opened_s = self._touched_s = now_s

    def idle_s(self, now_s: float) -> float:
        """How long nothing came; a prompt stream that somebody watches is not idle."""
        if self.settings.source == "prompt" and self._running:
            self._touched_s = now_s
        return now_s - self._touched_s

    def admit(self, now_s: float) -> bool:
        """Count a frame that arrived, and say whether it is worth decoding."""
        self.frames_in += 1
        self._touched_s = now_s
        if self._paused:
            self.drops["paused"] += 1
            return False
        if self.settings.source == "prompt":
            self.drops["source"] += 1
            return False
        if not self._pacer.admit(now_s, self.given.rate(self.settings.max_fps)):
            self.drops["rate"] += 1
            return False
        return True

    def submit(self, publisher: Outbox, frame: Frame) -> None:
        """Hand a decoded frame to the worker, unless another connection has taken the session over."""
        if publisher is self.publisher and not self._paused:
            self.tap.frame(frame)
            self._worker.submit(self.name, frame)

    def pause(self, who: Outbox) -> None:
        """Publisher: stop computing. Viewer: stop sending to it."""
        if who is self.publisher:
            self._paused = True
            self._run_or_rest()
        else:
            who.pause()

    def resume(self, who: Outbox) -> None:
        """End a pause."""
        if who is self.publisher:
            self._paused = False
            self._run_or_rest()
        else:
            who.resume()

    def report(self, who: Outbox, ref: str | None) -> StatsReport:
        """The session's counters, with the drops on the way to ``who``."""
        return StatsReport(
            frames_in=self.frames_in,
            frames_out=self.frames_out,
            drops=dict(self.drops + who.drops),
            stages=self.stages.percentiles(),
            viewers=len(self.viewers),
            backend=self._worker.info.backend,
            ref=ref,
        )

    def fit(self, info: WorkerInfo) -> None:
        """Another model is in force: ask for the nearest settings that it can do."""
        fitted = fit_settings(self.settings, info.max_steps, info.loras)
        if fitted != self.settings:
            self.settings = fitted
            self.rev += 1
            self._worker.update(self.name, self.given.settings(fitted), self.rev)

    def subscribers(self) -> Iterator[Outbox]:
        """The publisher and the viewers."""
        if self.publisher is not None:
            yield self.publisher
        yield from tuple(self.viewers)

    # ----------------------------------------------------------------------------------------------- from the worker

    def on_output(self, output: Output, *, gap: bool) -> None:
        self.frames_out += 1
        self.stages.record(queued_ms=output.timing.queued_ms, engine_ms=output.timing.engine_ms)
        self.newest = output
        picture = Picture(output, self.settings.quality, self._pool, self.stages)
        for subscriber in self.subscribers():
            subscriber.offer(picture, gap=gap)

    def on_applied(self, rev: int, reading: Reading | None) -> None:
        self.trace.in_force(rev)
        answered = [self._asked.popleft() for _ in range(sum(asked.rev <= rev for asked in self._asked))]
        if not answered and rev != self.rev:
            return  # older than what the connection that took over asked for
        updated = Updated(
            rev=rev,
            settings=self.settings if rev == self.rev else answered[-1].settings,
            understood=None if reading is None else reading.understood,
            styles={} if reading is None else reading.styles,
        )
        self.updated = updated
        for subscriber in self.subscribers():
            refs = [asked.ref for asked in answered if asked.asker is subscriber and asked.ref is not None]
            subscriber.tell(*(updated.model_copy(update={"ref": ref}) for ref in refs))
            if not refs:
                subscriber.refresh(updated)

    def on_dropped(self, reason: str, count: int) -> None:
        self.drops[reason] += count

    def on_refused(self, rev: int, error: StreamgenError) -> None:
        self.trace.refused(rev, error.code)
        refused = next((asked for asked in self._asked if asked.rev == rev), None)
        if refused is not None:
            self._asked.remove(refused)
        if self.updated is not None and rev == self.rev:
            self.settings = self.updated.settings
        if refused is not None:
            self._answer(refused.asker, ErrorMessage.of(error, refused.ref))
        elif self.publisher is not None:
            self.publisher.tell(ErrorMessage.of(error))

    def on_logged(self, event: Event) -> None:
        self.tap.log(event)

    def on_error(self, error: StreamgenError) -> None:
        if self.publisher is not None:
            self.publisher.tell(ErrorMessage.of(error))

    def on_warning(self, code: str, message: str) -> None:
        for subscriber in self.subscribers():
            subscriber.tell(WarningMessage(code=code, message=message))

    def on_reformatted(self, rev: int, format: FrameFormat) -> None:
        asked = self._reformatting
        self.format = format
        if asked is None or asked.rev != rev:
            asked = None
        else:
            self._reformatting, self.asked_format = None, format
        for subscriber in self.subscribers():
            ref = asked.ref if asked is not None and asked.asker is subscriber else None
            subscriber.change_format(Reformatted(format=format, ref=ref))

    def on_reformat_failed(self, rev: int, error: StreamgenError) -> None:
        asked = self._reformatting
        if asked is None or asked.rev != rev:
            return
        self._reformatting = None
        self._answer(asked.asker, ErrorMessage.of(error, asked.ref))

    def on_referenced(self, rev: int) -> None:
        asked = self._referring
        if asked is None or asked.rev != rev:
            return
        self._reference, self._referring = asked.reference, None
        self._answer(asked.asker, Referenced(ref=asked.ref))

    def on_reference_failed(self, rev: int, error: StreamgenError) -> None:
        asked = self._referring
        if asked is None or asked.rev != rev:
            return
        self._referring = None
        self._answer(asked.asker, ErrorMessage.of(error, asked.ref))

    def _supersede(self, field: str, asked: Reformatting | Referring) -> None:
        """Answer a request that a newer one has replaced."""
        newer = SessionError("superseded", f"a newer {field} was asked for before this one was ready", field=field)
        self._answer(asked.asker, ErrorMessage.of(newer, asked.ref))

    def _answer(self, asker: Outbox, message: ErrorMessage | Referenced) -> None:
        """Answer whoever asked, if it is still there."""
        if self._has(asker):
            asker.tell(message)

    def _has(self, who: Outbox) -> bool:
        return who is self.publisher or who in self.viewers

    def _run_or_rest(self) -> None:
        """A prompt stream goes on while somebody is there to see it, unless its publisher has paused it."""
        running = not self._paused and (self.publisher is not None or bool(self.viewers))
        if running != self._running and self._line is not None:  # else it is closed, and its name may be another's
            self._running = running
            self._worker.set_running(self.name, running)
