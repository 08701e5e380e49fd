from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from streamgen.errors import ConfigError, WeightsError
from streamgen.models.checkpoint import Checkpoint, find_checkpoint, load_pipeline
from tests.models import checkpoints
from tests.models.checkpoints import edit, refusal, weights_of

hub = checkpoints.hub
sd = checkpoints.sd

FAMILIES = {
    "sd_turbo_folder": "sd",
    "sd_lcm_folder": "sd",
    "sd_v_folder": "sd",
    "sdxl_turbo_folder": "sdxl",
    "sana_folder": "sana-sprint",
}


@pytest.mark.parametrize("fixture", FAMILIES)
def test_a_folder_is_known_by_its_pipeline(fixture: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(fixture)
    assert find_checkpoint(str(folder)) == Checkpoint(str(folder), FAMILIES[fixture], folder, None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("fixture", FAMILIES)
def test_a_pipeline_is_loaded_ready_to_run_and_without_a_word(
    fixture: str, dtype: torch.dtype, request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]
) -> None:
    checkpoint = find_checkpoint(str(request.getfixturevalue(fixture)))
    capfd.readouterr()
    pipe = load_pipeline(checkpoint, dtype, "full")
    assert capfd.readouterr() == ("", "")
    networks = [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
    assert len(networks) >= 3
    for network in networks:
        assert not network.training
        assert not any(parameter.requires_grad for parameter in network.parameters())
        assert {parameter.dtype for parameter in network.parameters()} == {dtype}


def test_the_libraries_speak_again_after_a_load(sd_turbo_folder: Path) -> None:
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    def state() -> list[object]:
        return [
            (library.get_verbosity(), library.is_progress_bar_enabled())
            for library in (diffusers_logging, transformers_logging)
        ]

    before = state()
    load_pipeline(find_checkpoint(str(sd_turbo_folder)), torch.float32, "full")
    assert state() == before


def test_a_safety_checker_is_not_loaded(sd: Path) -> None:
    edit(sd / "model_index.json", safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"])
    edit(sd / "model_index.json", feature_extractor=["transformers", "CLIPImageProcessor"])
    pipe = load_pipeline(find_checkpoint(str(sd)), torch.float32, "full")
    assert pipe.safety_checker is None


@pytest.mark.parametrize(
    "name", ["nonsense", "", "./not/here", "/not/here", "a/b/c", "a--b/c", "https://hub/a/b", "~nobody/x", "a" * 999]
)
def test_a_name_of_no_known_form_is_refused_with_the_forms(name: str) -> None:
    message = refusal(lambda: find_checkpoint(name), ConfigError, "unknown_model")
    assert message.startswith("model must be tiny, a diffusers folder, a .safetensors file or a hub id")
    assert repr(name) in message


def test_weights_that_do_not_fit_their_configuration_are_an_error_of_ours(sd: Path) -> None:
    edit(sd / "unet" / "config.json", block_out_channels=[32, 32])
    checkpoint = find_checkpoint(str(sd))
    message = refusal(lambda: load_pipeline(checkpoint, torch.float32, "full"), WeightsError, "weights_corrupt")
    assert str(sd) in message


@pytest.mark.parametrize(
    ("dtype", "also_full", "marked"),
    [(torch.float32, False, True), (torch.float16, True, True), (torch.float32, True, False)],
)
def test_half_precision_files_are_used_where_they_are_wanted_or_alone(
    sd: Path, dtype: torch.dtype, also_full: bool, marked: bool
) -> None:
    full = weights_of(sd, "unet")
    half = {name: tensor.half() for name, tensor in load_file(full).items()}
    half["conv_in.bias"].fill_(7)
    save_file(half, full.with_suffix(".fp16.safetensors"), {"format": "pt"})
    if not also_full:
        full.unlink()
    pipe = load_pipeline(find_checkpoint(str(sd)), dtype, "full")
    assert bool((pipe.unet.conv_in.bias == 7).all()) == marked
    assert pipe.unet.dtype == dtype


@pytest.mark.parametrize("package", ["diffusers", "transformers", "huggingface_hub"])
def test_a_missing_package_is_named_with_its_extra(
    sd_turbo_folder: Path, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    message = refusal(lambda: find_checkpoint(str(sd_turbo_folder)), ConfigError, "missing_package")
    assert f"package {package}" in message
    assert "pip install '.[diffusers]'" in message


def test_a_ckpt_is_refused(tmp_path: Path) -> None:
    message = refusal(lambda: find_checkpoint(str(tmp_path / "old.ckpt")), WeightsError, "weights_not_safetensors")
    assert "from_single_file" in message
