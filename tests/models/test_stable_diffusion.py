"""What a checkpoint can be given besides a prompt, against diffusers where it does the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from streamgen.config import ModelSpec
from streamgen.errors import ConfigError, WeightsError
from streamgen.frames import Pixels
from streamgen.models import load_model
from streamgen.models.control import Depth, canny
from streamgen.models.diffusion import DiffusionModel
from streamgen.models.stable_diffusion import StableDiffusion
from streamgen.settings import StreamSettings

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
SIDE = 64


def load(folder: Path, **options: Any) -> DiffusionModel:
    model = load_model(ModelSpec(family=str(folder), width=SIDE, height=SIDE, dtype="float32", vae="full", **options))
    assert isinstance(model, DiffusionModel)
    return model


@torch.inference_mode()
def denoised(
    model: DiffusionModel, prompt: str, pixels: Tensor, reference: Pixels | None = None, **settings: Any
) -> Tensor:
    cond = model.encode_prompt(prompt, model.loras) | model.live_conditioning(StreamSettings(**settings))
    cond |= model.reference_conditioning(reference)[0]
    latents = model.encode_image(pixels)
    given = {name: tensor[None] for name, tensor in cond.items()} | model.source_conditioning(pixels, latents)
    return model.denoise(latents, torch.tensor([600.0]), given)


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    return torch.rand((1, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_an_encoded_picture_comes_back_through_the_decoder_in_its_size(sd_turbo_folder: Path, pixels: Tensor) -> None:
    model = load(sd_turbo_folder)
    with torch.inference_mode():
        latents = model.encode_image(pixels)
        assert latents.shape == (1, *model.latent_shape(SIDE, SIDE))
        assert torch.equal(latents, model.encode_image(pixels))
        assert model.decode_image(latents).shape == pixels.shape


def test_a_tiny_autoencoder_takes_the_place_of_the_full_one(
    sd_turbo_folder: Path, taesd_folder: Path, pixels: Tensor
) -> None:
    model = load_model(ModelSpec(family=str(sd_turbo_folder), dtype="float32", vae=str(taesd_folder)))
    assert type(model.encoder.vae).__name__ == "AutoencoderTiny"  # type: ignore[union-attr]
    with torch.inference_mode():
        assert model.decode_image(model.encode_image(pixels)).shape == pixels.shape


def test_clip_skip_takes_an_earlier_layer_of_the_text_encoder(sd_turbo_folder: Path) -> None:
    last, earlier = load(sd_turbo_folder), load(sd_turbo_folder, clip_skip=1)
    encoder = earlier.pipe.text_encoder
    ids = earlier.pipe.tokenizer("a cat", padding="max_length", return_tensors="pt").input_ids
    with torch.inference_mode():
        states = encoder(ids, output_hidden_states=True).hidden_states
        norm = getattr(encoder, "text_model", encoder).final_layer_norm
        assert isinstance(earlier, StableDiffusion)
        wanted = earlier.with_keys_values(norm(states[-2]))["keys_values"][0]
    torch.testing.assert_close(earlier.encode_prompt("a cat", {})["keys_values"], wanted)
    assert not torch.allclose(last.encode_prompt("a cat", {})["keys_values"], wanted)


def test_a_weight_in_the_prompt_moves_the_picture(sd_turbo_folder: Path, pixels: Tensor) -> None:
    model = load(sd_turbo_folder)
    plain, heavy = (denoised(model, prompt, pixels) for prompt in ("a red cat", "a (red:1.6) cat"))
    assert not torch.allclose(plain, heavy)


def test_a_textual_inversion_adds_a_word(sd_turbo_folder: Path, tmp_path: Path, pixels: Tensor) -> None:
    learned = tmp_path / "brush.safetensors"
    save_file({"<brush>": 3 * torch.randn((1, 32), generator=torch.Generator().manual_seed(1))}, learned)
    with_word, without = load(sd_turbo_folder, embeddings=(str(learned),)), load(sd_turbo_folder)
    assert torch.allclose(denoised(with_word, "a cat", pixels), denoised(without, "a cat", pixels), atol=1e-5)
    assert not torch.allclose(denoised(with_word, "a <brush>", pixels), denoised(without, "a <brush>", pixels))


@pytest.fixture(scope="module")
def controlnet_folder(sd_turbo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ControlNet for the tiny UNet whose closing layers are not zero, as those of a trained one."""
    from diffusers import ControlNetModel, UNet2DConditionModel

    unet = UNet2DConditionModel.from_pretrained(sd_turbo_folder / "unet")
    torch.manual_seed(3)
    network = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8, 8, 16, 16))
    for block in [*network.controlnet_down_blocks, network.controlnet_mid_block]:
        torch.nn.init.normal_(block.weight, std=0.3)
    torch.nn.init.normal_(network.controlnet_cond_embedding.conv_out.weight, std=0.3)
    folder = tmp_path_factory.mktemp("controlnet")
    network.save_pretrained(folder)
    return folder


