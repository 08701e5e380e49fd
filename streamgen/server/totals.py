"""What the server has done since it started, for sessions and connections that are gone as well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from streamgen.metrics import Drops, Histogram, stage_histograms

__all__ = ["LAG_BOUNDS_S", "Totals"]

LAG_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
"""Upper bounds of the event loop's lag: a millisecond is good, from a twentieth of a second on pictures are late."""


class _Dropping(Protocol):
    drops: Drops


class _Served(_Dropping, Protocol):
    frames_in: int
    frames_out: int


@dataclass(slots=True)
class Totals:
    """Histograms count as things happen; of what sessions and connections count themselves, this holds the part of
    those that are gone, so that counting a frame costs nothing more.

    Args:
        stages: seconds, by stage.
        arrival_to_glass: seconds from a frame's arrival until a client said that it had painted the picture of it.
        loop_lag: seconds that the event loop was late.
        frames: ``received`` and ``computed``, of sessions that have ended.
        drops: of sessions that have ended and connections that are gone.
        opened: sessions.
    """

    stages: dict[str, Histogram] = field(default_factory=stage_histograms)
    arrival_to_glass: Histogram = field(default_factory=Histogram)
    loop_lag: Histogram = field(default_factory=lambda: Histogram(LAG_BOUNDS_S))
    frames: Counter[str] = field(default_factory=Counter)
    drops: Drops = field(default_factory=Drops)
    opened: int = 0

    def end_session(self, session: _Served) -> None:
        """Keep what a session counted."""
        self.drops += session.drops
        self.frames += _frames(session)

    def end_connection(self, outbox: _Dropping) -> None:
        """Keep what a connection counted."""
        self.drops += outbox.drops

    def all_frames(self, sessions: Iterable[_Served]) -> Counter[str]:
        """``received`` and ``computed``, with those of ``sessions``."""
        return sum((_frames(session) for session in sessions), self.frames)

    def all_drops(self, counting: Iterable[_Dropping]) -> Drops:
        """By reason, with those of the sessions and connections that there are."""
        return sum((one.drops for one in counting), self.drops)


def _frames(session: _Served) -> Counter[str]:
    return Counter(received=session.frames_in, computed=session.frames_out)
