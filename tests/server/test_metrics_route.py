"""What Prometheus reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import numpy as np
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families
from websockets.asyncio.client import connect as open_socket
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from streamgen.config import ServerConfig
from streamgen.engine.shares import Load, Spent
from streamgen.metrics import Histogram
from streamgen.server.exposition import device_metrics
from streamgen.server.loop_lag import watch_lag
from streamgen.server.worker_link import DeviceStatus
from tests.server.conftest import Clock, Running, bind, port_of, running

PICTURE = np.full((64, 64, 3), 90, np.uint8)


class Scraped:
    """The samples of one scrape."""

    def __init__(self, text: str) -> None:
        self.families: dict[str, Metric] = {family.name: family for family in text_string_to_metric_families(text)}

    def __call__(self, name: str, **labels: str) -> float:
        """The sample with exactly these labels."""
        [value] = [
            sample.value
            for family in self.families.values()
            for sample in family.samples
            if sample.name == name and sample.labels == labels
        ]
        return value


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as made:
        yield made


async def scrape(server: Running, client: httpx.AsyncClient) -> Scraped:
    answer = await client.get(f"{server.http}/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return Scraped(answer.text)


async def test_a_frame_is_counted_on_its_whole_way(server: Running, client: httpx.AsyncClient) -> None:
    publisher = await server.publisher()
    await publisher.frame(PICTURE)
    header, _ = await publisher.see()
    server.clock.now_s += 0.04
    await publisher.say("ack", seq=header.seq)
    await publisher.say("ping", id="1")
    await publisher.hear("pong")
    scraped = await scrape(server, client)
    for stage, seconds in {"queued": 0.0015, "engine": 0.0025}.items():
        assert scraped("streamgen_stage_seconds_count", stage=stage) == 1
        assert scraped("streamgen_stage_seconds_sum", stage=stage) == pytest.approx(seconds)
    assert scraped("streamgen_stage_seconds_bucket", stage="engine", le="0.0025") == 1
    assert scraped("streamgen_stage_seconds_bucket", stage="engine", le="0.001") == 0
    assert scraped("streamgen_stage_seconds_count", stage="encode") == 1
    assert scraped("streamgen_stage_seconds_count", stage="decode") == 1
    assert scraped("streamgen_arrival_to_glass_seconds_sum") == pytest.approx(0.04)
    assert scraped("streamgen_frames_received_total") == scraped("streamgen_frames_computed_total") == 1
    assert (scraped("streamgen_sessions"), scraped("streamgen_sessions_opened_total")) == (1, 1)


async def test_what_ended_sessions_and_connections_counted_stays_counted(
    server: Running, client: httpx.AsyncClient
) -> None:
    publisher = await server.publisher(session="cam")
    await publisher.frame(PICTURE)
    await publisher.see()
    server.worker.opened["cam"].listener.on_dropped("replaced", 3)
    outbox = server.sessions.get("cam").publisher  # type: ignore[union-attr]
    outbox.drops["no_credit"] += 2  # type: ignore[union-attr]
    before = await scrape(server, client)
    await publisher.say("bye")
    await publisher.closed()
    await server.worker.gone("cam")
    after = await scrape(server, client)
    assert (before("streamgen_sessions"), after("streamgen_sessions")) == (1, 0)
    for scraped in (before, after):
        assert scraped("streamgen_frames_dropped_total", reason="replaced") == 3
        assert scraped("streamgen_frames_dropped_total", reason="no_credit") == 2
        assert scraped("streamgen_frames_dropped_total", reason="rate") == 0
        assert scraped("streamgen_frames_received_total") == 1


async def test_a_device_says_how_busy_it_is(server: Running, client: httpx.AsyncClient) -> None:
    scraped = await scrape(server, client)
    assert scraped("streamgen_device_busy_ratio", device="cpu") == 0.25
    assert scraped("streamgen_device_memory_bytes", device="cpu") == 1000
    assert scraped("streamgen_worker_restarts_total", device="cpu") == 2


def test_a_second_process_on_a_device_gets_a_number() -> None:
    families = device_metrics((DeviceStatus("cuda:0", True), DeviceStatus("cuda:0", False)))
    [up] = [family for family in families if family.name == "streamgen_device_up"]
    assert {sample.labels["device"]: sample.value for sample in up.samples} == {"cuda:0": 1, "cuda:0#2": 0}


async def test_sessions_have_no_series_of_their_own(server: Running, client: httpx.AsyncClient) -> None:
    await server.publisher(session="a-secret-name")
    assert "a-secret-name" not in (await client.get(f"{server.http}/metrics")).text


async def test_open_metrics_are_given_where_they_are_asked_for(server: Running, client: httpx.AsyncClient) -> None:
    accept = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"}
    answer = await client.get(f"{server.http}/metrics", headers=accept)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert {family.name for family in open_metrics(answer.text)} >= {"streamgen_stage_seconds", "streamgen_build"}


async def test_metrics_ask_for_the_token_and_for_a_page_from_here(client: httpx.AsyncClient) -> None:
    async with running(token="secret") as server:
        url = f"{server.http}/metrics"
        assert (await client.get(url)).status_code == 401
        assert (await client.get(url, headers={"Authorization": "Bearer secret"})).status_code == 200
    async with running() as server:
        answer = await client.get(f"{server.http}/metrics", headers={"Host": "evil.example"})
        assert answer.status_code == 403


async def test_on_a_port_of_their_own_metrics_are_alone_and_nowhere_else(client: httpx.AsyncClient) -> None:
    with bind(ServerConfig(port=0)) as other:
        port = port_of(other)
        async with running(metrics_port=port, listener=other) as server:
            assert (await client.get(f"{server.http}/metrics")).status_code == 404
            assert (await client.get(f"{server.http}/healthz")).status_code == 200
            there = f"http://127.0.0.1:{port}"
            assert "streamgen_sessions 0.0" in (await client.get(f"{there}/metrics")).text
            for path in ("/", "/healthz", "/api/v1/models", "/metrics/"):
                assert (await client.get(f"{there}{path}")).status_code == 404
            with pytest.raises(InvalidStatus):
                await open_socket(f"ws://127.0.0.1:{port}/ws", subprotocols=[Subprotocol("streamgen.v1")])


async def test_the_lag_is_what_a_wake_up_comes_late() -> None:
    clock, lag = Clock(), Histogram((0.01, 0.1))
    late_s = iter((0.0, 0.05, 3.0))

    async def sleep(seconds: float) -> None:
        try:
            clock.now_s += seconds + next(late_s)
        except StopIteration:
            raise asyncio.CancelledError from None

    with pytest.raises(asyncio.CancelledError):
        await watch_lag(lag, clock, sleep)
    assert lag.counts == [1, 1, 1] and lag.sum == pytest.approx(3.05)


async def test_rates_are_those_of_the_last_second(server: Running) -> None:
    publisher = await server.publisher(session="cam")
    for seq in range(2):
        await publisher.frame(PICTURE, seq)
        header, _ = await publisher.see()
        await publisher.say("ack", seq=header.seq)
        server.clock.now_s += 1
    session = server.sessions.get("cam")
    assert session is not None
    server.sessions.on_load(Load(0.5, {"cam": Spent(2, 0.1), "gone": Spent()}))
    assert (session.rates.received_fps, session.rates.computed_fps) == (4.0, 4.0)
