from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from torch import Tensor, nn

from streamgen.backends import BACKENDS
from streamgen.backends.base import Backend
from streamgen.backends.cuda_graph import CudaGraphBackend
from streamgen.backends.eager import EagerBackend
from streamgen.backends.openvino import OpenVinoBackend, _converted, quiet_openvino
from streamgen.config import ModelSpec
from streamgen.engine import select
from streamgen.engine.executables import example_inputs
from streamgen.engine.select import choose_backend
from streamgen.errors import BackendUnavailable
from streamgen.models.base import Model
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


class Spoilt(nn.Module):
    """A network and an error that it was given."""

    def __init__(self, network: nn.Module, error: float) -> None:
        super().__init__()
        self.network, self.error = network, error

    def forward(self, x_t: Tensor, t: Tensor, first: Tensor, second: Tensor) -> Tensor:
        made: Tensor = self.network(x_t, t, first, second)
        return made + self.error


def with_variant(path: Path, error: float, dtype: str = "auto") -> ToyModel:
    """A toy with an OpenVINO graph beside it that is off by ``error``."""
    model = toy(dtype)
    example = example_inputs(model, 1, 64, 64)
    quiet_openvino().save_model(_converted(Spoilt(model.network, error), example), path)
    model.network.quantised = path  # type: ignore[assignment]
    return model


def int8_is_fastest(model: Model, backend: Backend) -> float:
    return 1.0 if backend.dtype == "int8" else 5.0


def test_auto_takes_an_int8_variant_whose_pictures_stay_close(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(select, "_milliseconds", int8_is_fastest)
    _, report = choose_backend(with_variant(tmp_path / "toy.xml", 0.001), "auto", 1)
    assert (report.chosen, report.dtype) == ("openvino", "int8")
    assert "dB of float32" in report.table()


def test_auto_leaves_an_int8_variant_whose_pictures_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(select, "_milliseconds", int8_is_fastest)
    _, report = choose_backend(with_variant(tmp_path / "toy.xml", 0.5), "auto", 1)
    assert report.dtype != "int8"
    assert "below 30, not taken" in report.table()


def test_int8_that_was_asked_for_is_taken_as_it_is(tmp_path: Path) -> None:
    _, report = choose_backend(with_variant(tmp_path / "toy.xml", 0.5, "int8"), "auto", 1)
    assert (report.chosen, report.dtype) == ("openvino", "int8")


def test_int8_of_a_model_that_has_none_is_refused() -> None:
    with pytest.raises(BackendUnavailable, match="no backend here runs this model in int8"):
        choose_backend(toy("int8"), "auto", 1)


def test_a_named_backend_whose_only_precision_is_too_coarse_is_not_taken_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(EagerBackend, "dtypes", classmethod(lambda cls, device: ("bfloat16",)))
    monkeypatch.setattr(select, "fidelity_db", lambda model, backend, least_db: 12.0)
    with pytest.raises(BackendUnavailable, match=r"name a --dtype:\n.*12\.0 dB of float32: below 30, not taken"):
        choose_backend(toy(), "eager", 1)


@pytest.mark.parametrize("backend", ["auto", "cuda-graph", "eager"])
def test_int8_is_refused_on_a_device_whose_backends_have_none(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (EagerBackend, CudaGraphBackend):
        monkeypatch.setattr(kind, "unavailable", classmethod(lambda cls, device: None))
    model = toy("int8")
    model.spec = replace(model.spec, device="cuda")
    with pytest.raises(BackendUnavailable, match="int8"):
        choose_backend(model, backend, 1)
