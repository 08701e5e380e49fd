"""The dashboard and the documentation know the metrics that there are."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.server.conftest import Running

DOCS = Path(__file__).parents[2] / "docs"
METRIC = re.compile(r"\b(?:streamgen|process|python)_[a-z_]+\b")


@pytest.fixture
def dashboard() -> dict[str, Any]:
    return dict(json.loads((DOCS / "grafana" / "streamgen.json").read_text()))


@pytest.fixture
async def exposed(server: Running) -> str:
    async with httpx.AsyncClient() as client:
        return (await client.get(f"{server.http}/metrics")).text


def samples(exposed: str) -> dict[str, set[str]]:
    """Labels by sample, of a server that serves nobody."""
    named: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(exposed):
        for sample in family.samples:
            named.setdefault(sample.name, set()).update(sample.labels)
    return named


def queries(dashboard: dict[str, Any]) -> list[str]:
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


async def test_every_query_names_metrics_and_labels_that_the_server_exposes(
    dashboard: dict[str, Any], exposed: str
) -> None:
    known = samples(exposed)
    for query in queries(dashboard):
        metrics = METRIC.findall(query)
        assert metrics, query
        labels = set().union(*(known[metric] for metric in metrics)) | {"instance"}
        assert {label for by in re.findall(r"by \(([^)]*)\)", query) for label in re.split(r",\s*", by)} <= labels
    [variable] = [each for each in dashboard["templating"]["list"] if each["type"] == "query"]
    assert set(METRIC.findall(variable["query"]["query"])) <= set(known)


async def test_every_metric_of_the_server_is_on_the_dashboard(dashboard: dict[str, Any], exposed: str) -> None:
    shown = " ".join(queries(dashboard))
    for family in text_string_to_metric_families(exposed):
        if family.name.startswith("streamgen_"):
            assert family.name in shown, family.name


def test_every_query_keeps_to_the_chosen_servers_and_every_legend_to_known_labels(dashboard: dict[str, Any]) -> None:
    for query in queries(dashboard):
        assert len(re.findall(r'\{instance=~"\$instance"\}', query)) == len(METRIC.findall(query)), query
        assert query.count("(") == query.count(")")
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            labels = set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")))
            assert labels <= {"stage", "reason", "device", "instance"}


def test_no_panel_lies_on_another(dashboard: dict[str, Any]) -> None:
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        covered = set(
            itertools.product(range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"]))
        )
        assert place["x"] + place["w"] <= 24 and not covered & cells, panel["title"]
        cells |= covered


async def test_every_metric_is_documented_and_no_other(exposed: str) -> None:
    documented = set(re.findall(r"^\| `(streamgen_[a-z_]+)", (DOCS / "deploy.md").read_text(), re.MULTILINE))
    names = {
        family.name + ("_total" if family.type == "counter" and not family.name.endswith("_total") else "")
        for family in text_string_to_metric_families(exposed)
        if family.name.startswith("streamgen_")
    }
    assert documented == names
