"""A recording read back: its timeline, and the frames that the engine took.

::

    recording = Recording.open(path)
    for event, pixels in recording.events():
        ...

A recording that was cut off, because the disk was full or the process was killed, is read up to where timeline and
video are whole.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from streamgen.errors import MediaError
from streamgen.frames import Pixels
from streamgen.lossless import read_lossless
from streamgen.media import reason_of
from streamgen.timeline import Began, Computed, Ended, Event, Given, Header, Lost, Segment, parse_event

__all__ = ["Recording", "Survey"]

_MISSING = -1


@dataclass(frozen=True, slots=True)
class Survey:
    """What a look through the timeline finds.

    Args:
        given: frames in the video, as far as the timeline goes.
        made: pictures that the engine made live.
        unseen: frames that the engine was given, but had a newer one instead by the time it was free.
        lost: frames that the disk was too slow for.
        missing: frames that the engine took and the video lacks.
        warm_up: pictures that the eager network made, before the one of this shape was ready.
        together: pictures that were computed together with those of other sessions.
        complete: the recording ended as it should.
    """

    given: int
    made: int
    unseen: int
    lost: int
    missing: int
    warm_up: int
    together: int
    complete: bool


class Recording:
    """A timeline and its video files. Make it with ``open``.

    Args:
        timeline: the ``.jsonl``.
        header: its first line.
        first: where the engine began.
        survey: what it holds.
        cut: the video turned out to end before the timeline does; known once ``events()`` was walked.
    """

    def __init__(self, timeline: Path, header: Header, first: Began, survey: Survey, taken: array[int]) -> None:
        self.timeline = timeline
        self.header = header
        self.first = first
        self.survey = survey
        self.cut = False
        self._taken = taken

    @classmethod
    def open(cls, path: Path) -> Self:
        """Look through a recording.

        Args:
            path: of its timeline or its video.

        Raises:
            MediaError: ``cannot_read`` when there is none, ``not_a_recording`` when it is something else,
                ``recording_incomplete`` when the engine never began in it.
        """
        timeline = path.with_suffix(".jsonl")
        lines = _whole_events(timeline)
        header = next(lines, None)
        if not isinstance(header, Header):
            raise MediaError("not_a_recording", f"{timeline} is no timeline of a recording", field="recording")
        looking = _Look()
        for event in lines:
            looking.see(event)
        if looking.first is None:
            fact = f"{timeline} was cut off before the first frame was computed"
            raise MediaError("recording_incomplete", fact, field="recording")
        return cls(timeline, header, looking.first, looking.survey(), looking.taken)

    def events(self) -> Iterator[tuple[Event, Pixels | None]]:
        """What happened, in order, up to where timeline and video are whole. ``Given`` and ``Computed`` come with the
        frame, uint8 [H, W, 3]; None for a computed one where the engine made it itself, or the video lacks it."""
        taken, given = iter(self._taken), 0
        video: Iterator[Pixels] = iter(())
        waiting: dict[int, Pixels] = {}
        wanted = set(self._taken)
        for event in _whole_events(self.timeline):
            if isinstance(event, Segment):
                video = read_lossless(self.timeline.with_name(event.file))
            if isinstance(event, Given):
                pixels = next(video, None)
                if pixels is None:
                    self.cut = True
                    return
                if given in wanted:
                    waiting[given] = pixels
                given += 1
                yield event, pixels
            elif isinstance(event, Computed) and not event.dreamed:
                index = next(taken)
                yield event, waiting.pop(index, None)
            else:
                yield event, None


class _Look:
    """The first pass over a timeline: which frame of the video each computation took."""

    def __init__(self) -> None:
        self.first: Began | None = None
        self.taken: array[int] = array("q")
        self.given = 0
        self._waiting: dict[tuple[int, int], int] = {}
        self._counts = {"made": 0, "lost": 0, "missing": 0, "warm_up": 0, "together": 0}
        self._complete = False

    def see(self, event: Event) -> None:
        if isinstance(event, Began):
            self.first = self.first or event
        elif isinstance(event, Given):
            self._waiting[event.seq, event.captured_us] = self.given
            self.given += 1
        elif isinstance(event, Lost):
            self._counts["lost"] += event.count
        elif isinstance(event, Computed):
            self._count(event)
        elif isinstance(event, Ended):
            self._complete = event.reason != "recording_failed"

    def survey(self) -> Survey:
        found = sum(index != _MISSING for index in self.taken)
        return Survey(given=self.given, unseen=self.given - found, complete=self._complete, **self._counts)

    def _count(self, event: Computed) -> None:
        made = event.outcome == "made"
        self._counts["made"] += made
        self._counts["warm_up"] += made and event.warm_up
        self._counts["together"] += made and event.together > 1
        if not event.dreamed:
            index = self._waiting.get((event.seq, event.captured_us), _MISSING)
            self._counts["missing"] += index == _MISSING
            self.taken.append(index)
            # The engine takes the newest: what was given before can no longer be taken.
            self._waiting = {key: later for key, later in self._waiting.items() if later > index}


def _whole_events(timeline: Path) -> Iterator[Event]:
    """The events of a file, up to the first line that is not whole.

    Raises:
        MediaError: ``cannot_read``.
    """
    try:
        with timeline.open("rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    return
                try:
                    yield parse_event(line)
                except MediaError:
                    return
    except OSError as error:
        raise MediaError("cannot_read", f"cannot read {timeline}: {reason_of(error)}", field="recording") from None
