"""What every backend promises, asked of every one in the table."""

from __future__ import annotations

import copy
import sys
from collections import Counter
from contextlib import nullcontext
from functools import partial

import pytest
import torch
from torch import Tensor

from streamgen.backends import BACKENDS, load_backend
from streamgen.backends.base import Backend
from streamgen.backends.eager import EagerBackend
from streamgen.backends.inductor import InductorBackend
from streamgen.errors import BackendUnavailable
from streamgen.models.tiny_unet import TinyUNet

SLOW = {"inductor", "cuda-graph", "tensorrt", "stable-fast"}
DEVICES = {"cuda-graph": "cuda", "tensorrt": "cuda", "stable-fast": "cuda"}
NAMES = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in BACKENDS]
MOST_ERROR = {"float32": 2e-3, "bfloat16": 0.1, "float16": 0.02}


@pytest.fixture(scope="module")
def network() -> TinyUNet:
    torch.manual_seed(1)
    return TinyUNet(2).eval().requires_grad_(False)


def inputs(network: TinyUNet, batch: int, height: int, width: int, device: str = "cpu") -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(2)
    x_t = torch.randn(batch, 3, height, width, generator=generator)
    source = torch.rand(batch, 3, height, width, generator=generator) * 2 - 1
    t = torch.linspace(1.5, 0.4, batch)
    style = network.styles.cpu()[torch.arange(batch) % 2]
    return tuple(tensor.to(device) for tensor in (x_t, t, torch.ones(batch, 1), style, source))


def made(name: str, dtype: str = "float32") -> Backend:
    """The backend on the device it is for; skips the test with the backend's own reason where it cannot run."""
    kind, device = load_backend(name), DEVICES.get(name, "cpu")
    if reason := kind.unavailable(device):
        pytest.skip(f"{name}: {reason}")
    if dtype not in kind.dtypes(device):
        pytest.skip(f"{name}: no {dtype} on {device} here")
    return kind(device, dtype, 1)


@pytest.mark.parametrize("name", BACKENDS)
def test_every_backend_goes_by_the_name_in_the_table(name: str) -> None:
    assert load_backend(name).name == name


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:99", "mps", "abacus"])
@pytest.mark.parametrize("name", BACKENDS)
def test_a_backend_that_cannot_run_says_why_in_one_clause(name: str, device: str) -> None:
    reason = load_backend(name).unavailable(device)
    if reason is not None:
        assert 10 < len(reason) < 400
        assert "\n" not in reason and not reason.endswith(".")


@pytest.mark.parametrize("name", BACKENDS)
def test_no_backend_runs_on_a_device_that_is_not_there(name: str) -> None:
    assert load_backend(name).unavailable("cuda:99") is not None
    assert load_backend(name).unavailable("abacus") is not None


@pytest.mark.parametrize("name", BACKENDS)
def test_the_safest_precision_comes_first(name: str) -> None:
    backend = made(name)
    assert backend.dtypes(backend.device)[0] == "float32"


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # Inductor imports deprecated parts of torch itself
@pytest.mark.parametrize("name", NAMES)
def test_every_backend_computes_what_the_network_computes_at_every_shape(name: str, network: TinyUNet) -> None:
    backend = made(name)
    reference = copy.deepcopy(network).to(backend.device)
    shapes = [(1, 128, 128)] if name in SLOW else [(1, 128, 128), (2, 160, 128)]
    for shape in shapes:
        example = inputs(network, *shape, device=backend.device)
        with torch.inference_mode():
            wanted = reference(*example)
        result = backend.compile(reference, example)(*example)
        assert result.dtype == torch.float32
        torch.testing.assert_close(result, wanted, atol=MOST_ERROR["float32"], rtol=1e-3)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", [name for name in BACKENDS if name not in SLOW])
