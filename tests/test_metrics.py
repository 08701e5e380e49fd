"""Percentiles of the last frames."""

from __future__ import annotations

from streamgen.metrics import WINDOW, Histogram, StageTimes, stage_histograms


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


def test_a_histogram_counts_a_bound_in_its_own_bucket_and_what_is_larger_beyond_the_last() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 9.0):
        histogram.observe(value)
    assert histogram.counts == [2, 2, 1]
    assert histogram.sum == 14.0


def test_what_is_recorded_is_counted_in_seconds_as_well() -> None:
    totals = stage_histograms()
    for times in (StageTimes(totals), StageTimes(totals)):
        times.record(engine_ms=30.0, queued_ms=2.0)
    assert sum(totals["engine_ms"].counts) == 2 and totals["engine_ms"].sum == 0.06
    assert sum(totals["decode_ms"].counts) == 0
