"""Sessions and changes of settings as OpenTelemetry spans. Imported only where they are wanted."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, Status, StatusCode, Tracer, set_span_in_context

from streamgen import __version__
from streamgen.server.tracing import SessionTrace
from streamgen.settings import FrameFormat

__all__ = ["Spans", "exporting"]

_FLUSH_S = 2.0


def exporting() -> TracerProvider:
    """What sends spans where ``OTEL_EXPORTER_OTLP_ENDPOINT`` says, in a thread of its own. The SDK reads this variable
    and its kin by itself.

    Raises:
        ModuleNotFoundError: the exporter is a package of its own.
    """
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    named = Resource({"service.name": "streamgen", "service.version": __version__})
    provider = TracerProvider(resource=named.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class Spans:
    """Implements ``Traces``.

    Args:
        provider: takes the spans, and is shut down at the end.
    """

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("streamgen", __version__)

    def begin(self, session: str, format: FrameFormat) -> SessionTrace:
        return _SessionSpan(self._tracer, session, format)

    def end(self) -> None:
        # In a thread that may be left behind: an endpoint that does not answer is tried for longer than this.
        closing = threading.Thread(target=self._provider.shutdown, name="streamgen-spans", daemon=True)
        closing.start()
        closing.join(_FLUSH_S)


class _SessionSpan:
    """Implements ``SessionTrace``."""

    def __init__(self, tracer: Tracer, session: str, format: FrameFormat) -> None:
        self._tracer = tracer
        self._span = tracer.start_span(
            "session",
            attributes={
                "streamgen.session": session,
                "streamgen.width": format.width,
                "streamgen.height": format.height,
            },
        )
        self._inside = set_span_in_context(self._span)
        self._changes: dict[int, Span] = {}  # bounded: a session lets so many updates wait and no more

    def changed(self, rev: int, names: Iterable[str]) -> None:
        self._changes[rev] = self._tracer.start_span(
            "settings", self._inside, attributes={"streamgen.rev": rev, "streamgen.settings": sorted(names)}
        )

    def in_force(self, rev: int) -> None:
        for asked in [asked for asked in self._changes if asked <= rev]:
            self._changes.pop(asked).end()

    def refused(self, rev: int, code: str) -> None:
        span = self._changes.pop(rev, None)
        if span is not None:
            span.set_status(Status(StatusCode.ERROR, code))
            span.end()

    def taken_over(self) -> None:
        self._span.add_event("taken over")
        self._forget()

    def ended(self) -> None:
        self._forget()
        self._span.end()

    def _forget(self) -> None:
        for rev in tuple(self._changes):
            self.refused(rev, "forgotten")
