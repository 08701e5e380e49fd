from __future__ import annotations

from pathlib import Path

import pytest
import torch

from streamgen.errors import WeightsError
from streamgen.models.checkpoint import find_checkpoint, load_pipeline
from tests.models import checkpoints
from tests.models.checkpoints import refusal, weights_of

hub = checkpoints.hub
sd = checkpoints.sd


def test_missing_weights_are_named(sd: Path) -> None:
    weights_of(sd, "unet").unlink()
    message = refusal(lambda: find_checkpoint(str(sd)), WeightsError, "weights_missing")
    assert f"{sd / 'unet'} has no safetensors weights" in message


def test_pickled_weights_are_refused_with_how_to_convert_them(sd: Path) -> None:
    weights_of(sd, "unet").rename(sd / "unet" / "diffusion_pytorch_model.bin")
    message = refusal(lambda: find_checkpoint(str(sd)), WeightsError, "weights_not_safetensors")
    assert "diffusion_pytorch_model.bin" in message
    assert "save_pretrained" in message


def test_weights_that_are_cut_short_are_named(sd: Path) -> None:
    file = weights_of(sd, "vae")
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size - 10)
    message = refusal(lambda: find_checkpoint(str(sd)), WeightsError, "weights_corrupt")
    assert f"{file} is cut short" in message


@pytest.mark.parametrize(
    "content", [b"", b"\x10", b"\x04" + b"\0" * 7 + b"oops", b"\xff" * 20, b"\x02" + b"\0" * 7 + b"[]"]
)
def test_weights_that_are_no_safetensors_are_named(sd: Path, content: bytes) -> None:
    weights_of(sd, "text_encoder").write_bytes(content)
    message = refusal(lambda: find_checkpoint(str(sd)), WeightsError, "weights_corrupt")
    assert "text_encoder" in message


def test_a_git_lfs_pointer_is_recognised(sd: Path) -> None:
    weights_of(sd, "unet").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")
    assert "git lfs pull" in refusal(lambda: find_checkpoint(str(sd)), WeightsError, "weights_missing")


@pytest.mark.parametrize("content", ["{", "[]", '"unet"'])
def test_a_broken_configuration_is_named(sd: Path, content: str) -> None:
    (sd / "unet" / "config.json").write_text(content)
    assert "unet/config.json" in refusal(lambda: find_checkpoint(str(sd)), WeightsError, "weights_corrupt")


def test_weights_in_several_files_are_counted(sd: Path) -> None:
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel.from_pretrained(sd / "unet")
    weights_of(sd, "unet").unlink()
    unet.save_pretrained(sd / "unet", max_shard_size="2MB")
    files = sorted((sd / "unet").glob("*.safetensors"))
    assert len(files) > 1
    pipe = load_pipeline(find_checkpoint(str(sd)), torch.float32, "full")
    assert torch.equal(pipe.unet.conv_in.weight, unet.conv_in.weight)
    files[0].unlink()
    message = refusal(lambda: find_checkpoint(str(sd)), WeightsError, "weights_missing")
    assert f"{len(files) - 1} of the {len(files)} files" in message