def test_a_controlnet_holds_the_picture_to_the_frame_as_diffusers_does(
    sd_turbo_folder: Path, controlnet_folder: Path, pixels: Tensor
) -> None:
    from diffusers import ControlNetModel, StableDiffusionPipeline

    model = load(sd_turbo_folder, controlnet=str(controlnet_folder), control="canny")
    made = denoised(model, "a cat", pixels, control_scale=0.7)
    pipe = StableDiffusionPipeline.from_pretrained(sd_turbo_folder, dtype=torch.float32)
    network = ControlNetModel.from_pretrained(controlnet_folder, dtype=torch.float32)
    t = torch.tensor([600])
    with torch.inference_mode():
        x_t, text = model.encode_image(pixels), pipe.encode_prompt("a cat", "cpu", 1, False)[0]
        down, middle = network(x_t, t, text, canny(pixels), conditioning_scale=0.7, return_dict=False)
        noise = pipe.unet(
            x_t, t, text, down_block_additional_residuals=down, mid_block_additional_residual=middle
        ).sample
        alpha = pipe.scheduler.alphas_cumprod[600]
        wanted = (x_t - (1 - alpha).sqrt() * noise) / alpha.sqrt()
    torch.testing.assert_close(made, wanted, atol=1e-3, rtol=1e-4)
    assert float((made - denoised(model, "a cat", pixels, control_scale=0.0)).abs().max()) > 0.01


