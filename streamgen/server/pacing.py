"""The frame rate a client agreed to, held at the door before a frame is decoded."""

from __future__ import annotations

__all__ = ["Pacer"]

_BURST = 2.0
"""Frames that may come at once. With 1, a camera at 30 frames a second under a limit of 30 would lose every frame that
jitter brings a millisecond early."""


class Pacer:
    """Admits frames at an average rate (a token bucket). The clock is passed in."""

    __slots__ = ("_saved", "_seen_s")

    def __init__(self) -> None:
        self._saved = _BURST
        self._seen_s: float | None = None

    def admit(self, now_s: float, max_fps: int) -> bool:
        """True when a frame arriving at ``now_s`` is within ``max_fps``, which may differ from call to call."""
        if self._seen_s is not None:
            self._saved = min(_BURST, self._saved + (now_s - self._seen_s) * max_fps)
        self._seen_s = now_s
        if self._saved < 1.0:
            return False
        self._saved -= 1.0
        return True
