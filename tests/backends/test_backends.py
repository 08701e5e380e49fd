from __future__ import annotations

import sys

import pytest
import torch
from torch import Tensor

from streamgen.backends import BACKENDS, load_backend
from streamgen.backends.eager import EagerBackend
from streamgen.backends.inductor import InductorBackend
from streamgen.errors import BackendUnavailable
from streamgen.models.tiny import TinyUNet

SLOW = {"inductor"}
NAMES = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in BACKENDS]


@pytest.fixture(scope="module")
def network() -> TinyUNet:
    torch.manual_seed(1)
    return TinyUNet(2).eval().requires_grad_(False)


def inputs(network: TinyUNet, batch: int, height: int, width: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(2)
    x_t = torch.randn(batch, 3, height, width, generator=generator)
    source = torch.rand(batch, 3, height, width, generator=generator) * 2 - 1
    t = torch.linspace(1.5, 0.4, batch)
    style = network.styles[torch.arange(batch) % 2]
    return x_t, t, style, source


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # Inductor imports deprecated parts of torch itself
@pytest.mark.parametrize("name", NAMES)
def test_every_backend_computes_what_the_network_computes_at_every_shape(name: str, network: TinyUNet) -> None:
    kind = load_backend(name)
    if reason := kind.unavailable("cpu"):
        pytest.skip(reason)
    backend = kind(network, "cpu", "float32", 1)
    shapes = [(1, 128, 128)] if name in SLOW else [(1, 128, 128), (2, 160, 128)]
    for shape in shapes:
        example = inputs(network, *shape)
        with torch.inference_mode():
            wanted = network(*example)
        made = backend.compile(example)(*example)
        assert made.dtype == torch.float32
        torch.testing.assert_close(made, wanted, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("name", [name for name in BACKENDS if name not in SLOW])
def test_half_precision_stays_close(name: str, network: TinyUNet) -> None:
    kind = load_backend(name)
    if kind.unavailable("cpu") or "bfloat16" not in kind.dtypes("cpu"):
        pytest.skip("no bfloat16 here")
    example = inputs(network, 1, 128, 128)
    with torch.inference_mode():
        wanted = network(*example)
    made = kind(network, "cpu", "bfloat16", 1).compile(example)(*example)
    assert float((made - wanted).abs().mean()) < 0.03


@pytest.mark.parametrize("name", [name for name in BACKENDS if name not in SLOW])
def test_an_output_is_not_overwritten_by_the_next_call(name: str, network: TinyUNet) -> None:
    kind = load_backend(name)
    if reason := kind.unavailable("cpu"):
        pytest.skip(reason)
    example = inputs(network, 1, 128, 128)
    call = kind(network, "cpu", "float32", 1).compile(example)
    first = call(*example)
    kept = first.clone()
    call(example[0] * 0.1, *example[1:])
    torch.testing.assert_close(first, kept)


def test_a_backend_leaves_the_network_as_it_was(network: TinyUNet) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    EagerBackend(network, "cpu", "bfloat16", 1).compile(inputs(network, 1, 128, 128))
    for name, tensor in network.state_dict().items():
        assert tensor.dtype == before[name].dtype
        torch.testing.assert_close(tensor, before[name])


def test_an_unknown_backend_is_refused_with_the_list_of_known_ones() -> None:
    with pytest.raises(BackendUnavailable, match=r"must be auto or one of .*'eager'.*got 'warp'"):
        load_backend("warp")


def test_a_missing_device_or_compiler_is_given_as_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert EagerBackend.unavailable("cuda") == "torch finds no CUDA device"
    monkeypatch.setenv("PATH", "")
    assert "C++ compiler" in str(InductorBackend.unavailable("cpu"))


def test_openvino_tells_nobody_what_it_converts(network: TinyUNet) -> None:
    kind = load_backend("openvino")
    if reason := kind.unavailable("cpu"):
        pytest.skip(reason)
    kind(network, "cpu", "float32", 1).compile(inputs(network, 1, 128, 128))
    assert sys.modules["openvino_telemetry"] is None
