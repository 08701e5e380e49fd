"""How long the last frames took, stage by stage, and why others were dropped."""

from __future__ import annotations

from collections import Counter, deque

import numpy as np

__all__ = ["WINDOW", "Drops", "StageTimes"]

WINDOW = 300
"""Frames that percentiles are taken over: ten seconds at 30 frames a second."""

Drops = Counter[str]
"""Frames dropped, by reason."""


class StageTimes:
    """Percentiles of the last ``WINDOW`` values of each stage, in milliseconds."""

    __slots__ = ("_stages",)

    def __init__(self) -> None:
        self._stages: dict[str, deque[float]] = {}

    def record(self, **stages_ms: float) -> None:
        """Add one value to each stage named, such as ``engine_ms=12.5``."""
        for stage, value in stages_ms.items():
            self._stages.setdefault(stage, deque(maxlen=WINDOW)).append(value)

    def percentiles(self) -> dict[str, dict[str, float]]:
        """``{"engine_ms": {"p50": ..., "p90": ...}}``; a stage without values is absent."""
        return {stage: _percentiles(values) for stage, values in self._stages.items()}


def _percentiles(values: deque[float]) -> dict[str, float]:
    p50, p90 = np.percentile(np.fromiter(values, np.float64), (50, 90))
    return {"p50": round(float(p50), 3), "p90": round(float(p90), 3)}
