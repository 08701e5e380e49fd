"""Learning rates over a run."""

from __future__ import annotations

import math

__all__ = ["ramp_and_cool"]

_WARM_UP_STEPS = 100
_COOL_DOWN_FROM = 0.6
_LAST = 0.02


def ramp_and_cool(step: int, done: float) -> float:
    """A short ramp, a plateau, then a cosine down to almost nothing: the share of the peak rate, 0 to 1.

    Args:
        step: steps done.
        done: the share of the run that is behind, 0 to 1.
    """
    late = min(1.0, max(0.0, (done - _COOL_DOWN_FROM) / (1 - _COOL_DOWN_FROM)))
    return min(1.0, (step + 1) / _WARM_UP_STEPS) * (_LAST + (1 - _LAST) * (1 + math.cos(math.pi * late)) / 2)
