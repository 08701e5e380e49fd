"""The measurements of a GPU, tried on a CPU with tiny networks: that they measure, not what."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

pytest.importorskip("diffusers", reason="the extra diffusers is not installed")

from streamgen.backends.eager import with_cast
from streamgen.bench import gpu, gpu_checks, gpu_models
from streamgen.bench.gpu import PARTS, main, ratios, verdicts
from streamgen.bench.gpu_measure import Rig, flops_per_frame, in_float32, make_engine, psnr, shown, speed, verdict
from streamgen.bench.gpu_models import ARCHITECTURES, TINY, build_model
from streamgen.bench.gpu_start import _takeover
from streamgen.config import ModelSpec
from streamgen.engine.whole_frame import empty_prompt, frame_example, whole_frame
from streamgen.settings import StreamSettings

pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers and transformers warn of each other

SIDE = 128


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    monkeypatch.setattr(Rig, "dtype", "float32")
    return Rig("cpu", 1, 0.01, TINY, changes=10, matmul_side=64, small=SIDE, large=SIDE)


@pytest.mark.parametrize("name", TINY)
def test_a_random_model_makes_pictures_that_use_their_range_and_differ_by_prompt(name: str, rig: Rig) -> None:
    model = rig.model(name, SIDE)
    picture = shown(make_engine(rig, model), SIDE, StreamSettings(strength=0.5))
    assert picture.shape == (SIDE, SIDE, 3)
    assert picture.std() > 20
    one, two, again = (model.encode_prompt(text, {}) for text in ("one", "two", "one"))
    assert any((one[key] != two[key]).any() for key in one)
    assert all((one[key] == again[key]).all() for key in one)


def test_the_true_architectures_have_as_many_parameters_as_their_checkpoints() -> None:
    for architecture in ARCHITECTURES.values():
        gpu_models.build_pipeline(architecture, "meta", torch.bfloat16)  # which counts them
    wrong = gpu_models.Architecture("sd", TINY["sd-turbo"].network, 5, {"text": (77, 32)}, TINY["sd-turbo"].scheduler)
    with pytest.raises(AssertionError, match="parameters, not 5"):
        gpu_models.build_pipeline(wrong, "meta", torch.bfloat16)


def test_operations_are_counted_by_step(rig: Rig) -> None:
    model = rig.model("sd-turbo", SIDE)
    one, two, four = (flops_per_frame(model, SIDE, steps) for steps in (1, 2, 4))
    assert one > 1e8
    assert four - two == pytest.approx(2 * (two - one))


def test_the_reference_in_float32_leaves_the_model_as_it_was(monkeypatch: pytest.MonkeyPatch, rig: Rig) -> None:
    monkeypatch.setattr(Rig, "dtype", "bfloat16")
    model = rig.model("sd-turbo", SIDE)
    exact = in_float32(model)
    for before, after in ((model.network, exact.network), (model.decoder, exact.decoder)):
        assert isinstance(before, nn.Module) and isinstance(after, nn.Module)
        assert {weight.dtype for weight in before.parameters()} == {torch.bfloat16}
        assert {weight.dtype for weight in after.parameters()} == {torch.float32}
    made, wanted = (shown(make_engine(rig, each), SIDE, StreamSettings(strength=0.5)) for each in (model, exact))
    assert 15 < float(psnr(made, wanted)) < 60


class NothingLeavesTheDevice(TorchDispatchMode):
    """Raises at what a CUDA graph cannot record: reading a value, and copies between host and device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor)]
        devices = {tensor.device.type for tensor in tensors}
        assert devices <= {"meta"}, f"{func} works on {devices}"
        assert "_local_scalar_dense" not in str(func) and "nonzero" not in str(func), f"{func} reads a value"
        return result


