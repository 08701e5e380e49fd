"""Learning rates over a run."""

from __future__ import annotations

import math

__all__ = ["ramp_and_cool"]


def ramp_and_cool(
    step: int, done: float, *, warm_up_steps: int = 100, cool_down_from: float = 0.6, last: float = 0.02
) -> float:
    """A short ramp, a plateau, then a cosine down to almost nothing: the share of the peak rate, 0 to 1.

    Args:
        step: steps done.
        done: the share of the run that is behind, 0 to 1.
        warm_up_steps: length of the ramp.
        cool_down_from: the share of the run at which the plateau ends.
        last: the share of the peak rate at the end.
    """
    late = min(1.0, max(0.0, (done - cool_down_from) / (1 - cool_down_from)))
    return min(1.0, (step + 1) / warm_up_steps) * (last + (1 - last) * (1 + math.cos(math.pi * late)) / 2)
