"""Models of the true architectures with random weights, built without a download: a figure needs the shapes, not the
pictures.

Prompts become random embeddings of the true shape, so that no text encoder is needed either.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from streamgen.config import ModelSpec
from streamgen.models.base import Conditioning
from streamgen.models.diffusion import DiffusionModel
from streamgen.models.sana_sprint import SanaSprint
from streamgen.models.stable_diffusion import StableDiffusion
from streamgen.models.stable_diffusion_xl import StableDiffusionXL

__all__ = ["ARCHITECTURES", "TINY", "Architecture", "build_model", "build_pipeline"]

_BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
_EULER = ("EulerDiscreteScheduler", {**_BETAS, "timestep_spacing": "trailing"})
_LCM = ("LCMScheduler", {**_BETAS, "original_inference_steps": 50})
_DC_BLOCKS = ("ResBlock",) * 3 + ("EfficientViTBlock",) * 3
_DC_SCALES = ((), (), (), (5,), (5,), (5,))


@dataclass(frozen=True, slots=True)
class Architecture:
    """What a checkpoint's configuration files say.

    Args:
        family: ``sd``, ``sdxl`` or ``sana-sprint``.
        network: arguments of the UNet or transformer.
        parameters: how many it has, which is checked; 0 for any number.
        text: shape of each conditioning tensor that a prompt gives, without the batch.
        scheduler: class name in diffusers and its arguments.
        vae: arguments of the autoencoder.
    """

    family: str
    network: Mapping[str, Any]
    parameters: int
    text: Mapping[str, tuple[int, ...]]
    scheduler: tuple[str, Mapping[str, Any]] = ("SCMScheduler", {})
    vae: Mapping[str, Any] = field(default_factory=dict)


_SDXL_UNET = {
    "sample_size": 64,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "block_out_channels": (320, 640, 1280),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
_SANA = {
    "in_channels": 32,
    "out_channels": 32,
    "num_attention_heads": 70,
    "attention_head_dim": 32,
    "num_layers": 20,
    "num_cross_attention_heads": 20,
    "cross_attention_head_dim": 112,
    "cross_attention_dim": 2240,
    "caption_channels": 2304,
    "mlp_ratio": 2.5,
    "sample_size": 32,
    "guidance_embeds": True,
    "guidance_embeds_scale": 0.1,
    "qk_norm": "rms_norm_across_heads",
    "timestep_scale": 1000.0,
}
_DC = {
    "encoder_block_types": _DC_BLOCKS,
    "decoder_block_types": _DC_BLOCKS,
    "encoder_qkv_multiscales": _DC_SCALES,
    "decoder_qkv_multiscales": _DC_SCALES,
    "upsample_block_type": "interpolate",
    "downsample_block_type": "conv",
    "scaling_factor": 0.41407,
}

ARCHITECTURES: dict[str, Architecture] = {
    "sd-turbo": Architecture(
        "sd",
        {
            "sample_size": 64,
            "block_out_channels": (320, 640, 1280, 1280),
            "cross_attention_dim": 1024,
            "attention_head_dim": (5, 10, 20, 20),
            "use_linear_projection": True,
        },
        865_910_724,
        {"text": (77, 1024)},
        _EULER,
    ),
    "lcm": Architecture(
        "sd",
        {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8, "time_cond_proj_dim": 256},
        859_602_884,
        {"text": (77, 768)},
        _LCM,
    ),
    "sdxl-turbo": Architecture("sdxl", _SDXL_UNET, 2_567_463_684, {"text": (77, 2048), "pooled": (1280,)}, _EULER),
    "sana-sprint": Architecture("sana-sprint", _SANA, 1_610_237_472, {"text": (300, 2304), "mask": (300,)}, vae=_DC),
}
"""As stabilityai/sd-turbo, SimianLuo/LCM_Dreamshaper_v7, stabilityai/sdxl-turbo and Sana_Sprint_1.6B, with the default
TAESD for all but the last."""

_TINY_UNET = {
    "sample_size": 8,
    "block_out_channels": (32, 64),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "cross_attention_dim": 32,
    "attention_head_dim": (2, 4),
    "use_linear_projection": True,
    "norm_num_groups": 8,
}
_TINY_SDXL = {
    **_TINY_UNET,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 64,
    "transformer_layers_per_block": (1, 2),
}
_TINY_VAE = {
    "encoder_block_out_channels": (16,) * 4,
    "decoder_block_out_channels": (16,) * 4,
    "num_encoder_blocks": (1,) * 4,
    "num_decoder_blocks": (1,) * 4,
}
_TINY_DC = {
    "latent_channels": 8,
    "attention_head_dim": 16,
    "encoder_block_types": ("ResBlock",) * 5 + ("EfficientViTBlock",),
    "decoder_block_types": ("ResBlock",) * 5 + ("EfficientViTBlock",),
    "encoder_block_out_channels": (8, 8, 16, 16, 32, 32),
    "decoder_block_out_channels": (8, 8, 16, 16, 32, 32),
    "encoder_layers_per_block": (1,) * 6,
    "decoder_layers_per_block": (1,) * 6,
    "encoder_qkv_multiscales": ((),) * 5 + ((5,),),
    "decoder_qkv_multiscales": ((),) * 5 + ((5,),),
    "upsample_block_type": "interpolate",
    "downsample_block_type": "conv",
    "scaling_factor": 0.41407,
}
_TINY_SANA = {
    **_SANA,
    "in_channels": 8,
    "out_channels": 8,
    "num_attention_heads": 4,
    "attention_head_dim": 8,
    "num_layers": 2,
    "num_cross_attention_heads": 2,
    "cross_attention_head_dim": 16,
    "cross_attention_dim": 32,
    "caption_channels": 32,
    "sample_size": 4,
}

TINY: dict[str, Architecture] = {
    "sd-turbo": Architecture("sd", _TINY_UNET, 0, {"text": (77, 32)}, _EULER, _TINY_VAE),
    "lcm": Architecture("sd", {**_TINY_UNET, "time_cond_proj_dim": 256}, 0, {"text": (77, 32)}, _LCM, _TINY_VAE),
    "sdxl-turbo": Architecture("sdxl", _TINY_SDXL, 0, {"text": (77, 32), "pooled": (16,)}, _EULER, _TINY_VAE),
    "sana-sprint": Architecture("sana-sprint", _TINY_SANA, 0, {"text": (20, 32), "mask": (20,)}, vae=_TINY_DC),
}
"""The same with next to no weights, to see on any machine that the measurements run."""


def build_model(architecture: Architecture, spec: ModelSpec) -> DiffusionModel:
    """The model, as it would be loaded from a checkpoint, with random weights made on the device itself.

    Args:
        architecture: of its parts.
        spec: device, dtype and limits; the rest is not looked at.
    """
    pipe = build_pipeline(architecture, spec.device, getattr(torch, spec.dtype))
    model: DiffusionModel = _FAMILIES[architecture.family](spec, pipe)
    model.texts = architecture.text  # type: ignore[attr-defined]
    _spread(model, pipe)
    return model


def build_pipeline(architecture: Architecture, device: str, dtype: torch.dtype) -> Any:
    """diffusers' own pipeline of these parts, without text encoders, for both sides of a comparison."""
    diffusers: Any = import_module("diffusers")
    torch.manual_seed(0)
    name, arguments = architecture.scheduler
    parts: dict[str, Any] = {"scheduler": getattr(diffusers, name)(**arguments)}
    with warnings.catch_warnings(), torch.device(device), _default_dtype(dtype):
        warnings.simplefilter("ignore")
        if architecture.family == "sana-sprint":
            network = parts["transformer"] = diffusers.SanaTransformer2DModel(**architecture.network)
            parts["vae"] = diffusers.AutoencoderDC(**architecture.vae)
        else:
            network = parts["unet"] = diffusers.UNet2DConditionModel(**architecture.network)
            parts["vae"] = diffusers.AutoencoderTiny(**architecture.vae)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for part in (network, parts["vae"]):
            part.eval().requires_grad_(False)
        pipe = _PIPELINES[architecture.family](diffusers, parts)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert architecture.parameters in (0, count), f"{count} parameters, not {architecture.parameters}"
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _sd(diffusers: Any, parts: dict[str, Any]) -> Any:
    nothing = dict.fromkeys(("text_encoder", "tokenizer", "safety_checker", "feature_extractor"))
    return diffusers.StableDiffusionPipeline(**parts, **nothing, requires_safety_checker=False)