@pytest.fixture
def unscaled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors on the meta device have no values to scale by."""
    monkeypatch.setattr(gpu_models, "_spread", lambda model, pipe: None)


@pytest.mark.parametrize("steps", [1, 2, 4])
@pytest.mark.parametrize("name", TINY)
def test_a_whole_frame_of_every_family_can_be_recorded_as_a_graph(name: str, steps: int, unscaled: None) -> None:
    spec = ModelSpec(name, width=SIDE, height=SIDE, dtype="bfloat16", device="meta", max_steps=4)
    model = build_model(TINY[name], spec)
    networks = {"encode": model.encoder, "denoise": model.network, "decode": model.decoder}
    parts = {part: with_cast(network, "bfloat16") for part, network in networks.items() if network is not None}
    prompt = empty_prompt(model)
    example = [tensor.to("meta") for tensor in frame_example(model, 2, SIDE, SIDE, steps, prompt=prompt)]
    frame = whole_frame(model, tuple(prompt), parts, steps)
    with NothingLeavesTheDevice():
        [pixels] = frame(*example)
    assert (pixels.shape, pixels.dtype) == ((2, SIDE, SIDE, 3), torch.uint8)


def test_what_a_graph_cannot_record_is_noticed() -> None:
    on_device, on_host = torch.zeros(3, device="meta"), torch.zeros(3)
    with NothingLeavesTheDevice(), pytest.raises(AssertionError, match="works on"):
        on_host.to("meta")
    with NothingLeavesTheDevice(), pytest.raises(AssertionError):
        on_device.copy_(on_host)


def test_settings_make_nobody_compile_anything(monkeypatch: pytest.MonkeyPatch, rig: Rig) -> None:
    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    monkeypatch.setattr(Rig, "backend", "inductor")
    found: dict[str, Any] = {}
    for more in gpu_checks.settings(replace(rig, changes=30)):
        found |= more
    assert found["new"]["traced"] == 0
    assert found["new"]["compilations"] == 0
    assert found["changes"] == 30


def test_a_figure_stands_beside_what_was_asked() -> None:
    assert verdict(3.999, at_most=4) == {"got": 4.0, "asked": "at most 4", "met": True}
    assert verdict(79.9, at_least=80)["met"] is False
    lines = [*verdicts({"parts": {"a": {"ms": verdict(3, at_most=4), "note": 1}, "b": {"error": "X: no\nmore"}}})]
    assert lines == ["yes  parts / a / ms: 3, asked at most 4", "NO   parts / b: more"]


def test_speed_counts_every_picture_of_a_batch() -> None:
    found = speed([10.0, 10.0], pictures=8)
    assert found["pictures_per_s"] == 800
    assert found["step_ms"]["p50"] == 10


def test_pictures_are_compared_in_decibels(picture: Any) -> None:
    assert psnr(picture, picture) == "equal"
    changed = picture.copy()
    changed[0, 0, 0] ^= 255
    assert isinstance(psnr(picture, changed), float)


def test_the_engine_is_compared_with_diffusers_of_the_same_run() -> None:
    parts = {
        "sd-turbo": {"step_ms": {"p50": 4.0}},
        "diffusers": {"eager_uint8_ms": {"p50": 30.0}, "compiled_uint8_ms": {"p50": 7.0}},
    }
    assert ratios(parts)["over_eager_uint8"] == {"got": 7.5, "asked": "at least 6", "met": True}
    assert ratios(parts)["over_compiled_uint8"]["met"] is False
    assert ratios({"sd-turbo": {"error": "no"}}) == {}


def test_a_takeover_is_judged_by_its_longest_gap_behind_the_first() -> None:
    shown_s = [5.0, 6.0, 6.05, 6.10, 6.30, 6.31]
    found = _takeover(shown_s, [False, False, False, False, True, True])
    assert found == {"compiled_after_s": 6.3, "frames": 6, "longest_gap_ms": 200.0, "gaps_over_100_ms": 1}
    assert _takeover([5.0], [False])["compiled_after_s"] is None


def failing(rig: Rig) -> Iterator[dict[str, Any]]:
    yield {"until_then": 1}
    raise RuntimeError("CUDA error: an illegal memory access was encountered")


@pytest.fixture
def quiet_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """``main`` sets variables for torch; here they are as they were when the test is over."""
    for name in ("OMP_WAIT_POLICY", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "1" if name == "OMP_NUM_THREADS" else "PASSIVE")


def test_a_part_that_fails_costs_its_own_figures_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quiet_start: None, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu, "_measure", lambda part: failing if part is PARTS["overhead"] else lambda rig: iter([{}]))
    output = tmp_path / "gpu.json"
    arguments = ["--device", "cpu", "--quick", "--threads", "1", "--only", "overhead,startup", "--output", str(output)]
    assert main(arguments) == 0
    parts = json.loads(output.read_text())["results"]["parts"]
    assert parts["overhead"]["until_then"] == 1
    assert parts["overhead"]["error"].startswith("RuntimeError: CUDA error")
    assert "error" not in parts["startup"]
    assert "NO   parts / overhead: RuntimeError" in capsys.readouterr().out


def test_a_device_that_is_not_there_is_said_at_once(
    monkeypatch: pytest.MonkeyPatch, quiet_start: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["--output", str(tmp_path / "gpu.json")]) == 2
    assert "cuda cannot be measured: torch finds no CUDA device" in capsys.readouterr().err


def test_only_known_parts_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "sd-turbo,nonsense"])
    assert "got 'nonsense'" in capsys.readouterr().err


def arguments() -> argparse.Namespace:
    return gpu._arguments(["--device", "cpu", "--quick", "--threads", "1", "--seconds", "0.01"])


@pytest.mark.slow
def test_a_part_in_a_process_of_its_own_gives_what_it_found() -> None:
    found = gpu._run_apart(arguments(), "overhead", 300)
    assert 0 < found["networks_ms"]["p50"] < found["step_ms"]["p50"]


def test_a_part_that_takes_too_long_is_ended() -> None:
    assert gpu._run_apart(arguments(), "overhead", 0.1)["error"] == "not done after 0 s"


@pytest.mark.slow
def test_the_whole_command_runs_on_a_cpu_with_tiny_networks(tmp_path: Path, quiet_start: None) -> None:
    output = tmp_path / "gpu.json"
    assert main(["--device", "cpu", "--quick", "--threads", "1", "--seconds", "0.01", "--output", str(output)]) == 0
    results = json.loads(output.read_text())["results"]
    assert "tiny networks" in results["note"]
    assert set(results["parts"]) == {name for name, part in PARTS.items() if not part.asked}
    for name, found in results["parts"].items():
        assert "error" not in found, (name, found)
        assert ("skipped" in found) == bool(PARTS[name].gpu_only)
    assert results["parts"]["settings"]["nothing_compiled"]["met"]
    assert results["parts"]["settings"]["no_graph_traced"]["met"]
    assert results["parts"]["startup"]["first start"]["first_frame_s"] > 0
