from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from streamgen.errors import ConfigError, WeightsError
from streamgen.models.checkpoint import Checkpoint, find_checkpoint, load_pipeline
from tests.models import checkpoints, pipelines
from tests.models.checkpoints import Hub, refusal, save_header

hub = checkpoints.hub

XL = "conditioner.embedders.1.model.ln_final.weight"
CLIP = "cond_stage_model.transformer.text_model.final_layer_norm.weight"
FIRST_LAYER = "model.diffusion_model.input_blocks.0.0.weight"


@pytest.mark.parametrize(
    ("shapes", "family"),
    [({XL: [4], FIRST_LAYER: [320, 4, 3, 3]}, "sdxl"), ({CLIP: [4], "first_stage_model.x": [2**34]}, "sd")],
)
def test_a_single_file_is_known_by_the_names_of_its_tensors(
    tmp_path: Path, shapes: dict[str, list[int]], family: str
) -> None:
    file = save_header(tmp_path / "model.safetensors", shapes, {"modelspec.license": "CreativeML Open RAIL-M"})
    assert find_checkpoint(str(file)) == Checkpoint(str(file), family, file, "CreativeML Open RAIL-M")


@pytest.mark.parametrize(
    ("shapes", "what"),
    [
        ({XL: [4], FIRST_LAYER: [320, 9, 3, 3]}, "9 channels"),
        ({XL: [4], "edm_mean": [4]}, "Playground"),
        ({"conditioner.embedders.0.model.ln_final.weight": [4]}, "refiner"),
        ({"lora_unet_down_blocks_0.lora_up.weight": [4, 4]}, "LoRA"),
        ({"unet.down_blocks.0.lora_A.weight": [4, 4]}, "LoRA"),
        ({FIRST_LAYER: [320, 4, 3, 3]}, "without its text encoder"),
        ({"double_blocks.0.img_attn.norm.key_norm.scale": [4]}, "no known layout"),
    ],
)
def test_a_single_file_of_another_kind_is_refused_by_name(
    tmp_path: Path, shapes: dict[str, list[int]], what: str
) -> None:
    file = save_header(tmp_path / "model.safetensors", shapes)
    assert what in refusal(lambda: find_checkpoint(str(file)), ConfigError, "unsupported_model")


def test_a_missing_single_file_is_named(tmp_path: Path) -> None:
    message = refusal(lambda: find_checkpoint(str(tmp_path / "no.safetensors")), WeightsError, "weights_missing")
    assert str(tmp_path / "no.safetensors") in message


@pytest.fixture
def single_file(sd_turbo_folder: Path, tmp_path: Path) -> Path:
    return pipelines.single_file(sd_turbo_folder, tmp_path / "mix.v2.safetensors")


def configuration(folder: Path, target: Path) -> Path:
    return Path(shutil.copytree(folder, target, ignore=shutil.ignore_patterns("*.safetensors")))


def test_a_single_file_is_loaded_with_the_configuration_beside_it(single_file: Path, sd_turbo_folder: Path) -> None:
    configuration(sd_turbo_folder, single_file.with_suffix(""))
    pipe = load_pipeline(find_checkpoint(str(single_file)), torch.float32, "full")
    expected = load_pipeline(find_checkpoint(str(sd_turbo_folder)), torch.float32, "full")
    assert type(pipe.scheduler) is type(expected.scheduler)
    for part in ("unet", "vae", "text_encoder"):
        for name, tensor in getattr(expected, part).state_dict().items():
            assert torch.equal(getattr(pipe, part).state_dict()[name], tensor), name


def test_a_single_file_is_loaded_with_a_cached_configuration(
    single_file: Path, sd_turbo_folder: Path, hub: Hub, tmp_path: Path
) -> None:
    hub.put_in_cache("stable-diffusion-v1-5/stable-diffusion-v1-5", configuration(sd_turbo_folder, tmp_path / "bare"))
    pipe = load_pipeline(find_checkpoint(str(single_file)), torch.float32, "full")
    assert pipe.unet.config.cross_attention_dim == 32
    assert hub.timeouts == []


def test_the_configuration_of_a_single_file_is_fetched_without_weights(
    single_file: Path, sd_turbo_folder: Path, hub: Hub
) -> None:
    hub.holds, hub.failure = {"stable-diffusion-v1-5/stable-diffusion-v1-5": sd_turbo_folder}, None
    load_pipeline(find_checkpoint(str(single_file)), torch.float32, "full")
    assert "unet/config.json" in hub.fetched
    assert not any(file.endswith(".safetensors") for file in hub.fetched)


@pytest.mark.parametrize(
    ("shapes", "repo"),
    [
        ({XL: [4]}, "stabilityai/sdxl-turbo"),
        ({CLIP: [4]}, "stable-diffusion-v1-5/stable-diffusion-v1-5"),
        (
            {CLIP: [4], "model.diffusion_model.input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight": [320, 1024]},
            "stabilityai/sd-turbo",
        ),
    ],
)
def test_a_single_file_without_a_configuration_says_how_to_get_one(
    tmp_path: Path, shapes: dict[str, list[int]], repo: str
) -> None:
    checkpoint = find_checkpoint(str(save_header(tmp_path / "mix.safetensors", shapes)))
    message = refusal(lambda: load_pipeline(checkpoint, torch.float32, "full"), WeightsError, "weights_unreachable")
    assert f"hf download {repo} --include '*.json' '*.txt' --local-dir {tmp_path / 'mix'}" in message


def test_a_configuration_of_another_family_is_refused(single_file: Path, sdxl_turbo_folder: Path) -> None:
    configuration(sdxl_turbo_folder, single_file.with_suffix(""))
    checkpoint = find_checkpoint(str(single_file))
    message = refusal(lambda: load_pipeline(checkpoint, torch.float32, "full"), ConfigError, "unsupported_model")
    assert "of sd and its configuration" in message
