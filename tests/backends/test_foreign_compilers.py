"""Backends around packages that are rarely installed: why they are not there, and what is asked of them when they are.

The packages are stand-ins here; nothing in this file shows that the real ones work.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from streamgen import devices
from streamgen.backends import stable_fast, tensorrt
from streamgen.backends.stable_fast import StableFastBackend
from streamgen.backends.tensorrt import TensorRtBackend
from streamgen.errors import BackendUnavailable


class Doubler(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([2.0]))

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        return self.weight * x_t + t.view(-1, 1, 1, 1)


EXAMPLE = (torch.zeros(2, 4, 8, 8), torch.tensor([1.0, 2.0]))


def put(monkeypatch: pytest.MonkeyPatch, name: str, **attributes: Any) -> ModuleType:
    """A module of this name that ``find_spec`` and ``import_module`` find."""
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    for key, value in attributes.items():
        setattr(module, key, value)
    monkeypatch.setitem(sys.modules, name, module)
    return module


@pytest.fixture
def sfast(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A stable-fast that is there, on a torch of its time, with a GPU."""
    asked = SimpleNamespace(config=None, factor=1.0)

    class CompilationConfig:
        Default = SimpleNamespace

    def compile_unet(module: nn.Module, config: Any) -> nn.Module:
        asked.config = config
        forward: Callable[..., Tensor] = module.forward
        module.forward = lambda *tensors: asked.factor * forward(*tensors)  # type: ignore[method-assign]
        return module

    put(monkeypatch, "sfast")
    put(monkeypatch, "sfast.compilers")
    put(
        monkeypatch,
        "sfast.compilers.diffusion_pipeline_compiler",
        CompilationConfig=CompilationConfig,
        compile_unet=compile_unet,
    )
    monkeypatch.setattr(torch, "__version__", "2.3.1")
    monkeypatch.setattr(devices, "unavailable", lambda device: None)
    monkeypatch.setattr(torch.ops, "sfast", SimpleNamespace(cublas_lowp_linear=None), raising=False)
    return asked


def test_stable_fast_is_there_when_all_of_it_is(sfast: SimpleNamespace) -> None:
    assert StableFastBackend.unavailable("cuda") is None


def test_stable_fast_says_what_is_missing(sfast: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    assert StableFastBackend.unavailable("cpu") == "it is for CUDA devices, not for cpu"
    monkeypatch.setattr(torch.ops, "sfast", SimpleNamespace(), raising=False)
    assert StableFastBackend.unavailable("cuda") == "stable-fast was built without CUDA"
    monkeypatch.setitem(sys.modules, "sfast.compilers.diffusion_pipeline_compiler", None)
    assert str(StableFastBackend.unavailable("cuda")).startswith("stable-fast cannot be imported: ")
    monkeypatch.setattr(torch, "__version__", "2.13.0+cpu")
    assert "torch 2.13.0+cpu is too new" in str(StableFastBackend.unavailable("cuda"))
    monkeypatch.setattr(stable_fast, "find_spec", lambda name: None)
    assert "stable-fast is not installed" in str(StableFastBackend.unavailable("cuda"))


def test_stable_fast_computes_without_what_loses_precision_and_leaves_the_network_alone(sfast: SimpleNamespace) -> None:
    network = Doubler()
    x, t = torch.randn(2, 4, 8, 8), EXAMPLE[1]
    call = StableFastBackend("cuda", "float32", 1).compile(network, EXAMPLE)
    torch.testing.assert_close(call(x, t), network(x, t))
    assert sfast.config.prefer_lowp_gemm is False
    assert sfast.config.enable_fused_linear_geglu is False
    assert sfast.config.enable_cuda_graph is True
    assert "forward" not in vars(network)


@pytest.mark.parametrize("factor", [1.1, float("nan")])
def test_stable_fast_is_refused_when_its_result_differs(sfast: SimpleNamespace, factor: float) -> None:
    sfast.factor = factor
    with pytest.raises(BackendUnavailable, match="backend stable-fast cannot run: its result differs"):
        StableFastBackend("cuda", "float32", 1).compile(Doubler(), EXAMPLE)


def test_tensorrt_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert TensorRtBackend.unavailable("cpu") == "it is for CUDA devices, not for cpu"
    monkeypatch.setattr(tensorrt, "find_spec", lambda name: None)
    assert TensorRtBackend.unavailable("cuda") == "the package torch_tensorrt is not installed"
    monkeypatch.setattr(tensorrt, "find_spec", lambda name: "here")
    monkeypatch.setitem(sys.modules, "torch_tensorrt", None)
    assert str(TensorRtBackend.unavailable("cuda")).startswith("torch_tensorrt cannot be imported: ")
    put(monkeypatch, "torch_tensorrt")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert TensorRtBackend.unavailable("cuda") == "torch finds no CUDA device"


@pytest.mark.parametrize(("factor", "agrees"), [(1.0, True), (1.1, False)])
def test_tensorrt_is_asked_to_fail_rather_than_to_fall_back(
    monkeypatch: pytest.MonkeyPatch, factor: float, agrees: bool
) -> None:
    asked: dict[str, Any] = {}

    def compile(network: nn.Module, **arguments: Any) -> Callable[..., Tensor]:
        asked.update(arguments)
        return lambda *tensors: factor * network(*tensors)

    put(monkeypatch, "torch_tensorrt")
    monkeypatch.setattr(torch, "compile", compile)
    backend = TensorRtBackend("cuda", "float32", 1)
    if not agrees:
        with pytest.raises(BackendUnavailable, match=r"differs from the network's own by .*%, more than 3%"):
            backend.compile(Doubler(), EXAMPLE)
        return
    torch.testing.assert_close(backend.compile(Doubler(), EXAMPLE)(*EXAMPLE), Doubler()(*EXAMPLE))
    assert asked["backend"] == "torch_tensorrt"
    assert asked["dynamic"] is False
    assert asked["options"]["pass_through_build_failures"] is True
