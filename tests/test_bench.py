"""The measurements measure: on small pictures and for a moment, so that no figure of this file means anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamgen.bench.codec import measure_codec
from streamgen.bench.engine import measure_engine
from streamgen.bench.figures import spread, write_report
from streamgen.bench.flood import flatness
from streamgen.bench.latency import measure_latency, stages
from streamgen.bench.loopback import Arrival, running_server
from streamgen.bench.pictures import moving_pictures
from streamgen.cli.app import main
from streamgen.cli.bench import table
from streamgen.config import ServerConfig
from streamgen.errors import MediaError, StreamgenError
from streamgen.frames import Timing

EAGER = ServerConfig(backend="eager", threads=1)
SPREAD = {"p50": 1.0, "p95": 2.0, "p99": 3.0}


def test_a_spread_holds_percentiles() -> None:
    assert spread(list(range(101))) == {"p50": 50.0, "p95": 95.0, "p99": 99.0}
    assert spread([]) == {"p50": 0.0, "p95": 0.0, "p99": 0.0}


def test_moving_pictures_move_and_are_always_the_same() -> None:
    pictures = moving_pictures(64, 32, count=3)
    assert [picture.shape for picture in pictures] == [(32, 64, 3)] * 3
    assert (pictures[0] != pictures[1]).any()
    assert all((a == b).all() for a, b in zip(pictures, moving_pictures(64, 32, count=3), strict=True))


def test_a_rising_latency_is_not_flat() -> None:
    arrivals = [Arrival(at_s, 20 + at_s, Timing()) for at_s in np.arange(0, 60, 0.1)]
    assert flatness(arrivals, 60)["change_percent"] > 100
    assert flatness([Arrival(at_s, 30, Timing()) for at_s in range(60)], 60)["change_percent"] == 0


def test_stages_add_up_to_the_latency() -> None:
    found = stages([Arrival(0, 20, Timing(queued_ms=1, engine_ms=10, encode_ms=2))])
    assert [found[name]["p50"] for name in ("queued", "engine", "encode", "around")] == [1, 10, 2, 7]


def test_the_engine_alone_is_measured() -> None:
    row = measure_engine(EAGER, threads=1, side=128, steps=1, seconds=0.05)
    assert row["backend"] == "eager"
    assert row["fps"] > 0
    assert row["step_ms"]["p50"] <= row["step_ms"]["p99"]


def test_the_codec_is_measured() -> None:
    row = measure_codec(64, seconds=0.01)
    assert row["encode_ms"]["p50"] > 0
    assert row["decode_ms"]["p50"] > 0


def test_a_real_server_is_measured() -> None:
    pytest.importorskip("streamgen.server.run")
    with running_server(EAGER) as server:
        row = measure_latency(server, side=128, fps=20, seconds=1)
    assert row["fps_in"] == pytest.approx(20, abs=6)
    assert row["fps_out"] > 0
    assert 0 < row["glass_to_glass_ms"]["p50"] < 5000
    assert row["memory_mb"] > 50


def test_a_server_that_cannot_start_says_why() -> None:
    pytest.importorskip("streamgen.server.run")
    config = ServerConfig(weights=Path("none.safetensors"))
    with pytest.raises(StreamgenError, match=r"no weights file at none\.safetensors"), running_server(config):
        pass


def test_a_report_names_its_hardware(tmp_path: Path) -> None:
    write_report({"codec": []}, tmp_path / "new" / "r.json")
    report = json.loads((tmp_path / "new" / "r.json").read_text())
    assert report["hardware"]["processor"]
    assert report["hardware"]["cores"] >= 1
    assert report["results"] == {"codec": []}


def test_a_report_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MediaError, match="cannot write"):
        write_report({}, tmp_path / "file" / "r.json")


def test_the_table_has_a_line_for_each_spread() -> None:
    engine = {"backend": "eager", "dtype": "float32", "threads": 1, "memory_mb": 1.0, "fps": 9.0, "step_ms": SPREAD}
    through = {"fps_in": 20, "fps_out": 19.0, "missing": 1}
    rows: dict[str, list[dict[str, Any]]] = {
        "engine": [engine | {"size": "256x256", "steps": 2}],
        "latency": [
            through | {"size": "256x256", "glass_to_glass_ms": SPREAD, "stages_ms": {"a": SPREAD}, "server_ready_s": 2}
        ],
        "flood": [
            through | {"size": "512x512", "first_ms": SPREAD, "last_ms": SPREAD, "change_percent": 1, "memory_mb": {}}
        ],
        "codec": [{"size": "256x256", "quality": 85, "kilobytes": 9, "encode_ms": SPREAD, "decode_ms": SPREAD}],
    }
    assert table(rows).row_count == 7


def test_an_unknown_measurement_gets_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--only", "speed", "--output", str(tmp_path / "b.json")]) == 2
    assert "--only must be some of engine, latency, flood, codec, got 'speed'" in capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_known_before_measuring(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["bench", "--output", str(tmp_path / "file" / "b.json")]) == 2
    assert "cannot write" in capsys.readouterr().err