def _sdxl(diffusers: Any, parts: dict[str, Any]) -> Any:
    nothing = dict.fromkeys(("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"))
    return diffusers.StableDiffusionXLPipeline(**parts, **nothing, add_watermarker=False)


def _sana(diffusers: Any, parts: dict[str, Any]) -> Any:
    return diffusers.SanaSprintPipeline(**parts, text_encoder=None, tokenizer=None)


_PIPELINES = {"sd": _sd, "sdxl": _sdxl, "sana-sprint": _sana}


class _RandomText:
    """Prompts as random embeddings, the same for the same text."""

    spec: ModelSpec
    texts: Mapping[str, tuple[int, ...]]

    def embeddings(self, text: str) -> Conditioning:
        """What the text encoders would give, batched by one."""
        generator = torch.Generator().manual_seed(zlib.crc32(text.encode()))
        made = {name: torch.randn(1, *shape, generator=generator) for name, shape in self.texts.items()}
        return {name: tensor.to(self.spec.device) for name, tensor in made.items()}


class _StableDiffusion(_RandomText, StableDiffusion):
    def encode_text(self, text: str) -> Conditioning:
        return self.with_keys_values(self.embeddings(text)["text"])


class _StableDiffusionXL(_RandomText, StableDiffusionXL):
    def encode_text(self, text: str) -> Conditioning:
        made = self.embeddings(text)
        return self.with_keys_values(made["text"]) | {"pooled": made["pooled"]}


