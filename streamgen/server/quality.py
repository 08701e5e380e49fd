"""What sessions sharing a busy device are given of what they ask for: less rate, then less size, then fewer steps."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from streamgen.engine.shares import Load, Spent
from streamgen.settings import SIZE_MIN, SIZE_MULTIPLE, FrameFormat, StreamSettings

__all__ = ["AS_ASKED", "Given", "Governor"]

_BUSY = 0.9
"""Share of the device's time from which on it counts as short."""
_ROOM = 0.75
"""Share that a step back up may lead to."""
_SHORT = 0.8
"""Share of its frames below which a session counts as short of them."""
_DOWN_AFTER_S = 4.0
_UP_AFTER_S = 10.0


@dataclass(frozen=True, slots=True)
class Given:
    """What a session is given instead of what it asks for.

    Args:
        fps: frames a second; None for as many as it asks for.
        shrunk: how often its width and height are halved.
        one_step: whether one step is computed instead of several.
    """

    fps: int | None = None
    shrunk: int = 0
    one_step: bool = False

    def format(self, asked: FrameFormat) -> FrameFormat:
        """The format to compute; it keeps its shape as far as the sizes there are allow."""
        sides = (max(SIZE_MIN, _multiple(side / 2**self.shrunk)) for side in (asked.width, asked.height))
        width, height = sides
        if self.shrunk == 0 or (width, height) == (asked.width, asked.height):
            return asked
        return FrameFormat(width=width, height=height, fit=asked.fit)

    def settings(self, asked: StreamSettings) -> StreamSettings:
        """The settings to compute with."""
        return asked.model_copy(update={"steps": 1}) if self.one_step else asked

    def rate(self, asked_fps: int) -> int:
        """The rate to admit."""
        return asked_fps if self.fps is None else min(asked_fps, self.fps)


AS_ASKED = Given()


class Governed(Protocol):
    """A session, as far as it is governed."""

    name: str
    settings: StreamSettings
    given: Given

    @property
    def asked_format(self) -> FrameFormat:
        """What its publisher asked for last."""

    @property
    def frames_in(self) -> int:
        """Frames that arrived so far."""

    def give(self, given: Given, why: str) -> bool:
        """Compute with that from now on, and say why; False when it cannot be done now."""


@dataclass(slots=True)
class _Watched:
    frames_in: int
    short_s: float = 0.0
    ample_s: float = 0.0


class Governor:
    """Looks at every session once a second. A session that has the device for itself is never touched: it has what
    there is, and its size and steps are its publisher's business.

    Args:
        promised_fps: the rate below which size and steps are given up; above it only the rate is.
    """

    def __init__(self, promised_fps: int) -> None:
        self._promised_fps = promised_fps
        self._watched: dict[str, _Watched] = {}

    def look(self, load: Load, sessions: Iterable[Governed]) -> None:
        """Judge by one second of the device what every session is to be given."""
        present = {session.name: session for session in sessions}
        self._watched = {name: watched for name, watched in self._watched.items() if name in present}
        busy = sum(spent.seconds for spent in load.spent.values()) / load.window_s
        contended = busy >= _BUSY and sum(spent.frames > 0 for spent in load.spent.values()) > 1
        for name, spent in load.spent.items():
            session = present.get(name)
            if session is None:
                continue
            watched = self._watched.setdefault(name, _Watched(session.frames_in))
            arrived, watched.frames_in = session.frames_in - watched.frames_in, session.frames_in
            wanted_fps = min(session.settings.max_fps, arrived / load.window_s)
            served_fps = spent.frames / load.window_s
            short = contended and served_fps < _SHORT * session.given.rate(math.ceil(wanted_fps))
            watched.short_s = watched.short_s + load.window_s if short else 0.0
            if watched.short_s >= _DOWN_AFTER_S and self._step_down(session, served_fps, wanted_fps):
                watched.short_s = watched.ample_s = 0.0
            ample = not short and self._has_room(session, spent, wanted_fps, busy, load.window_s)
            watched.ample_s = watched.ample_s + load.window_s if ample else 0.0
            if watched.ample_s >= _UP_AFTER_S and session.give(_higher(session.given), "the server has room again"):
                watched.ample_s = 0.0

    def _step_down(self, session: Governed, served_fps: float, wanted_fps: float) -> bool:
        """Rate first; below what was promised also size, then steps."""
        given, format, settings = session.given, session.asked_format, session.settings
        why = f"the server is busy: {served_fps:.0f} of {wanted_fps:.0f} frames a second could be computed"
        if given.fps is None and served_fps >= min(self._promised_fps, wanted_fps):
            return session.give(replace(given, fps=max(self._promised_fps, math.ceil(served_fps))), why)
        capped = replace(given, fps=given.fps or self._promised_fps)
        smaller = replace(capped, shrunk=given.shrunk + 1)
        if smaller.format(format) != given.format(format):
            return session.give(smaller, why)
        if settings.steps > 1 and not given.one_step:
            return session.give(replace(capped, one_step=True), why)
        return given != capped and session.give(capped, why)

    def _has_room(self, session: Governed, spent: Spent, wanted_fps: float, busy: float, window_s: float) -> bool:
        """Whether one step back up would fit."""
        if session.given == AS_ASKED:
            return False
        if not spent.frames:
            return busy < _ROOM
        higher, given = _higher(session.given), session.given
        ratio = _work(session, higher) / _work(session, given)
        needed = spent.seconds / spent.frames * ratio * higher.rate(math.ceil(wanted_fps))
        return busy - spent.seconds / window_s + needed <= _ROOM


def _higher(given: Given) -> Given:
    """One step back up: what was given up last comes back first."""
    if given.one_step:
        return replace(given, one_step=False)
    return replace(given, shrunk=given.shrunk - 1) if given.shrunk else AS_ASKED


def _work(session: Governed, given: Given) -> int:
    format = given.format(session.asked_format)
    return format.width * format.height * given.settings(session.settings).steps


def _multiple(side: float) -> int:
    return round(side / SIZE_MULTIPLE) * SIZE_MULTIPLE
