"""When a prompt stream makes its next frame. The clock is passed in."""

from __future__ import annotations

import math

__all__ = ["Ticker"]


class Ticker:
    """Ticks a number of times per second while it runs, and counts.

    A tick that comes late is made at once and the ones after it keep their times; those missed altogether are not made
    up for, so a device that is too slow is given one frame after the other and never a burst.
    """

    __slots__ = ("_due_s", "_next_seq", "_period_s", "_running")

    def __init__(self) -> None:
        self._next_seq = 0
        self._period_s = 0.0
        self._due_s = -math.inf
        self._running = False

    def run(self, max_fps: int, now_s: float) -> None:
        """Tick ``max_fps`` times a second from now on; the first tick after a rest is due now."""
        self._period_s = 1 / max_fps
        if self._running:
            self._due_s = min(self._due_s, now_s + self._period_s)  # a higher rate does not wait for the lower one's
        else:
            self._due_s = max(self._due_s, now_s)  # stopping and going on does not make it faster
        self._running = True

    def stop(self) -> None:
        """Tick no more until ``run``; the count goes on from where it is."""
        self._running = False

    def wait_s(self, now_s: float) -> float:
        """How long until the next tick is due; 0 for now, infinity while it does not run."""
        return max(0.0, self._due_s - now_s) if self._running else math.inf

    def tick(self, now_s: float) -> int:
        """Count a tick that is due; returns its number, from 0."""
        self._due_s = max(self._due_s + self._period_s, now_s)
        seq = self._next_seq
        self._next_seq = (seq + 1) & 0xFFFFFFFF
        return seq
