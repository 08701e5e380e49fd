from __future__ import annotations

import pytest

from streamgen.backends import BACKENDS
from streamgen.backends.openvino import OpenVinoBackend
from streamgen.config import ModelSpec
from streamgen.engine.select import choose_backend
from streamgen.errors import BackendUnavailable
from tests.engine.toy import ToyModel


def toy(dtype: str = "auto") -> ToyModel:
    return ToyModel(ModelSpec(family="toy", dtype=dtype))


def test_auto_takes_the_fastest_and_says_what_it_compared() -> None:
    _, report = choose_backend(toy(), "auto", 1)
    measured = [row for row in report.candidates if row.ms is not None]
    fastest = min(measured, key=lambda row: row.ms or 0.0)
    assert (report.chosen, report.dtype) == (fastest.backend, fastest.dtype)
    assert report.reason == f"the fastest of {len(measured)} measured at 256x256"
    assert {row.backend for row in report.candidates} == set(BACKENDS)
    assert "ask for it with --backend inductor" in report.table()


def test_a_backend_that_was_named_is_used() -> None:
    backend, report = choose_backend(toy("float32"), "eager", 1)
    assert (backend.name, report.chosen, report.dtype, report.reason) == ("eager", "eager", "float32", "asked for")


def test_a_backend_that_was_named_is_never_replaced_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OpenVinoBackend, "unavailable", classmethod(lambda cls, device: "it is Tuesday"))
    with pytest.raises(BackendUnavailable, match="backend openvino cannot run: it is Tuesday"):
        choose_backend(toy(), "openvino", 1)
    _, report = choose_backend(toy("float32"), "auto", 1)
    assert report.chosen == "eager"
    assert "it is Tuesday" in report.table()
