"""How long a training run goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

__all__ = ["Counted", "Plan"]


class Counted(Protocol):
    """What every run counts: the steps done, and the seconds spent in them, pauses of the process left out."""

    step: int
    trained_s: float


@dataclass(frozen=True, slots=True)
class Plan:
    """When to stop: after `steps` steps or `minutes` of training, whichever comes first."""

    steps: int
    minutes: float

    def done(self, run: Counted) -> float:
        """The share of the plan that is behind the run; 1 or more when it is over."""
        return max(run.step / self.steps, run.trained_s / 60 / self.minutes)
