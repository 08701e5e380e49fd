from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from streamgen.backends import quantise as module
from streamgen.backends.quantise import SCHEMES, psnr_db, quantise, weight_bytes
from streamgen.errors import BackendUnavailable, ConfigError

with_torchao = pytest.mark.filterwarnings("ignore")  # the package has some of its own on every torch


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.Flatten(2), nn.Linear(256, 512), nn.Linear(512, 256))
    return layers.to(torch.bfloat16).eval().requires_grad_(False)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16)


@pytest.fixture
def torchao() -> None:
    pytest.importorskip("torchao.quantization", reason="the package torchao is not installed")


@with_torchao
def test_int8_weights_halve_the_linear_layers_and_change_little(torchao: None, network: nn.Module, x: Tensor) -> None:
    wanted = network(x)
    convolution = network[0].weight  # type: ignore[index]
    report = quantise(network, "int8")
    assert (report.scheme, report.layers) == ("int8", 2)
    assert report.bytes_before == 2 * sum(parameter.numel() for parameter in network.parameters())
    assert 0.5 < report.bytes_after / report.bytes_before < 0.52
    assert network[0].weight is convolution  # type: ignore[index]
    made = network(x)
    assert made.dtype == torch.bfloat16
    assert 35 < psnr_db(made, wanted, float(wanted.float().max() - wanted.float().min())) < math.inf


@with_torchao
def test_a_quantised_network_is_cast_compiled_and_captured_like_any_other(
    torchao: None, network: nn.Module, x: Tensor
) -> None:
    from streamgen.backends.eager import EagerBackend, cast_network

    quantise(network, "int8")
    again = cast_network(network, "bfloat16")
    assert all(one is two for one, two in zip(network.parameters(), again.parameters(), strict=True))
    made = EagerBackend("cpu", "bfloat16", 1).compile(network, (x,))(x.float())
    torch.testing.assert_close(made, network(x).float())


@with_torchao
def test_the_configurations_exist_in_the_torchao_that_is_installed(torchao: None) -> None:
    import torchao.quantization as ao

    assert [type(SCHEMES[name](ao)).__name__ for name in ("int8", "fp8", "int4")] == [
        "Int8WeightOnlyConfig",
        "Float8DynamicActivationFloat8WeightConfig",
        "Int4WeightOnlyConfig",
    ]


def test_a_missing_package_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch, network: nn.Module) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install torchao") as caught:
        quantise(network, "int8")
    assert (caught.value.code, caught.value.field) == ("missing_package", "quantise")


def test_an_unknown_scheme_is_refused_with_the_list_of_known_ones(network: nn.Module) -> None:
    with pytest.raises(ConfigError, match=r"none or one of \['fp8', 'int4', 'int8'\], got 'int3'") as caught:
        quantise(network, "int3")
    assert caught.value.code == "unknown_scheme"


@pytest.mark.parametrize(("scheme", "capability"), [("fp8", "8.9"), ("int4", "8.0")])
def test_arithmetic_that_the_device_lacks_is_refused(scheme: str, capability: str, network: nn.Module) -> None:
    with pytest.raises(BackendUnavailable, match=f"{scheme} cannot run: .* capability {capability} .*, not cpu"):
        quantise(network, scheme)


@pytest.mark.parametrize(
    ("found", "dtype", "reason"),
    [
        ((8, 6), torch.bfloat16, "this one has 8.6"),
        ((9, 0), torch.float16, "its kernels want weights in bfloat16, these are in float16"),
        ((9, 0), torch.bfloat16, None),
    ],
)
def test_the_capability_and_the_precision_decide(
    monkeypatch: pytest.MonkeyPatch, found: tuple[int, int], dtype: torch.dtype, reason: str | None
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: found)
    weight: Any = SimpleNamespace(device=torch.device("cuda"), dtype=dtype)
    said = module._incapable("fp8", weight)
    assert said is None if reason is None else reason in str(said)


def test_weight_bytes_are_those_of_all_parameters() -> None:
    assert weight_bytes(nn.Linear(10, 20)) == 4 * (200 + 20)


def test_psnr_is_in_decibels_of_the_peak() -> None:
    zeros = torch.zeros(4, 4, dtype=torch.uint8)
    assert psnr_db(zeros, zeros, 255) == math.inf
    assert psnr_db(zeros + 255, zeros, 255) == pytest.approx(0)
    assert psnr_db(torch.full((4,), 0.2), torch.zeros(4), 2.0) == pytest.approx(20)
    assert psnr_db(torch.tensor([0.0, math.nan]), torch.zeros(2), 2.0) == -math.inf
