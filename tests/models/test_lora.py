from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from streamgen.config import LoraSpec, ModelSpec
from streamgen.errors import ConfigError, WeightsError
from streamgen.models import load_model
from streamgen.models.diffusion import DiffusionModel
from streamgen.models.lora import add_live
from streamgen.settings import StreamSettings

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:Already found a `peft_config`:UserWarning"
)
SIDE = 64


def load(folder: Path, *loras: LoraSpec) -> DiffusionModel:
    model = load_model(
        ModelSpec(family=str(folder), width=SIDE, height=SIDE, dtype="float32", vae="full", loras=tuple(loras))
    )
    assert isinstance(model, DiffusionModel)
    return model


@torch.inference_mode()
def denoised(model: DiffusionModel, *weights: dict[str, float]) -> Tensor:
    """One row for each set of weights."""
    rows = [
        model.encode_prompt("a red city", model.loras | row) | model.live_conditioning(StreamSettings(loras=row))
        for row in weights
    ]
    cond = {name: torch.stack([row[name] for row in rows]) for name in model.conditioning_names}
    x_t = torch.randn((1, *model.latent_shape(SIDE, SIDE)), generator=torch.Generator().manual_seed(1))
    return model.denoise(x_t.expand(len(rows), -1, -1, -1), torch.full((len(rows),), 600.0), cond)


@torch.inference_mode()
def wanted(folder: Path, files: dict[str, Path], weights: dict[str, float]) -> Tensor:
    """The same by diffusers and peft themselves."""
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
    for name in weights:
        pipe.load_lora_weights(str(files[name]), adapter_name=name)
    if weights:
        pipe.set_adapters(list(weights), list(weights.values()))
    text = pipe.encode_prompt("a red city", "cpu", 1, False)[0]
    x_t = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(1))
    alpha = pipe.scheduler.alphas_cumprod[600]
    return (x_t - (1 - alpha).sqrt() * pipe.unet(x_t, torch.tensor([600]), text)[0]) / alpha.sqrt()


def test_every_row_of_a_batch_has_lora_weights_of_its_own(sd_turbo_folder: Path, lora_files: dict[str, Path]) -> None:
    model = load(sd_turbo_folder, *(LoraSpec(name, str(path)) for name, path in lora_files.items()))
    rows: list[dict[str, float]] = [{"ink": 1.0, "oil": 0.0}, {"ink": 0.3, "oil": 1.5}, {"ink": 0.0, "oil": 0.0}]
    made = denoised(model, *rows)
    for row, weights in zip(made, rows, strict=True):
        present = {name: weight for name, weight in weights.items() if weight}
        torch.testing.assert_close(row, wanted(sd_turbo_folder, lora_files, present)[0], atol=1e-3, rtol=1e-4)
    assert float((made[0] - made[2]).abs().max()) > 0.05


def test_a_lora_keeps_the_weight_it_was_loaded_with_until_a_client_says_otherwise(
    sd_turbo_folder: Path, lora_files: dict[str, Path]
) -> None:
    model = load(sd_turbo_folder, LoraSpec("ink", str(lora_files["ink"]), 0.6))
    assert model.loras == {"ink": 0.6}
    torch.testing.assert_close(
        denoised(model, {})[0], wanted(sd_turbo_folder, lora_files, {"ink": 0.6})[0], atol=1e-3, rtol=1e-4
    )


def test_a_fused_lora_is_part_of_the_weights(sd_turbo_folder: Path, lora_files: dict[str, Path]) -> None:
    model = load(sd_turbo_folder, LoraSpec("ink", str(lora_files["ink"]), 0.8, fused=True))
    assert model.loras == {}
    assert "loras" in model.unused_settings
    torch.testing.assert_close(
        denoised(model, {})[0], wanted(sd_turbo_folder, lora_files, {"ink": 0.8})[0], atol=1e-3, rtol=1e-4
    )


def test_a_lora_that_cannot_be_read_says_so(sd_turbo_folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"not a LoRA")
    with pytest.raises(WeightsError, match=r"the LoRA .*broken.safetensors cannot be used"):
        load(sd_turbo_folder, LoraSpec("broken", str(broken)))


def test_two_loras_need_two_names() -> None:
    with pytest.raises(ConfigError, match="two LoRAs are named 'ink'"):
        add_live(nn.Module(), [LoraSpec("ink", "a"), LoraSpec("ink", "b")])


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("a/ink.safetensors", LoraSpec("ink", "a/ink.safetensors")),
        ("a/ink.v2.safetensors@0.5", LoraSpec("ink_v2", "a/ink.v2.safetensors", 0.5)),
        ("brush=some/repo@-1", LoraSpec("brush", "some/repo", -1.0)),
    ],
)
def test_a_lora_is_named_on_the_command_line(text: str, spec: LoraSpec) -> None:
    assert LoraSpec.parse(text) == spec


@pytest.mark.parametrize("text", ["a/ink@much", "br ush=some/repo", "=some/repo"])
def test_a_lora_that_is_named_badly_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="a LoRA's"):
        LoraSpec.parse(text)
