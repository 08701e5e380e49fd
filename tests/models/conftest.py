"""Tiny pipelines, each built once a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.models import pipelines

__all__: list[str] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """diffusers' Euler schedulers call numpy in a way that numpy 2 deprecates; it is not ours to mend."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"))


def _folder_of(build: Callable[[Path], Path]) -> Callable[[pytest.TempPathFactory], Path]:
    @pytest.fixture(scope="session")
    def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
        return build(tmp_path_factory.mktemp("pipelines") / build.__name__)

    return folder


sd_turbo_folder = _folder_of(pipelines.sd_turbo)
sd_lcm_folder = _folder_of(pipelines.sd_lcm)
sd_v_folder = _folder_of(pipelines.sd_v_prediction)
sdxl_turbo_folder = _folder_of(pipelines.sdxl_turbo)
sana_folder = _folder_of(pipelines.sana_sprint)
taesd_folder = _folder_of(pipelines.taesd)


@pytest.fixture(scope="session")
def lora_files(sd_turbo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two LoRAs with random weights, as peft and diffusers write them: ``ink`` reaches the text encoder too."""
    from diffusers import StableDiffusionPipeline
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    folder = tmp_path_factory.mktemp("loras")
    files = {}
    for index, (name, targets) in enumerate(
        {"ink": ["to_q", "to_k", "to_v", "conv1"], "oil": ["to_out.0", "to_v"]}.items()
    ):
        torch.manual_seed(index)
        pipe = StableDiffusionPipeline.from_pretrained(sd_turbo_folder, dtype=torch.float32)
        config: Any = LoraConfig(r=4 + index, lora_alpha=3, target_modules=targets, init_lora_weights=False)
        pipe.unet.add_adapter(config)
        text = None
        if name == "ink":
            pipe.text_encoder.add_adapter(LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
            text = get_peft_model_state_dict(pipe.text_encoder)
        StableDiffusionPipeline.save_lora_weights(
            folder,
            unet_lora_layers=get_peft_model_state_dict(pipe.unet),
            text_encoder_lora_layers=text,
            weight_name=f"{name}.safetensors",
        )
        files[name] = folder / f"{name}.safetensors"
    return files


@pytest.fixture(scope="session")
def lora_file(lora_files: dict[str, Path]) -> Path:
    """One of them."""
    return lora_files["ink"]


@pytest.fixture(scope="session")
def ip_adapter_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain IP-Adapter for the tiny UNet, with the CLIP image encoder beside it."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    folder = tmp_path_factory.mktemp("ip-adapter")
    torch.manual_seed(4)
    config: Any = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, image_size=32, patch_size=8,
        projection_dim=16,
    )  # fmt: skip
    CLIPVisionModelWithProjection(config).save_pretrained(folder / "image_encoder")
    tensors = {
        "image_proj.proj.weight": torch.randn(4 * 32, 16),
        "image_proj.proj.bias": torch.zeros(4 * 32),
        "image_proj.norm.weight": torch.ones(32),
        "image_proj.norm.bias": torch.zeros(32),
    }
    for index, width in enumerate(_cross_attention_widths()):
        for part in ("to_k_ip", "to_v_ip"):
            tensors[f"ip_adapter.{2 * index + 1}.{part}.weight"] = torch.randn(width, 32)
    save_file(tensors, folder / "adapter.safetensors")
    return folder / "adapter.safetensors"


def _cross_attention_widths() -> list[int]:
    """Of the tiny UNet, in the order in which diffusers numbers its attention processors."""
    unet = pipelines._unet()
    names = [name for name in unet.attn_processors if name.endswith("attn2.processor")]
    return [unet.get_submodule(name.removesuffix(".processor")).inner_dim for name in names]
