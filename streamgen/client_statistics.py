"""What a stream of the Python SDK counts and measures itself. The clock is passed in; no I/O."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

__all__ = ["Counter", "Percentiles", "Statistics"]

_SPAN_S = 2.0
_KEPT = 300


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Milliseconds."""

    p50: float
    p90: float


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of one stream, since it was opened."""

    sent: int
    """Frames that went out."""
    replaced: int
    """Frames that a newer one replaced before they could be sent."""
    received: int
    """Outputs that came."""
    reconnections: int
    fps: float
    """Outputs handed to the program a second, over the last two."""
    latency_ms: Percentiles | None
    """From the capture of a frame to handing out its output, over the last 300; None before the first."""
    round_trip_ms: float | None
    """To the server and back; None before it was measured first."""


class Counter:
    """Counts. Not thread-safe: belongs to the stream's event loop."""

    def __init__(self) -> None:
        self.sent = 0
        self.replaced = 0
        self.received = 0
        self.connections = 0
        self._handed_s: deque[float] = deque()
        self._latencies_ms: deque[float] = deque(maxlen=_KEPT)

    def handed_out(self, now_s: float, latency_ms: float | None) -> None:
        """An output reaches the program.

        Args:
            now_s: a monotonic clock.
            latency_ms: since its frame was captured, if this stream sent it.
        """
        self._handed_s.append(now_s)
        self._forget(now_s)
        if latency_ms is not None:
            self._latencies_ms.append(latency_ms)

    def report(self, now_s: float, round_trip_ms: float | None) -> Statistics:
        self._forget(now_s)
        ordered = sorted(self._latencies_ms)
        return Statistics(
            sent=self.sent,
            replaced=self.replaced,
            received=self.received,
            reconnections=max(0, self.connections - 1),
            fps=len(self._handed_s) / _SPAN_S,
            latency_ms=Percentiles(_share(ordered, 50), _share(ordered, 90)) if ordered else None,
            round_trip_ms=round_trip_ms,
        )

    def _forget(self, now_s: float) -> None:
        while self._handed_s and self._handed_s[0] <= now_s - _SPAN_S:
            self._handed_s.popleft()


def _share(ordered: list[float], percent: int) -> float:
    """The value that so many percent of all do not exceed (nearest rank)."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
