from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from huggingface_hub import errors

from streamgen.errors import ConfigError, WeightsError
from streamgen.models.checkpoint import Checkpoint, find_checkpoint
from tests.models import checkpoints
from tests.models.checkpoints import Hub, edit, http, refusal, weights_of

hub = checkpoints.hub
sd = checkpoints.sd


def hub_error(kind: type[Exception], status: int) -> Exception:
    response = http.Response(status, request=http.Request("GET", "https://huggingface.co/api/models/maker/model"))
    return kind("refused", response=response)


def test_a_cached_model_needs_no_network(sd_turbo_folder: Path, hub: Hub) -> None:
    folder = hub.put_in_cache("maker/model", sd_turbo_folder)
    assert find_checkpoint("maker/model") == Checkpoint("maker/model", "sd", folder, None)
    assert hub.timeouts == []


def test_a_model_is_downloaded_without_what_is_not_needed(sd: Path, hub: Hub) -> None:
    half = weights_of(sd, "unet").with_suffix(".fp16.safetensors")
    shutil.copy(weights_of(sd, "unet"), half)
    for unneeded in (
        "whole.safetensors",
        "unet/diffusion_pytorch_model.bin",
        "unet/diffusion_pytorch_model.non_ema.safetensors",
        "unet/code.py",
        "vae_decoder/model.safetensors",
        "safety_checker/model.safetensors",
        "picture.png",
    ):
        (sd / unneeded).parent.mkdir(exist_ok=True)
        (sd / unneeded).write_bytes(b"x")
    (sd / "README.md").write_text("---\nlicense: mit\n---\n")
    hub.holds, hub.failure = {"maker/model": sd}, None
    assert find_checkpoint("maker/model").licence == "mit"
    weights = [file for file in hub.fetched if not file.endswith((".json", ".txt"))]
    assert sorted(weights) == [
        "README.md",
        "text_encoder/model.safetensors",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    ]


def test_a_cached_copy_that_lacks_files_is_completed(sd_turbo_folder: Path, hub: Hub) -> None:
    (hub.put_in_cache("maker/model", sd_turbo_folder) / "unet" / "config.json").unlink()
    hub.holds, hub.failure = {"maker/model": sd_turbo_folder}, None
    assert find_checkpoint("maker/model").family == "sd"
    assert "unet/config.json" in hub.fetched


def test_a_damaged_cached_copy_is_named(sd_turbo_folder: Path, hub: Hub) -> None:
    file = weights_of(hub.put_in_cache("maker/model", sd_turbo_folder), "unet")
    file.write_bytes(file.read_bytes()[:1000])
    message = refusal(lambda: find_checkpoint("maker/model"), WeightsError, "weights_corrupt")
    assert str(file) in message


def test_an_unsupported_model_is_refused_before_its_weights_are_fetched(sd: Path, hub: Hub) -> None:
    edit(sd / "model_index.json", _class_name="FluxPipeline")
    hub.holds, hub.failure = {"maker/model": sd}, None
    refusal(lambda: find_checkpoint("maker/model"), ConfigError, "unsupported_model")
    assert hub.fetched == []


def test_a_repository_of_single_files_is_refused(sd: Path, hub: Hub) -> None:
    (sd / "model_index.json").unlink()
    hub.holds, hub.failure = {"maker/model": sd}, None
    message = refusal(lambda: find_checkpoint("maker/model"), ConfigError, "unsupported_model")
    assert "model_index.json" in message


def test_a_repository_of_pickles_is_refused_before_anything_is_fetched(sd: Path, hub: Hub) -> None:
    weights_of(sd, "unet").rename(sd / "unet" / "diffusion_pytorch_model.bin")
    hub.holds, hub.failure = {"maker/model": sd}, None
    message = refusal(lambda: find_checkpoint("maker/model"), WeightsError, "weights_not_safetensors")
    assert "maker/model/unet has diffusion_pytorch_model.bin" in message
    assert hub.fetched == []


@pytest.mark.parametrize(
    ("failure", "code", "help_given"),
    [
        (http.ConnectError("no route to host"), "weights_unreachable", "hf download maker/model"),
        (http.ReadTimeout("timed out"), "weights_unreachable", "hf download maker/model"),
        (ConnectionResetError(104, "reset by peer"), "weights_unreachable", "hf download maker/model"),
        (errors.OfflineModeIsEnabled("offline"), "weights_unreachable", "HF_HUB_OFFLINE is set: unset it"),
        (hub_error(errors.HfHubHTTPError, 503), "weights_unreachable", "hf download maker/model"),
        (hub_error(errors.GatedRepoError, 403), "weights_gated", "https://huggingface.co/maker/model"),
        (hub_error(errors.HfHubHTTPError, 401), "weights_gated", "hf auth login"),
        (hub_error(errors.RepositoryNotFoundError, 401), "weights_missing", "there is no maker/model"),
        (hub_error(errors.HfHubHTTPError, 404), "weights_missing", "there is no maker/model"),
    ],
)
def test_what_the_hub_refuses_is_told_with_what_helps(failure: Exception, code: str, help_given: str, hub: Hub) -> None:
    hub.failure = failure
    message = refusal(lambda: find_checkpoint("maker/model"), WeightsError, code)
    assert "maker/model" in message
    assert help_given in message


def test_the_hub_is_given_a_few_seconds_to_answer(hub: Hub) -> None:
    refusal(lambda: find_checkpoint("maker/model"), WeightsError, "weights_unreachable")
    assert len(hub.timeouts) == 1
    assert 0 < (hub.timeouts[0] or 0) <= 5
