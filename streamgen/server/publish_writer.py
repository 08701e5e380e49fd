"""A thread that gives one session's newest picture to a process that writes it, and starts another when that fails."""

from __future__ import annotations

import atexit
import logging
import multiprocessing
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from streamgen.codec import flatten
from streamgen.errors import ConfigError
from streamgen.frames import Pixels
from streamgen.logs import about
from streamgen.media import reason_of
from streamgen.server.publish_stream import Show, run_stream
from streamgen.server.publish_target import Job, Target

__all__ = ["Writer"]

_LOG = logging.getLogger(__name__)
_HOLD_S = 1.0
"""A live connection is sent the last picture again after so long without another: servers drop silent ones."""
_PATIENCE_S = 10.0
"""A connection that takes so long to open, or to take one picture, is given up."""
_START_S = 60.0
"""Likewise a process that starts, which reads a hundred megabytes of libraries."""
_FINISH_S = 5.0
"""The same once there is nothing more to come."""
_SETTLED_S = 2.0
"""A live connection that lasts so long is one. Servers that know no such stream often say so after some pictures."""
_BACKOFF_S = (1.0, 30.0)
_LOOK_S = 0.1
_DIED = "its process ended"


@dataclass(frozen=True, slots=True)
class _Shown:
    """A picture, uint8 [H, W, 3 or 4], and when it was made, monotonic seconds."""

    pixels: Pixels
    time_s: float


class _Lost(Exception):
    """The connection or file cannot go on; the message says why."""


class _Slot:
    """One place for the newest picture. The event loop puts, the thread takes."""

    def __init__(self) -> None:
        self.replaced = 0
        self._newest: _Shown | None = None
        self._ended = False
        self._changed = threading.Condition()

    @property
    def ended(self) -> bool:
        """True once no more pictures come."""
        return self._ended

    def put(self, shown: _Shown) -> None:
        """Replace the picture that waits, and count it."""
        with self._changed:
            self.replaced += self._newest is not None
            self._newest = shown
            self._changed.notify()

    def put_back(self, shown: _Shown) -> None:
        """Have a picture taken once more, unless there is a newer one."""
        with self._changed:
            self._newest = self._newest or shown

    def end(self) -> None:
        """No more pictures come; one that waits is still taken."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def take(self, timeout_s: float | None) -> _Shown | None:
        """The newest picture; None when none comes in time, or none at all any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None or self._ended, timeout_s)
            shown, self._newest = self._newest, None
            return shown

    def wait_for_end(self, timeout_s: float) -> bool:
        """Wait; True when no more pictures come."""
        with self._changed:
            return self._changed.wait_for(lambda: self._ended, timeout_s)