def test_a_controlnet_that_is_not_there_says_so(sd_turbo_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be used"):
        load(sd_turbo_folder, controlnet=str(tmp_path))
    with pytest.raises(ConfigError, match="control must be one of"):
        load(sd_turbo_folder, controlnet=str(tmp_path), control="tea leaves")


def test_a_reference_picture_steers_as_diffusers_ip_adapter_does(
    sd_turbo_folder: Path, ip_adapter_file: Path, pixels: Tensor
) -> None:
    from diffusers import StableDiffusionPipeline

    reference = np.random.default_rng(1).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    model = load(sd_turbo_folder, ip_adapter=str(ip_adapter_file))
    assert model.takes_reference
    made = {
        name: denoised(model, "a cat", pixels, picture, reference_scale=0.7)
        for name, picture in (("with", reference), ("without", None))
    }
    pipe = StableDiffusionPipeline.from_pretrained(sd_turbo_folder, dtype=torch.float32)
    pipe.load_ip_adapter(str(ip_adapter_file.parent), subfolder="", weight_name=ip_adapter_file.name)
    t, alpha = torch.tensor([600]), pipe.scheduler.alphas_cumprod[600]
    with torch.inference_mode():
        x_t, text = model.encode_image(pixels), pipe.encode_prompt("a cat", "cpu", 1, False)[0]
        seen = pipe.feature_extractor(reference, return_tensors="pt", input_data_format="channels_last").pixel_values
        embeds = [pipe.image_encoder(seen).image_embeds[:, None]]
        for name, scale in (("with", 0.7), ("without", 0.0)):
            pipe.set_ip_adapter_scale(scale)
            noise = pipe.unet(x_t, t, text, added_cond_kwargs={"image_embeds": embeds}).sample
            wanted = (x_t - (1 - alpha).sqrt() * noise) / alpha.sqrt()
            torch.testing.assert_close(made[name], wanted, atol=1e-3, rtol=1e-4)
    assert float((made["with"] - made["without"]).abs().max()) > 0.01


def test_an_ip_adapter_that_cannot_be_read_says_so(sd_turbo_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="an IP-Adapter is a safetensors file"):
        load(sd_turbo_folder, ip_adapter=str(tmp_path))
    with pytest.raises(WeightsError, match="cannot be used"):
        load(sd_turbo_folder, ip_adapter=str(tmp_path / "nobody" / "adapter.safetensors"))


@pytest.fixture(scope="module")
def depth_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A depth estimation model with random weights, as transformers saves one."""
    from transformers import DPTConfig, DPTForDepthEstimation, DPTImageProcessor

    torch.manual_seed(5)
    config: Any = DPTConfig(
        hidden_size=32, num_hidden_layers=4, num_attention_heads=4, intermediate_size=64, image_size=64, patch_size=16,
        backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[8, 16, 32, 32], fusion_hidden_size=16,
        reassemble_factors=[4, 2, 1, 0.5],
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("depth")
    DPTForDepthEstimation(config).save_pretrained(folder)
    processor: Any = DPTImageProcessor(size={"height": 64, "width": 64})
    processor.save_pretrained(folder)
    return folder


def test_depth_is_what_transformers_pipeline_sees(depth_folder: Path, pixels: Tensor) -> None:
    from transformers import AutoImageProcessor, AutoModelForDepthEstimation

    seen = Depth.load(ModelSpec(control_model=str(depth_folder)), torch.float32)(pixels)
    assert seen.shape == pixels.shape
    assert float(seen.min()) >= 0 and float(seen.max()) <= 1
    picture = ((pixels[0].permute(1, 2, 0) / 2 + 0.5) * 255).round().to(torch.uint8).numpy()
    processor: Any = AutoImageProcessor.from_pretrained(depth_folder)
    network = AutoModelForDepthEstimation.from_pretrained(depth_folder)
    with torch.inference_mode():
        depth = network(**processor(picture, return_tensors="pt")).predicted_depth[0]
    wanted = (depth - depth.min()) / (depth.max() - depth.min())
    small = torch.nn.functional.interpolate(seen, size=wanted.shape, mode="bilinear")[0, 0]
    assert float((small - wanted).abs().mean()) < 0.03


def test_depth_needs_a_model_of_its_own(
    sd_turbo_folder: Path, controlnet_folder: Path, depth_folder: Path, tmp_path: Path, pixels: Tensor
) -> None:
    with pytest.raises(ConfigError, match="--control depth needs --control-model"):
        load(sd_turbo_folder, controlnet=str(controlnet_folder), control="depth")
    with pytest.raises(WeightsError, match="cannot be used"):
        load(sd_turbo_folder, controlnet=str(controlnet_folder), control="depth", control_model=str(tmp_path))
    model = load(sd_turbo_folder, controlnet=str(controlnet_folder), control="depth", control_model=str(depth_folder))
    held, free = (denoised(model, "a cat", pixels, control_scale=scale) for scale in (1.0, 0.0))
    assert float((held - free).abs().max()) > 0.01


def test_edges_are_thin_white_lines_where_the_picture_changes() -> None:
    picture = torch.full((1, 3, 32, 32), -1.0)
    picture[..., 16:] = 1.0
    edges = canny(picture)[0, 0]
    columns = np.flatnonzero(edges.sum(0).numpy())
    assert edges.unique().tolist() == [0.0, 1.0]
    assert set(columns) <= {15, 16} and len(columns) >= 1
    assert not canny(torch.full((1, 3, 32, 32), 0.3)).any()


def test_a_model_says_which_settings_change_nothing(sd_turbo_folder: Path, sd_lcm_folder: Path) -> None:
    assert load(sd_turbo_folder).unused_settings == {"loras", "control_scale", "reference_scale"}
    lcm = load(sd_lcm_folder)
    assert {"guidance_mode", "negative_prompt"} <= lcm.unused_settings
    assert lcm.default_guidance == 8.5


def test_a_guidance_scale_that_the_network_takes_is_a_value_of_each_row(sd_lcm_folder: Path, pixels: Tensor) -> None:
    model = load(sd_lcm_folder)
    default, stated, other = (denoised(model, "a cat", pixels, guidance=scale) for scale in (0.0, 8.5, 3.0))
    torch.testing.assert_close(default, stated)
    assert not torch.allclose(default, other)


def test_an_unknown_sampler_is_refused_with_the_known_ones(sd_turbo_folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"sampler must be auto or one of .*'lcm'.*got 'magic'"):
        load(sd_turbo_folder, sampler="magic")


def test_a_family_by_itself_has_no_weights() -> None:
    with pytest.raises(ConfigError, match="sdxl has no weights of its own"):
        load_model(ModelSpec(family="sdxl"))
