"""Sessions and changes of settings as spans."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from streamgen.config import from_environment
from streamgen.errors import WorkerError
from streamgen.server import app, tracing
from streamgen.server.spans import Spans
from streamgen.server.tracing import Untraced
from tests.server.conftest import Running, running


@pytest.fixture
def kept() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
async def server(kept: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr(app, "traces_of", lambda wanted: Spans(provider))
    async with running() as made:
        yield made


def facts(span: ReadableSpan) -> dict[str, Any]:
    return {name.removeprefix("streamgen."): value for name, value in (span.attributes or {}).items()}


async def test_a_session_is_a_span_and_every_change_of_its_settings_one_inside_it(
    server: Running, kept: InMemorySpanExporter
) -> None:
    publisher = await server.publisher(session="cam")
    await publisher.hear("updated")
    await publisher.ask("update", settings={"prompt": "a secret", "steps": 2})
    await publisher.say("bye")
    await publisher.closed()
    await server.worker.gone("cam")
    change, session = kept.get_finished_spans()
    assert (session.name, facts(session)) == ("session", {"session": "cam", "width": 256, "height": 256})
    assert (change.name, facts(change)) == ("settings", {"rev": 1, "settings": ("prompt", "steps")})
    assert session.context is not None and change.parent is not None
    assert change.parent.span_id == session.context.span_id and change.context.trace_id == session.context.trace_id
    assert change.status.is_ok


async def test_frames_leave_no_spans(server: Running, kept: InMemorySpanExporter, picture: Any) -> None:
    publisher = await server.publisher(session="cam")
    for seq in range(3):
        await publisher.frame(picture, seq)
        header, _ = await publisher.see()
        await publisher.say("ack", seq=header.seq)
    assert kept.get_finished_spans() == ()


async def test_a_refused_change_and_one_that_a_taking_over_forgets_are_errors(
    server: Running, kept: InMemorySpanExporter
) -> None:
    server.worker.automatic = False
    publisher = await server.peer()
    token = (await publisher.hello(session="cam"))["resume"]
    await publisher.say("update", settings={"steps": 2}, ref="first")
    await publisher.say("update", settings={"steps": 3}, ref="second")
    await publisher.ask("stats")
    server.worker.opened["cam"].listener.on_refused(2, WorkerError("engine_failed", "it did"))
    await server.publisher(resume=token)
    refused, forgotten = kept.get_finished_spans()
    assert [(facts(span)["rev"], span.status.description) for span in (refused, forgotten)] == [
        (2, "engine_failed"),
        (1, "forgotten"),
    ]
    session = server.sessions.get("cam")
    assert session is not None
    server.sessions.end(session)
    assert [event.name for event in kept.get_finished_spans()[-1].events] == ["taken over"]


def test_spans_are_wanted_where_the_environment_names_an_endpoint_and_nowhere_else() -> None:
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "STREAMGEN_DATA": "/d"}
    assert from_environment(endpoint).traces
    assert not from_environment({**endpoint, "STREAMGEN_TRACES": "0"}).traces
    assert not from_environment({"STREAMGEN_DATA": "/d"}).traces
    assert isinstance(tracing.traces_of(False), Untraced)


def test_packages_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    assert isinstance(tracing.traces_of(True), Untraced)
    assert "opentelemetry.exporter" in caplog.text and "[otel]" in caplog.text


async def test_an_endpoint_that_does_not_answer_holds_up_the_end_for_no_longer_than_it_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streamgen.server.spans._FLUSH_S", 0.01)
    provider = TracerProvider(shutdown_on_exit=False)
    answers = asyncio.Event()
    loop = asyncio.get_running_loop()
    held: list[Any] = []

    def shutdown() -> None:
        held.append(asyncio.run_coroutine_threadsafe(answers.wait(), loop))
        held[0].result(60)

    monkeypatch.setattr(provider, "shutdown", shutdown)
    await asyncio.to_thread(Spans(provider).end)
    assert held
    answers.set()
    await asyncio.wrap_future(held[0])
