from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from streamgen.errors import ConfigError, WeightsError
from streamgen.models.checkpoint import find_checkpoint
from tests.models import checkpoints
from tests.models.checkpoints import edit, refusal, save_header

hub = checkpoints.hub
sd = checkpoints.sd


@pytest.mark.parametrize(
    ("front", "licence"),
    [
        ("license: openrail++\ntags:\n- a", "openrail++"),
        ("tags: [x]\nlicense: 'mit'", "mit"),
        ("license:\n- apache-2.0", "apache-2.0"),
        ("license: other\nlicense_name: sai-nc-community\nlicense_link: x", "sai-nc-community"),
        ("license: other", "other"),
        ("tags:\n- license", None),
        ("license:\nlanguage: en", None),
    ],
)
def test_the_licence_is_read_off_the_model_card(sd: Path, front: str, licence: str | None) -> None:
    (sd / "README.md").write_text(f"---\n{front}\n---\n# A model\nlicense: none of this\n")
    assert find_checkpoint(str(sd)).licence == licence


@pytest.mark.parametrize("kind", ["FluxPipeline", "StableDiffusion3Pipeline", "StableDiffusionInpaintPipeline"])
def test_a_pipeline_of_another_kind_is_refused_by_name(sd: Path, kind: str) -> None:
    edit(sd / "model_index.json", _class_name=kind)
    message = refusal(lambda: find_checkpoint(str(sd)), ConfigError, "unsupported_model")
    assert f"is a {kind}" in message
    assert "StableDiffusionXLPipeline" in message


def test_a_refiner_is_refused_for_lack_of_a_text_encoder(sdxl_turbo_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(sdxl_turbo_folder, tmp_path / "refiner"))
    edit(folder / "model_index.json", text_encoder=[None, None])
    message = refusal(lambda: find_checkpoint(str(folder)), ConfigError, "unsupported_model")
    assert "without text_encoder" in message


def test_an_inpainting_unet_is_refused(sd: Path) -> None:
    edit(sd / "unet" / "config.json", in_channels=9)
    message = refusal(lambda: find_checkpoint(str(sd)), ConfigError, "unsupported_model")
    assert "9 channels and not 4" in message


def test_code_that_comes_with_weights_is_never_run(sd: Path) -> None:
    edit(sd / "model_index.json", unet=["my_unet", "MyUNet"])
    (sd / "my_unet.py").write_text("raise SystemExit")
    assert "unet from my_unet" in refusal(lambda: find_checkpoint(str(sd)), ConfigError, "remote_code")


def test_a_pipeline_of_its_own_code_is_refused(sd: Path) -> None:
    edit(sd / "model_index.json", _class_name=["pipeline", "MyPipeline"])
    refusal(lambda: find_checkpoint(str(sd)), ConfigError, "remote_code")


@pytest.mark.parametrize("file", ["text_encoder/config.json", "tokenizer/tokenizer_config.json"])
def test_a_part_of_its_own_code_is_refused(sd: Path, file: str) -> None:
    edit(sd / file, auto_map={"AutoModel": "modeling.MyModel"})
    refusal(lambda: find_checkpoint(str(sd)), ConfigError, "remote_code")


@pytest.mark.parametrize("missing", ["unet", "unet/config.json", "vae", "tokenizer", "scheduler", "model_index.json"])
def test_what_is_missing_in_a_folder_is_named(sd: Path, missing: str) -> None:
    path = sd / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert missing in refusal(lambda: find_checkpoint(str(sd)), WeightsError, "weights_missing")


def test_a_folder_of_single_files_points_to_them(tmp_path: Path) -> None:
    file = save_header(tmp_path / "model.safetensors", {"cond_stage_model.x": [1]})
    message = refusal(lambda: find_checkpoint(str(tmp_path)), WeightsError, "weights_missing")
    assert f"name {file}" in message
