"""How often a process that ends is worth starting again."""

from __future__ import annotations

from collections import deque

__all__ = ["Restarts"]

_ALLOWED = 5
_WINDOW_S = 60.0
_YOUNG_S = 2.0


class Restarts:
    """Counts processes that died young: before they served, or within two seconds of it. One that served for a while
    may die as often as it likes; what dies on every frame, or on the way up, will not get better by being repeated."""

    def __init__(self) -> None:
        self.deaths = 0
        """Processes that ended unasked so far, or never served."""
        self._young_deaths_s: deque[float] = deque(maxlen=_ALLOWED + 1)

    def died(self, now_s: float, served_s: float) -> None:
        """A process ended that had served for ``served_s`` seconds, 0 for one that never did."""
        self.deaths += 1
        if served_s < _YOUNG_S:
            self._young_deaths_s.append(now_s)

    def hopeless(self, now_s: float) -> bool:
        """Whether more than five died young within the last minute."""
        return sum(now_s - death_s < _WINDOW_S for death_s in self._young_deaths_s) > _ALLOWED

    def verdict(self) -> str:
        """What to say when it is hopeless."""
        return f"the worker died more than {_ALLOWED} times within {_WINDOW_S:.0f} s, each time as soon as it served"
