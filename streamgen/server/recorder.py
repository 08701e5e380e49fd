"""A thread that writes down what a session's engine is given: frames as video, all else as a timeline.

Nothing waits for it. When the disk is too slow, frames are left out of the video and the timeline says how many; when
it is full, the recording ends, and what was written until then can be read.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from av.error import FFmpegError

from streamgen.errors import MediaError
from streamgen.frames import Frame
from streamgen.lossless import LosslessWriter
from streamgen.media import reason_of
from streamgen.timeline import Ended, Event, Given, Header, Lost, Segment, write_event

__all__ = ["LEAST_FREE_BYTES", "Recorder", "open_exclusively"]

_LOG = logging.getLogger(__name__)
LEAST_FREE_BYTES = 256 * 2**20
"""What a recording leaves of a disk to everybody else."""
_WAITING_BYTES = 64 * 2**20
"""Of frames that wait for the disk: two seconds of 1280x720."""
_WAITING_EVENTS = 50_000
_LOOK_FRAMES = 30


def open_exclusively(path: Path) -> IO[bytes]:
    """A new file, unbuffered: what was written to it outlives this process, however that ends."""
    return path.open("xb", buffering=0)


class Recorder:
    """Records one session. Call ``begin()``, and ``end()`` when done; hand it everything in between.

    ``frame`` and ``log`` are called on one thread, and never wait.

    Args:
        folder: where ``name`` .jsonl and .mkv go; it must exist.
        name: of the files.
        session: to be noted.
        on_failed: called on the writing thread with why the recording has ended by itself.
        on_ended: called there when it has ended as it should.
        open_file: makes a file.
        least_free_bytes: of the disk, below which the recording ends.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        session: str,
        on_failed: Callable[[MediaError], None],
        on_ended: Callable[[], None],
        open_file: Callable[[Path], IO[bytes]] = open_exclusively,
        least_free_bytes: int = LEAST_FREE_BYTES,
    ) -> None:
        self.name = name
        self.frames = 0
        self.lost = 0
        self._folder = folder
        self._session = session
        self._on_failed = on_failed
        self._on_ended = on_ended
        self._open_file = open_file
        self._least_free_bytes = least_free_bytes
        self._waiting: deque[Frame | Event] = deque()
        self._waiting_bytes = 0
        self._unwritten = 0  # frames lost since the timeline last said so
        self._stuck = False
        self._end: str | None = None
        self._changed = threading.Condition()
        self._timeline: IO[bytes] | None = None
        self._video: LosslessWriter | None = None
        self._video_file: IO[bytes] | None = None
        self._shape: tuple[int, ...] = ()
        self._segments = 0
        self._began_s: float | None = None
        self._thread = threading.Thread(target=self._run, name="streamgen-record", daemon=True)

    def begin(self) -> None:
        """Create the timeline and start.

        Raises:
            MediaError: ``recording_failed``.
        """
        try:
            self._check_room()
            self._timeline = self._open_file(self._folder / f"{self.name}.jsonl")
            started = datetime.now(UTC).isoformat(timespec="milliseconds")
            self._timeline.write(write_event(Header(session=self._session, started=started)))
        except OSError as error:
            raise _failure(error) from None
        self._thread.start()

    def frame(self, frame: Frame) -> None:
        """Note a frame that the engine is about to be given. Its pixels must not change any more."""
        with self._changed:
            if self._waiting_bytes + frame.pixels.nbytes > _WAITING_BYTES:
                self.lost += 1
                self._unwritten += 1
                return
            self._note_lost()
            self._waiting_bytes += frame.pixels.nbytes
            self._waiting.append(frame)
            self._changed.notify()

    def log(self, event: Event) -> None:
        """Note an event; the engine was given all frames that were noted before."""
        with self._changed:
            if len(self._waiting) < _WAITING_EVENTS:
                self._note_lost()
                self._waiting.append(event)
            else:
                self._stuck = True
            self._changed.notify()

    def end(self, reason: str) -> None:
        """Write what waits, and close the files. Does not wait for that: ``join()`` does."""
        with self._changed:
            self._end = self._end or reason
            self._changed.notify()

    def join(self, timeout_s: float) -> bool:
        """Wait until the files are closed; False when that takes longer."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _note_lost(self) -> None:
        if self._unwritten:
            self._waiting.append(Lost(count=self._unwritten))
            self._unwritten = 0

    # ------------------------------------------------------------------------------------------ on the writing thread

    def _run(self) -> None:
        reason, error = "recording_failed", None
        try:
            while (item := self._next()) is not None:
                self._write(item)
            reason = self._end or "stopped"
            self._close_video()
        except (OSError, FFmpegError) as caught:
            error = _failure(caught)
            _LOG.warning("recording %s has ended: %s", self.name, error)
        self._close(reason)
        if error is not None:
            self._on_failed(error)
        else:
            self._on_ended()

    def _next(self) -> Frame | Event | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._end is not None)
            if self._stuck:
                raise OSError(None, "the disk stands still")
            if not self._waiting:
                return None
            item = self._waiting.popleft()
            if isinstance(item, Frame):
                self._waiting_bytes -= item.pixels.nbytes
            return item

    def _write(self, item: Frame | Event) -> None:
        if isinstance(item, Frame):
            self._write_frame(item)
        else:
            self._write_event(item)

    def _write_frame(self, frame: Frame) -> None:
        if self.frames % _LOOK_FRAMES == 0:
            self._check_room()
        if frame.pixels.shape != self._shape or self._video is None:
            self._begin_segment(frame)
        assert self._video is not None
        if self._began_s is None:
            self._began_s = frame.received_s
        self._video.write(frame.pixels, max(0.0, frame.received_s - self._began_s))
        self.frames += 1
        self._write_event(Given(seq=frame.seq, captured_us=frame.captured_us, received_s=frame.received_s))

    def _begin_segment(self, frame: Frame) -> None:
        """Frames of another size than those before go into a file of their own."""
        self._close_video()
        self._segments += 1
        file = f"{self.name}.mkv" if self._segments == 1 else f"{self.name}-{self._segments}.mkv"
        height, width, channels = frame.pixels.shape
        self._video_file = self._open_file(self._folder / file)
        self._video, self._shape = LosslessWriter(self._video_file, (height, width, channels)), frame.pixels.shape
        self._write_event(Segment(file=file, width=width, height=height))

    def _write_event(self, event: Event) -> None:
        assert self._timeline is not None
        line = write_event(event)
        if self._timeline.write(line) != len(line):
            raise OSError(None, "the disk took a part of a line only")

    def _close_video(self) -> None:
        if self._video is not None:
            self._video.close()
            self._video = None
        if self._video_file is not None:
            self._video_file.close()
            self._video_file = None

    def _close(self, reason: str) -> None:
        with suppress(OSError):
            self._write_event(Ended(reason=reason, frames=self.frames, lost=self.lost))
        if self._video is not None:
            self._video.abandon()
        for file in (self._video_file, self._timeline):
            if file is not None:
                with suppress(OSError):
                    file.close()

    def _check_room(self) -> None:
        if shutil.disk_usage(self._folder).free < self._least_free_bytes:
            raise OSError(None, f"the disk has less than {self._least_free_bytes // 2**20} MiB left")


def _failure(error: OSError | FFmpegError) -> MediaError:
    return MediaError("recording_failed", f"the recording cannot be written: {reason_of(error)}")
