"""One session: a publisher, its viewers, and the settings and counters they share."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from streamgen.errors import SessionError, StreamgenError
from streamgen.frames import Frame, Output
from streamgen.metrics import Drops, StageTimes
from streamgen.pacing import SERVER_BURST, Pacer
from streamgen.protocol import ErrorMessage, StatsReport, Updated, WarningMessage
from streamgen.server.outbox import Outbox
from streamgen.server.picture import CodecPool, Picture
from streamgen.server.worker_link import WorkerLink
from streamgen.settings import FrameFormat, Reading, StreamSettings, merge_settings

__all__ = ["MAX_UPDATES_WAITING", "MAX_VIEWERS", "Session"]

MAX_VIEWERS = 64
MAX_UPDATES_WAITING = 64


@dataclass(frozen=True, slots=True)
class _Asked:
    """An update that the worker has not confirmed yet."""

    rev: int
    settings: StreamSettings
    ref: str | None


class Session:
    """What outlives a publisher's connection. Made and ended by ``Sessions``; all of it runs on the event loop.

    Call ``open()`` once a publisher is there, and again whenever another connection takes the session over.
    """

    def __init__(
        self, name: str, token: str, format: FrameFormat, settings: StreamSettings, worker: WorkerLink, pool: CodecPool
    ) -> None:
        self.name = name
        self.token = token
        self.format = format
        self.settings = settings
        self.rev = 0
        self.publisher: Outbox | None = None
        self.viewers: set[Outbox] = set()
        self.newest: Output | None = None
        self.updated: Updated | None = None
        self.drops = Drops()
        self.stages = StageTimes()
        self._worker = worker
        self._pool = pool
        self._line: _Line | None = None
        self._asked: deque[_Asked] = deque()  # bounded: update() refuses more than MAX_UPDATES_WAITING
        self._pacer = Pacer(SERVER_BURST)
        self._paused = False
        self._frames_in = 0
        self._frames_out = 0

    def open(self, publisher: Outbox, format: FrameFormat, settings: StreamSettings) -> None:
        """Put ``publisher`` in charge. Frames in flight from an earlier connection reach nobody.

        Raises:
            WorkerError: ``worker_not_ready``; the session stays as it was.
        """
        line = _Line(self)
        rev = self.rev if settings == self.settings else self.rev + 1
        self._worker.open(self.name, format, settings, rev, line)
        if self._line is not None:
            self._line.cut()
        self._line = line
        if format != self.format:
            self.newest = None
        self.format, self.settings, self.rev = format, settings, rev
        self.publisher = publisher
        self._asked.clear()
        self._paused = False

    def close(self) -> None:
        """Forget the session's frames, here and in the worker."""
        if self._line is not None:
            self._line.cut()
        self._worker.close(self.name)

    # -------------------------------------------------------------------------------------------- from the publisher

    def update(self, changes: dict[str, Any], ref: str | None) -> None:
        """Validate ``changes`` and pass them to the worker; ``updated`` goes out once they are in force.

        Raises:
            SettingsError: naming the field at fault; the settings in force stay.
            SessionError: ``too_many_updates`` while too many are unconfirmed.
        """
        if len(self._asked) >= MAX_UPDATES_WAITING:
            raise SessionError(
                "too_many_updates", f"{MAX_UPDATES_WAITING} updates are not in force yet", retryable=True
            )
        self.settings = merge_settings(self.settings, changes)
        self.rev += 1
        self._asked.append(_Asked(self.rev, self.settings, ref))
        self._worker.update(self.name, self.settings, self.rev)

    def admit(self, now_s: float) -> bool:
        """Count a frame that arrived, and say whether it is worth decoding."""
        self._frames_in += 1
        if self._paused:
            self.drops["paused"] += 1
            return False
        if not self._pacer.admit(now_s, self.settings.max_fps):
            self.drops["rate"] += 1
            return False
        return True

    def submit(self, publisher: Outbox, frame: Frame) -> None:
        """Hand a decoded frame to the worker, unless another connection has taken the session over."""
        if publisher is self.publisher and not self._paused:
            self._worker.submit(self.name, frame)

    def pause(self, who: Outbox) -> None:
        """Publisher: stop computing. Viewer: stop sending to it."""
        if who is self.publisher:
            self._paused = True
        else:
            who.pause()

    def resume(self, who: Outbox) -> None:
        """End a pause."""
        if who is self.publisher:
            self._paused = False
        else:
            who.resume()

    def report(self, who: Outbox, ref: str | None) -> StatsReport:
        """The session's counters, with the drops on the way to ``who``."""
        return StatsReport(
            frames_in=self._frames_in,
            frames_out=self._frames_out,
            drops=dict(self.drops + who.drops),
            stages=self.stages.percentiles(),
            viewers=len(self.viewers),
            backend=self._worker.info.backend,
            ref=ref,
        )

    # ----------------------------------------------------------------------------------------------- from the worker

    def on_output(self, output: Output, *, gap: bool) -> None:
        self._frames_out += 1
        self.stages.record(queued_ms=output.timing.queued_ms, engine_ms=output.timing.engine_ms)
        self.newest = output
        picture = Picture(output, self.settings.quality, self._pool, self.stages)
        for subscriber in self._subscribers():
            subscriber.offer(picture, gap=gap)

    def on_applied(self, rev: int, reading: Reading | None) -> None:
        answered = [self._asked.popleft() for _ in range(sum(asked.rev <= rev for asked in self._asked))]
        if not answered and rev != self.rev:
            return  # older than what the connection that took over asked for
        updated = Updated(
            rev=rev,
            settings=answered[-1].settings if answered else self.settings,
            understood=None if reading is None else reading.understood,
            styles={} if reading is None else reading.styles,
        )
        self.updated = updated
        for viewer in self.viewers:
            viewer.refresh(updated)
        if self.publisher is None:
            return
        refs = [asked.ref for asked in answered if asked.ref is not None]
        self.publisher.tell(*(updated.model_copy(update={"ref": ref}) for ref in refs))
        if not refs:
            self.publisher.refresh(updated)

    def on_dropped(self, reason: str, count: int) -> None:
        self.drops[reason] += count

    def on_refused(self, rev: int, error: StreamgenError) -> None:
        refused = next((asked for asked in self._asked if asked.rev == rev), None)
        if refused is not None:
            self._asked.remove(refused)
        if self.updated is not None and rev == self.rev:
            self.settings = self.updated.settings
        if self.publisher is not None:
            self.publisher.tell(ErrorMessage.of(error, None if refused is None else refused.ref))

    def on_error(self, error: StreamgenError) -> None:
        if self.publisher is not None:
            self.publisher.tell(ErrorMessage.of(error))

    def on_warning(self, code: str, message: str) -> None:
        for subscriber in self._subscribers():
            subscriber.tell(WarningMessage(code=code, message=message))

    def _subscribers(self) -> Iterator[Outbox]:
        if self.publisher is not None:
            yield self.publisher
        yield from tuple(self.viewers)


class _Line:
    """The worker's line to one opening of a session; once cut, nothing that is still under way arrives."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session: Session | None = session

    def cut(self) -> None:
        self._session = None

    def on_output(self, output: Output, *, gap: bool) -> None:
        if self._session is not None:
            self._session.on_output(output, gap=gap)

    def on_applied(self, rev: int, reading: Reading | None) -> None:
        if self._session is not None:
            self._session.on_applied(rev, reading)

    def on_dropped(self, reason: str, count: int) -> None:
        if self._session is not None:
            self._session.on_dropped(reason, count)

    def on_refused(self, rev: int, error: StreamgenError) -> None:
        if self._session is not None:
            self._session.on_refused(rev, error)

    def on_error(self, error: StreamgenError) -> None:
        if self._session is not None:
            self._session.on_error(error)

    def on_warning(self, code: str, message: str) -> None:
        if self._session is not None:
            self._session.on_warning(code, message)
