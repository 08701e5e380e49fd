"""Timing the embedded networks, on small pictures and for a moment, so that no figure of this file means anything."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from streamgen.backends import BACKENDS
from streamgen.bench import ensemble
from streamgen.bench.ensemble import NETWORKS, main, measure, measure_frame, measure_networks

SIDE = 128


@pytest.fixture(autouse=True)
def small_and_eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamgen.backends.BACKENDS", {name: BACKENDS[name] for name in ("eager", "inductor")})
    monkeypatch.setattr("streamgen.engine.select.BACKENDS", {"eager": BACKENDS["eager"]})
    small = {name: replace(network, sides=(SIDE,)) for name, network in NETWORKS.items()}
    monkeypatch.setattr(ensemble, "NETWORKS", small)
    monkeypatch.setattr(ensemble, "_FIDELITY_SIDE", SIDE)
    monkeypatch.setattr(ensemble, "_STYLES", 1)
    monkeypatch.setattr(ensemble, "measure_frame", lambda *_: {"fps": 1.0})


def test_every_network_is_timed_at_every_precision() -> None:
    found = measure(None, threads=1, seconds=0.0)
    timed = {(row["network"], row["dtype"]): row for row in found["rows"] if row["backend"] == "eager"}
    assert set(timed) == {(name, dtype) for name in NETWORKS for dtype in ("float32", "bfloat16")}
    assert all(row["ms"]["p50"] > 0 for row in timed.values())
    assert timed["core", "float32"]["psnr_db"] is None
    assert timed["core", "bfloat16"]["psnr_db"] > 10
    assert set(found["best"]) == {f"{name} {SIDE}x{SIDE}" for name in NETWORKS}


@pytest.fixture
def core_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ensemble, "NETWORKS", {"core": ensemble.NETWORKS["core"]})


@pytest.mark.usefixtures("core_alone")
def test_a_backend_that_compiles_for_long_is_named_with_the_reason() -> None:
    [row] = [row for row in measure_networks(None, 1, 0.0) if row["backend"] == "inductor"]
    assert row["note"]
    assert row["ms"] is None


@pytest.mark.usefixtures("core_alone")
def test_a_network_without_weights_is_named_with_the_reason(tmp_path: Path) -> None:
    [core] = measure_networks(tmp_path / "tiny.safetensors", 1, 0.0)
    assert "no weights file" in core["note"]


def test_a_whole_frame_is_timed_with_the_person_cut_out() -> None:
    found = measure_frame(None, threads=1, seconds=0.0, side=SIDE)
    assert found["size"] == f"{SIDE}x{SIDE}"
    assert found["settings"]["matte"] == "person"
    assert found["backend"] == "eager"
    assert found["fps"] > 0


def test_the_best_is_the_fastest_that_is_faithful() -> None:
    def row(backend: str, size: str, ms: float, psnr_db: float | None) -> dict[str, object]:
        named = {"network": "core", "size": size, "backend": backend, "dtype": "int8"}
        return named | {"ms": {"p50": ms}, "psnr_db": psnr_db, "note": ""}

    rows = [row("a", "256x256", 9.0, None), row("b", "256x256", 3.0, 25.0), row("c", "256x256", 5.0, 40.0)]
    rows += [row("a", "512x512", 36.0, None), row("b", "512x512", 12.0, None), row("c", "512x512", 20.0, None)]
    best = ensemble._best(rows)
    assert {size: found["backend"] for size, found in best.items()} == {"core 256x256": "c", "core 512x512": "c"}


def test_the_command_writes_what_it_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ensemble, "worker_environment", lambda threads: {})
    found = {"rows": [], "best": {}, "whole_frame": {"fps": 20.0}}
    monkeypatch.setattr(ensemble, "measure", lambda *_: found)
    assert main(["--output", str(tmp_path / "ensemble.json")]) == 0
    written = json.loads((tmp_path / "ensemble.json").read_text())
    assert written["results"]["ensemble"] == found
    assert written["hardware"]["cores"] > 0