class _SanaSprint(_RandomText, SanaSprint):
    def encode_text(self, text: str) -> Conditioning:
        made = self.embeddings(text)
        return made | {"mask": torch.ones_like(made["mask"])}


_FAMILIES: dict[str, Any] = {"sd": _StableDiffusion, "sdxl": _StableDiffusionXL, "sana-sprint": _SanaSprint}


@torch.inference_mode()
def _spread(model: DiffusionModel, pipe: Any) -> None:
    """Scale the last layers so that what is predicted has unit variance and pictures use their whole range.

    With torch's own initialisation both are all but constant, and a comparison of two pictures would always agree.
    """
    from streamgen.engine.executables import example_inputs

    side = 128
    x_t, *rest = example_inputs(model, 1, side, side)
    noise = torch.randn(x_t.shape, generator=torch.Generator().manual_seed(1)).to(x_t)
    network = model.network
    predicted: list[Tensor] = []
    body = pipe.transformer if hasattr(pipe, "transformer") else pipe.unet
    hook = body.register_forward_hook(lambda module, given, made: predicted.append(made[0]))
    network(noise, *rest)
    hook.remove()
    _rescale(body.proj_out if hasattr(body, "proj_out") else body.conv_out, predicted[0], 0.0, 1.0)
    decoder = pipe.vae.decoder
    kind = next(decoder.parameters()).dtype
    assert model.decoder is not None
    drawn = model.decoder(noise.to(kind))
    if hasattr(decoder, "conv_out"):
        _rescale(decoder.conv_out, drawn, 0.0, 0.5)
    else:
        _rescale(decoder.layers[-1], (drawn + 1) / 2, 0.5, 0.25)


def _rescale(layer: Any, made: Tensor, mean: float, deviation: float) -> None:
    """Make ``layer``, whose output ``made`` was, give outputs of this mean and deviation."""
    factor = deviation / float(made.float().std().clamp_min(1e-6))
    convolution = getattr(layer, "conv", layer)
    convolution.weight.mul_(factor)
    if convolution.bias is not None:
        convolution.bias.sub_(float(made.float().mean())).mul_(factor).add_(mean)


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
