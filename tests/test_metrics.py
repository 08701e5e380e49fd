"""Percentiles of the last frames."""

from __future__ import annotations

from streamgen.metrics import WINDOW, StageTimes


def test_percentiles_are_those_of_the_values() -> None:
    times = StageTimes()
    for value in range(101):
        times.record(engine_ms=value)
    assert times.percentiles() == {"engine_ms": {"p50": 50.0, "p90": 90.0}}


def test_only_the_last_values_count() -> None:
    times = StageTimes()
    for value in [1000.0] * 50 + [1.0] * WINDOW:
        times.record(engine_ms=value)
    assert times.percentiles()["engine_ms"] == {"p50": 1.0, "p90": 1.0}


def test_stages_are_apart_and_absent_until_recorded() -> None:
    times = StageTimes()
    assert times.percentiles() == {}
    times.record(queued_ms=1, engine_ms=2)
    times.record(encode_ms=3)
    assert {stage: values["p50"] for stage, values in times.percentiles().items()} == {
        "queued_ms": 1,
        "engine_ms": 2,
        "encode_ms": 3,
    }
