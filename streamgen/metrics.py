"""How long frames took, stage by stage, and why others were dropped."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Mapping, Sequence

import numpy as np

__all__ = ["STAGES", "WINDOW", "Drops", "Histogram", "StageTimes", "stage_histograms"]

WINDOW = 300
"""Frames that percentiles are taken over: ten seconds at 30 frames a second."""

STAGES = ("decode_ms", "queued_ms", "engine_ms", "encode_ms")
"""What a frame goes through on the server; ``queued_ms`` includes the decoding."""

Drops = Counter[str]
"""Frames dropped, by reason."""

_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5)


class Histogram:
    """Counts values by their size, from the start on.

    Args:
        bounds: upper bounds, rising, each part of its bucket; larger values are counted beyond the last.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float] = _BOUNDS_S) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


def stage_histograms() -> dict[str, Histogram]:
    """One for each of ``STAGES``, in seconds."""
    return {stage: Histogram() for stage in STAGES}


class StageTimes:
    """Percentiles of the last ``WINDOW`` values of each stage, in milliseconds.

    Args:
        totals: by stage, seconds; counts every value as well.
    """

    __slots__ = ("_stages", "_totals")

    def __init__(self, totals: Mapping[str, Histogram] | None = None) -> None:
        self._stages: dict[str, deque[float]] = {}
        self._totals = {} if totals is None else totals

    def record(self, **stages_ms: float) -> None:
        """Add one value to each stage named, such as ``engine_ms=12.5``."""
        for stage, value in stages_ms.items():
            self._stages.setdefault(stage, deque(maxlen=WINDOW)).append(value)
            total = self._totals.get(stage)
            if total is not None:
                total.observe(value / 1000)

    def percentiles(self) -> dict[str, dict[str, float]]:
        """``{"engine_ms": {"p50": ..., "p90": ...}}``; a stage without values is absent."""
        return {stage: _percentiles(values) for stage, values in self._stages.items()}


def _percentiles(values: deque[float]) -> dict[str, float]:
    p50, p90 = np.percentile(np.fromiter(values, np.float64), (50, 90))
    return {"p50": round(float(p50), 3), "p90": round(float(p90), 3)}
