"""How many frames a second a session receives and gets computed."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Rates"]


@dataclass(slots=True)
class Rates:
    """Of the last second or so. Call ``look`` once a second.

    Args:
        received_fps: frames a second that arrived.
        computed_fps: frames a second that pictures were made of.
    """

    received_fps: float = 0.0
    computed_fps: float = 0.0
    _received: int = 0
    _computed: int = 0

    def look(self, received: int, computed: int, window_s: float) -> None:
        """Learn how many there are by now, ``window_s`` seconds after the last look."""
        self.received_fps = (received - self._received) / window_s
        self.computed_fps = (computed - self._computed) / window_s
        self._received, self._computed = received, computed