def test_half_precision_stays_close(name: str, dtype: str, network: TinyUNet) -> None:
    backend = made(name, dtype)
    example = inputs(network, 1, 128, 128, backend.device)
    with torch.inference_mode():
        wanted = network(*example)
    result = backend.compile(network, example)(*example)
    assert float((result - wanted).abs().mean()) < MOST_ERROR[dtype] / 3


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.parametrize("name", NAMES)
def test_an_output_is_not_overwritten_by_the_next_call(name: str, network: TinyUNet) -> None:
    backend = made(name)
    example = inputs(network, 1, 128, 128, backend.device)
    call = backend.compile(copy.deepcopy(network).to(backend.device), example)
    first = call(*example)
    kept = first.clone()
    call(example[0] * 0.1, *example[1:])
    torch.testing.assert_close(first, kept)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.parametrize("name", NAMES)
def test_a_backend_leaves_the_network_as_it_was(name: str, network: TinyUNet) -> None:
    backend = made(name)
    here = copy.deepcopy(network).to(backend.device)
    before = {key: tensor.clone() for key, tensor in here.state_dict().items()}
    backend.compile(here, inputs(network, 1, 128, 128, backend.device))
    for key, tensor in here.state_dict().items():
        assert tensor.dtype == before[key].dtype
        torch.testing.assert_close(tensor, before[key])


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.parametrize("name", NAMES)
def test_a_captured_frame_is_what_the_function_computes(name: str, network: TinyUNet) -> None:
    backend = made(name)
    here = copy.deepcopy(network).to(backend.device)
    example = inputs(network, 1, 128, 128, backend.device)
    if not backend.captures_frames:
        with pytest.raises(NotImplementedError, match="captures no frames"):
            backend.capture(lambda *tensors: tensors, example, nullcontext())
        return
    call = backend.compile(here, example)
    captured = backend.capture(lambda *tensors: (call(*tensors),), example, nullcontext())
    for scale in (1.0, 0.5):
        changed = (example[0] * scale, *example[1:])
        torch.testing.assert_close(captured(*changed)[0], call(*changed))


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts what Dynamo traces; nothing is compiled behind it."""
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    counters.clear()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    return counters["stats"]


def test_a_network_is_compiled_once_for_a_shape_however_its_arguments_lie_in_memory(
    network: TinyUNet, traced: Counter[str]
) -> None:
    example = inputs(network, 1, 128, 128)
    call = InductorBackend("cpu", "float32", 1).compile(network, example)
    with torch.inference_mode():
        wanted = network(*example)
        inferred = [tensor.clone() for tensor in example]
    for given in (
        inferred,
        [*inferred[:2], *example[2:]],
        [tensor.to(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor for tensor in example],
        [torch.stack([tensor, tensor], dim=1)[:, 1] for tensor in example],  # the axis of length 1 has another stride
        [torch.stack([tensor, tensor], dim=-1)[..., 1] for tensor in example],
    ):
        torch.testing.assert_close(call(*given), wanted)
        with torch.inference_mode():
            torch.testing.assert_close(call(*given), wanted)
    assert traced["unique_graphs"] == 1


def test_an_unknown_backend_is_refused_with_the_list_of_known_ones() -> None:
    with pytest.raises(BackendUnavailable, match=r"must be auto or one of .*'eager'.*got 'warp'"):
        load_backend("warp")


def test_a_missing_device_or_compiler_is_given_as_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert EagerBackend.unavailable("cuda") == "torch finds no CUDA device"
    assert load_backend("cuda-graph").unavailable("cuda") == "torch finds no CUDA device"
    monkeypatch.setenv("PATH", "")
    assert "C++ compiler" in str(InductorBackend.unavailable("cpu"))


def test_a_network_at_its_precision_is_not_in_memory_twice(network: TinyUNet) -> None:
    from streamgen.backends.eager import cast_network

    same = cast_network(network, "float32")
    assert same is not network  # two threads may run both
    for mine, theirs in zip(same.parameters(), network.parameters(), strict=True):
        assert mine is theirs
    assert cast_network(network, "bfloat16") is not network


def test_openvino_tells_nobody_what_it_converts(network: TinyUNet) -> None:
    backend = made("openvino")
    backend.compile(network, inputs(network, 1, 128, 128))
    assert sys.modules["openvino_telemetry"] is None
