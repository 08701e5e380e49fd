"""``GET /metrics``: what the server does and has done, as Prometheus reads it. docs/deploy.md lists every metric.

Nothing is labelled by session: every session of a server's life would be a time series of its own for ever.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate

from fastapi import FastAPI, Request, Response
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from streamgen import __version__
from streamgen.errors import StreamgenError
from streamgen.metrics import Histogram
from streamgen.server.house import House
from streamgen.server.quality import AS_ASKED
from streamgen.server.refusal import refusal
from streamgen.server.worker_link import DeviceStatus

__all__ = ["METRICS_PATH", "add_metrics", "device_metrics"]

METRICS_PATH = "/metrics"
_REASONS = (
    "rate",
    "paused",
    "source",
    "similar",
    "pipelined",
    "replaced",
    "not_ready",
    "failed",
    "no_credit",
    "sending",
)
"""Reasons of drops; there from the start, so that the first drop is a rise and not the beginning of a series."""


def add_metrics(app: FastAPI, house: House) -> None:
    """Add the route."""
    registry = _registry(house)

    @app.get(
        METRICS_PATH,
        tags=["health"],
        summary="Metrics of the server for Prometheus",
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}},
    )
    async def metrics(request: Request) -> Response:
        try:
            house.admit(request).check("admin", None)
        except StreamgenError as error:
            return refusal(error)
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), media_type=content_type, headers={"Cache-Control": "no-store"})


def _registry(house: House) -> CollectorRegistry:
    """Everything that is exposed: the server's own, its process's and the interpreter's."""
    registry = CollectorRegistry()
    registry.register(_Server(house))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    return registry


class _Server(Collector):
    """Reads the counters when it is asked, on the event loop like everything that counts."""

    def __init__(self, house: House) -> None:
        self._house = house

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("streamgen_build", "The version of streamgen.", value={"version": __version__})
        yield from self._times()
        yield from self._frames()
        yield from self._sessions()
        yield from self._model()
        yield from device_metrics(self._house.worker.devices)

    def _times(self) -> Iterator[Metric]:
        totals = self._house.sessions.totals
        stages = {stage.removesuffix("_ms"): histogram for stage, histogram in totals.stages.items()}
        yield _by_label("streamgen_stage_seconds", "What a frame goes through on the server.", "stage", stages)
        painted = "From a frame's arrival at the server until its client said that it had painted the picture."
        yield _histogram("streamgen_arrival_to_glass_seconds", painted, totals.arrival_to_glass)
        yield _histogram("streamgen_event_loop_lag_seconds", "How late the event loop was.", totals.loop_lag)

    def _frames(self) -> Iterator[Metric]:
        sessions = self._house.sessions
        frames = sessions.totals.all_frames(sessions)
        yield CounterMetricFamily("streamgen_frames_received", "Frames that came.", value=frames["received"])
        yield CounterMetricFamily("streamgen_frames_computed", "Pictures made.", value=frames["computed"])
        drops = dict.fromkeys(_REASONS, 0) | sessions.drops
        yield _counts("streamgen_frames_dropped", "Frames and pictures dropped on purpose.", "reason", drops)

    def _sessions(self) -> Iterator[Metric]:
        sessions = self._house.sessions
        present = list(sessions)
        limit = self._house.config.max_sessions
        reduced = sum(session.given != AS_ASKED for session in present)
        viewers = sum(len(session.viewers) for session in present)
        yield GaugeMetricFamily("streamgen_sessions", "Open sessions.", value=len(present))
        yield GaugeMetricFamily("streamgen_sessions_limit", "Most sessions at a time.", value=limit)
        yield GaugeMetricFamily("streamgen_sessions_reduced", "Sessions given less than they ask for.", value=reduced)
        yield CounterMetricFamily("streamgen_sessions_opened", "Sessions ever opened.", value=sessions.totals.opened)
        yield GaugeMetricFamily("streamgen_viewers", "Viewers and controllers of sessions.", value=viewers)
        yield GaugeMetricFamily("streamgen_queue_length", "Publishers who wait for a place.", value=len(sessions.queue))

    def _model(self) -> Iterator[Metric]:
        if self._house.worker.ready:
            info = self._house.worker.info
            loaded = {"model": info.model, "backend": info.backend}
            yield InfoMetricFamily("streamgen_model", "The model in force.", value=loaded)


def device_metrics(devices: Iterable[DeviceStatus]) -> Iterator[Metric]:
    """What is exposed of each device."""
    named = dict(_named(devices))
    up = {name: float(device.ready) for name, device in named.items()}
    busy = {name: device.busy for name, device in named.items()}
    memory = {name: float(device.memory_bytes) for name, device in named.items()}
    sessions = {name: float(len(device.sessions)) for name, device in named.items()}
    deaths = {name: device.deaths for name, device in named.items()}
    yield _gauges("streamgen_device_up", "1 while the device serves.", "device", up)
    yield _gauges("streamgen_device_busy_ratio", "The share of the last second that it computed.", "device", busy)
    used = "What tensors take of the device's memory; on a CPU, the resident memory of its process."
    yield _gauges("streamgen_device_memory_bytes", used, "device", memory)
    yield _gauges("streamgen_device_sessions", "Sessions that it serves.", "device", sessions)
    ended = "Compute processes that ended unasked, or could not be started again."
    yield _counts("streamgen_worker_restarts", ended, "device", deaths)


def _named(devices: Iterable[DeviceStatus]) -> Iterator[tuple[str, DeviceStatus]]:
    """A name for each: a second process on a device gets a number."""
    seen: Counter[str] = Counter()
    for device in devices:
        seen[device.name] += 1
        number = seen[device.name]
        yield device.name if number == 1 else f"{device.name}#{number}", device


def _histogram(name: str, help: str, histogram: Histogram) -> Metric:
    return HistogramMetricFamily(name, help, buckets=_buckets(histogram), sum_value=histogram.sum)


def _by_label(name: str, help: str, label: str, histograms: Mapping[str, Histogram]) -> Metric:
    family = HistogramMetricFamily(name, help, labels=(label,))
    for value, histogram in histograms.items():
        family.add_metric((value,), _buckets(histogram), histogram.sum)
    return family


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Prometheus's are cumulative."""
    bounds = (*(f"{bound:g}" for bound in histogram.bounds), "+Inf")
    return [(bound, float(count)) for bound, count in zip(bounds, accumulate(histogram.counts), strict=True)]


def _counts(name: str, help: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(name, help, labels=(label,))
    for value, count in values.items():
        family.add_metric((value,), count)
    return family


def _gauges(name: str, help: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, help, labels=(label,))
    for value, size in values.items():
        family.add_metric((value,), size)
    return family
