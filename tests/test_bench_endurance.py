"""The endurance measurements measure: for a moment, so that no figure of this file means anything."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from streamgen.bench import endurance
from streamgen.bench.endurance import PARTS, main
from streamgen.bench.endurance_crowd import measure_crowd
from streamgen.bench.endurance_faults import _nearest
from streamgen.bench.endurance_soak import slope


def test_a_crowd_is_served_and_measured() -> None:
    found = measure_crowd(sessions=2, seconds=1.0)
    assert len(found["fps_out"]) == 2
    assert 0 < found["worst_share"] <= 1
    assert found["glass_to_glass_ms"]["p50"] > 0


def test_growth_is_the_slope_of_the_nearest_line() -> None:
    assert slope([(0, 10), (1, 12), (2, 14)]) == pytest.approx(2)
    assert slope([(5, 1)]) == 0


def test_the_colour_of_an_output_tells_whose_it_is() -> None:
    assert _nearest(np.full((4, 4, 3), (150, 90, 80), np.uint8)) == "red"
    assert _nearest(np.full((4, 4, 3), (90, 80, 150), np.uint8)) == "blue"


def test_every_part_is_written_to_a_file_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endurance, "PARTS", {name: lambda _, name=name: {"part": name} for name in PARTS})
    assert main(["--only", "crowd,soak"], tmp_path / "endurance.json") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["endurance_crowd.json", "endurance_soak.json"]
    assert json.loads((tmp_path / "endurance_soak.json").read_text())["results"] == {"soak": {"part": "soak"}}


def test_a_part_that_does_not_exist_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "crowd,sleep"], tmp_path / "endurance.json")
    assert "no such part: sleep" in capsys.readouterr().err
