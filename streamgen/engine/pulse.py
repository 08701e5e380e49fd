"""Signs of life: a worker process says that its loop turns, in memory that the server reads without asking it."""

from __future__ import annotations

from multiprocessing.context import BaseContext

__all__ = ["Heart", "Pulse"]

_NOT_WARM = 10.0
"""How much more patience the first steps of a process get: kernels are chosen, memory is laid out."""
_SLOWER_THAN_EVER = 10.0
"""A turn of the loop may take so many times the longest one before it."""


class Pulse:
    """When the loop turned last, and how long it may be silent after that. Written by the worker, read by the server.

    Made by the server and passed to the process as an argument; both clocks are the system's monotonic one.
    """

    def __init__(self, context: BaseContext) -> None:
        self._memory = context.RawArray("d", 2)

    def beat(self, now_s: float, patience_s: float) -> None:
        """Note a turn of the loop."""
        # Patience first: a reader between the two must not hold an old turn against a shorter patience.
        self._memory[1] = patience_s
        self._memory[0] = now_s

    def silence_s(self, now_s: float) -> float:
        """How far past its patience the worker has been silent; 0 or less while all is well, and before its first
        turn."""
        beat_s, patience_s = self._memory
        return now_s - beat_s - patience_s if beat_s else 0.0


class Heart:
    """The worker's side: knows how long a turn of its loop may take.

    Args:
        pulse: where it is noted.
        least_s: patience at least; 0 or less for no end of it.
    """

    def __init__(self, pulse: Pulse, least_s: float) -> None:
        self._pulse = pulse
        self._least_s = least_s if least_s > 0 else float("inf")
        self._longest_s = 0.0
        self._beat_s: float | None = None

    def beat(self, now_s: float, *, warm: bool) -> None:
        """Note a turn; ``warm`` once a few frames have been computed."""
        if self._beat_s is not None:
            self._longest_s = max(self._longest_s, now_s - self._beat_s)
        self._beat_s = now_s
        least_s = self._least_s if warm else self._least_s * _NOT_WARM
        self._pulse.beat(now_s, max(least_s, self._longest_s * _SLOWER_THAN_EVER))
