"""The frame rate agreed in ``StreamSettings.max_fps``: kept by a client, enforced by the server before it decodes."""

from __future__ import annotations

__all__ = ["CLIENT_BURST", "SERVER_BURST", "Pacer"]

CLIENT_BURST = 2.0
"""Frames that may come at once. With 1, a camera at 30 frames a second under a limit of 30 would lose every frame that
jitter brings a millisecond early."""
SERVER_BURST = 3.0
"""One more than a client allows itself, so that the network's jitter costs a client that keeps the rate no frame."""


class Pacer:
    """Admits frames at an average rate (a token bucket). The clock is passed in.

    Args:
        burst: frames that may come at once after a rest.
    """

    __slots__ = ("_burst", "_saved", "_seen_s")

    def __init__(self, burst: float) -> None:
        self._burst = burst
        self._saved = burst
        self._seen_s: float | None = None

    def admit(self, now_s: float, max_fps: int) -> bool:
        """True, and the frame counted, when one at ``now_s`` is within ``max_fps``, which may vary."""
        if self.wait_s(now_s, max_fps) > 0:
            return False
        self._saved -= 1.0
        return True

    def wait_s(self, now_s: float, max_fps: int) -> float:
        """How long until a frame is within the rate; 0 for now."""
        if self._seen_s is not None:
            self._saved = min(self._burst, self._saved + (now_s - self._seen_s) * max_fps)
        self._seen_s = now_s
        # A millionth of a frame is rounding, not haste.
        missing = 1.0 - self._saved
        return missing / max_fps if missing > 1e-6 else 0.0
