from __future__ import annotations

import logging
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from streamgen.errors import ConfigError, WeightsError
from streamgen.models.checkpoint import find_checkpoint, load_pipeline
from tests.models import checkpoints
from tests.models.checkpoints import Hub, edit, refusal

hub = checkpoints.hub
sd = checkpoints.sd


def vae_of(pipe: Any) -> str:
    return type(pipe.vae).__name__


@pytest.mark.parametrize(("fixture", "tiny"), [("sd_turbo_folder", "taesd"), ("sdxl_turbo_folder", "taesdxl")])
def test_the_small_vae_is_chosen_when_it_is_cached(
    fixture: str,
    tiny: str,
    taesd_folder: Path,
    hub: Hub,
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
) -> None:
    hub.put_in_cache(f"madebyollin/{tiny}", taesd_folder)
    caplog.set_level(logging.INFO)
    pipe = load_pipeline(find_checkpoint(str(request.getfixturevalue(fixture))), torch.bfloat16)
    assert vae_of(pipe) == "AutoencoderTiny"
    assert pipe.vae.dtype == torch.bfloat16
    assert not pipe.vae.training
    assert f"VAE madebyollin/{tiny}" in caplog.text


def test_the_small_vae_is_fetched_when_it_can_be(sd_turbo_folder: Path, taesd_folder: Path, hub: Hub) -> None:
    hub.holds, hub.failure = {"madebyollin/taesd": taesd_folder}, None
    pipe = load_pipeline(find_checkpoint(str(sd_turbo_folder)), torch.float32)
    assert vae_of(pipe) == "AutoencoderTiny"
    assert sorted(hub.fetched) == ["config.json", "diffusion_pytorch_model.safetensors"]


def test_without_the_small_vae_the_own_one_is_kept_and_that_is_said(
    sd_turbo_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    pipe = load_pipeline(find_checkpoint(str(sd_turbo_folder)), torch.float32)
    assert vae_of(pipe) == "AutoencoderKL"
    assert "madebyollin/taesd, which cannot be had" in caplog.text


def test_full_keeps_the_own_vae(sd_turbo_folder: Path, taesd_folder: Path, hub: Hub) -> None:
    hub.put_in_cache("madebyollin/taesd", taesd_folder)
    pipe = load_pipeline(find_checkpoint(str(sd_turbo_folder)), torch.float32, "full")
    assert vae_of(pipe) == "AutoencoderKL"


def test_a_small_vae_of_the_checkpoint_is_kept(sd: Path, taesd_folder: Path, hub: Hub) -> None:
    shutil.rmtree(sd / "vae")
    shutil.copytree(taesd_folder, sd / "vae")
    edit(sd / "model_index.json", vae=["diffusers", "AutoencoderTiny"])
    pipe = load_pipeline(find_checkpoint(str(sd)), torch.float32)
    assert vae_of(pipe) == "AutoencoderTiny"
    assert hub.timeouts == []


def test_sana_keeps_its_own_vae_without_asking_the_hub(sana_folder: Path, hub: Hub) -> None:
    assert vae_of(load_pipeline(find_checkpoint(str(sana_folder)), torch.float32)) == "AutoencoderDC"
    assert hub.timeouts == []


def test_another_vae_comes_from_a_folder(sd_turbo_folder: Path, sdxl_turbo_folder: Path, taesd_folder: Path) -> None:
    checkpoint = find_checkpoint(str(sd_turbo_folder))
    assert vae_of(load_pipeline(checkpoint, torch.float32, str(taesd_folder))) == "AutoencoderTiny"
    pipe = load_pipeline(checkpoint, torch.float32, str(sdxl_turbo_folder / "vae"))
    assert vae_of(pipe) == "AutoencoderKL"
    assert pipe.vae.config.scaling_factor == 0.13025


def test_a_vae_that_was_asked_for_is_not_replaced_silently(sd_turbo_folder: Path) -> None:
    checkpoint = find_checkpoint(str(sd_turbo_folder))
    message = refusal(
        lambda: load_pipeline(checkpoint, torch.float32, "maker/vae"), WeightsError, "weights_unreachable"
    )
    assert "maker/vae" in message


def test_a_vae_of_no_known_form_is_refused(sd_turbo_folder: Path) -> None:
    checkpoint = find_checkpoint(str(sd_turbo_folder))
    assert "'small'" in refusal(lambda: load_pipeline(checkpoint, torch.float32, "small"), ConfigError, "unknown_vae")


def test_a_vae_that_does_not_fit_is_refused(
    sd_turbo_folder: Path, sana_folder: Path, taesd_folder: Path, tmp_path: Path
) -> None:
    wide = Path(shutil.copytree(taesd_folder, tmp_path / "taef1"))
    edit(wide / "config.json", latent_channels=16)
    for folder, vae, what in (
        (sana_folder, taesd_folder, "sana-sprint needs AutoencoderDC"),
        (sd_turbo_folder, sana_folder / "vae", "AutoencoderDC"),
        (sd_turbo_folder, sd_turbo_folder / "unet", "UNet2DConditionModel"),
        (sd_turbo_folder, wide, "16 latent channels"),
    ):
        load = partial(load_pipeline, find_checkpoint(str(folder)), torch.float32, str(vae))
        message = refusal(load, ConfigError, "unsupported_vae")
        assert what in message


def test_a_vae_that_overflows_in_half_precision_is_warned_of(
    sdxl_turbo_folder: Path, taesd_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = find_checkpoint(str(sdxl_turbo_folder))
    load_pipeline(checkpoint, torch.float16, str(taesd_folder))
    load_pipeline(checkpoint, torch.bfloat16, "full")
    assert "overflows" not in caplog.text
    load_pipeline(checkpoint, torch.float16, "full")
    assert "overflows in float16" in caplog.text