class Writer:
    """Writes one session to one target. Call ``begin()``, ``put()`` pictures, and ``end()`` when there are no more.

    Args:
        session: its name, to be shown.
        clock: monotonic seconds; stamps the pictures.
        on_lost: called on the writing thread when nothing can be written, with why; it goes on trying.
    """

    def __init__(
        self,
        target: Target,
        session: str,
        clock: Callable[[], float],
        on_lost: Callable[[str], None] | None = None,
    ) -> None:
        self.written = 0
        self._target = target
        self._what = f"publishing {session} to {target.label}"
        self._about = about(session)
        self._clock = clock
        self._on_lost = on_lost
        self._slot = _Slot()
        self._last: Pixels | None = None
        self._state: Literal["new", "up", "down"] = "new"
        self._thread = threading.Thread(target=self._run, name="streamgen-publish", daemon=True)

    @property
    def dropped(self) -> int:
        """Pictures that were replaced before they could be written."""
        return self._slot.replaced

    def begin(self) -> None:
        """Start. Nothing is opened before the first picture, because its size is needed."""
        self._thread.start()

    def put(self, pixels: Pixels) -> None:
        """Have a picture written, uint8 [H, W, 3 or 4], unless a newer one comes before it is its turn."""
        self._slot.put(_Shown(pixels, self._clock()))

    def end(self) -> None:
        """Complete what was written. Blocks, for seconds at most."""
        self._slot.end()
        self._thread.join()

    def _run(self) -> None:
        delays_s = _delays_s()
        while not self._slot.ended:
            try:
                self._write()
            except _Lost as lost:
                if self._state == "up":
                    delays_s = _delays_s()
                self._report_lost(lost)
                if self._slot.wait_for_end(next(delays_s)):
                    break
                if self._target.live and self._last is not None:  # a session that rests is connected again, too
                    self._slot.put_back(_Shown(self._last, self._clock()))
        if self.written:
            _LOG.info(
                "%s: ended after %d pictures, %d were dropped",
                self._what,
                self.written,
                self.dropped,
                extra=self._about,
            )

    def _write(self) -> None:
        """Write until there are no more pictures. The process starts before there is one, because it takes a second.

        Raises:
            _Lost: there are more, and they cannot be written.
        """
        process = _Process(self._slot)
        try:
            process.begin()
            first = self._slot.take(None)
            if first is not None:
                self._open(process, first)
        finally:
            process.kill()

    def _open(self, process: _Process, first: _Shown) -> None:
        self._last, before = first.pixels, self.written
        height, width = first.pixels.shape[:2]
        path = self._reserve()
        try:
            process.open(self._target.job(path, width, height))
            self._show_all(process, first)
        finally:
            if path is not None and self.written == before:
                path.unlink()

    def _reserve(self) -> Path | None:
        try:
            return None if self._target.live else self._target.reserve()
        except ConfigError as error:
            raise _Lost(error.message) from None

    def _show_all(self, process: _Process, first: _Shown) -> None:
        opened_s, shape = self._clock(), first.pixels.shape
        shown: _Shown | None = first
        while shown is not None or not self._slot.ended:
            if shown is None:
                process.show(self._clock(), None)
            else:
                if shown.pixels.shape[:2] != shape[:2]:
                    shape = shown.pixels.shape
                    _LOG.info(
                        "%s: %s is fitted into %s",
                        self._what,
                        _size(shape),
                        _size(first.pixels.shape),
                        extra=self._about,
                    )
                self._last = shown.pixels
                process.show(shown.time_s, shown.pixels)
                self.written += 1
            if not self._target.live or self._clock() - opened_s >= _SETTLED_S:
                self._report_up(_size(first.pixels.shape))
            shown = self._slot.take(_HOLD_S if self._target.live else None)
        process.finish()

    def _report_up(self, size: str) -> None:
        if self._state != "up":
            # A warning follows a warning: who heard of the loss hears of its end.
            level = logging.INFO if self._state == "new" else logging.WARNING
            _LOG.log(level, "%s: %s", self._what, size, extra=self._about)
            self._state = "up"

    def _report_lost(self, lost: _Lost) -> None:
        if self._state != "down":
            _LOG.warning("%s: %s; trying again", self._what, lost, extra=self._about)
            if self._on_lost is not None:
                self._on_lost(str(lost))
            self._state = "down"


class _Process:
    """One life of the writing process: ``begin()``, ``open()``, ``show()``, ``finish()``, and ``kill()`` in any case.

    Each but the last raises ``_Lost`` when it cannot be done, or takes too long.
    """

    def __init__(self, slot: _Slot) -> None:
        context = multiprocessing.get_context("spawn")
        self._slot = slot
        self._orders, self._theirs = context.Pipe()
        self._process = context.Process(target=run_stream, args=(self._theirs,), name="streamgen-publish", daemon=True)

    def begin(self) -> None:
        """Start it."""
        try:
            self._process.start()
        except OSError as error:
            raise _Lost(f"its process cannot be started: {reason_of(error)}") from None
        # At exit multiprocessing waits for its children, and this one may wait for the network.
        atexit.register(self._process.kill)
        self._theirs.close()
        self._await_answer(_START_S)

    def open(self, job: Job) -> None:
        """Have the connection or file opened."""
        self._tell(job)
        self._await_answer(_PATIENCE_S)

    def show(self, time_s: float, pixels: Pixels | None) -> None:
        """Write a picture, uint8 [H, W, 3 or 4]; None for the last one once more."""
        if pixels is not None and pixels.shape[2] == 4:
            pixels = flatten(pixels)
        self._tell(Show(time_s, pixels))
        self._await_answer(_PATIENCE_S)

    def finish(self) -> None:
        """Complete what was written."""
        self._tell(None)
        self._await_answer(_FINISH_S)

    def kill(self) -> None:
        """End the process, whatever it does."""
        self._orders.close()
        self._theirs.close()
        if self._process.pid is not None:
            self._process.kill()
            self._process.join()
            atexit.unregister(self._process.kill)

    def _tell(self, order: Job | Show | None) -> None:
        try:
            self._orders.send(order)
        except OSError:
            raise _Lost(_DIED) from None

    def _await_answer(self, patience_s: float) -> None:
        waited_s = 0.0
        while waited_s < (min(patience_s, _FINISH_S) if self._slot.ended else patience_s):
            if self._orders.poll(_LOOK_S):
                self._read_answer()
                return
            waited_s += _LOOK_S
        raise _Lost("the other end takes nothing")

    def _read_answer(self) -> None:
        try:
            reason: str | None = self._orders.recv()
        except (EOFError, OSError):
            raise _Lost(_DIED) from None
        if reason is not None:
            raise _Lost(reason)


def _delays_s() -> Iterator[float]:
    """How long to wait before each next attempt."""
    delay_s, most_s = _BACKOFF_S
    while True:
        yield delay_s
        delay_s = min(2 * delay_s, most_s)


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"
