"""Tiny diffusion pipelines with random weights, saved as ordinary diffusers folders: what real checkpoints are made of,
in a few hundred kilobytes. Configured as their models on the hub are wherever the configuration changes behaviour.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import torch

__all__ = ["sana_sprint", "sd_lcm", "sd_turbo", "sd_v_prediction", "sdxl_turbo", "single_file", "taesd"]

WORDS = (
    *("a", "an", "and", "at", "by", "cat", "city", "dog", "drawing", "face", "in", "ink", "night", "of", "oil"),
    *("on", "painting", "portrait", "red", "style", "the", "with"),
)
"""What the tokenizers have merges for; everything else is spelled out."""

_LINEAR_BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
_TEXT_WIDTH = 32


def _seeded(build: Callable[[Path], Any]) -> Callable[[Path], Path]:
    """Make a builder of a pipeline or model into one that saves it, the same weights every time."""

    @wraps(build)
    def saved(folder: Path) -> Path:
        # diffusers' schedulers call numpy in a way that numpy 2 deprecates.
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings(action="ignore"):
            torch.manual_seed(20260)
            build(folder).save_pretrained(folder)
        return folder

    return saved


@_seeded
def sd_turbo(folder: Path) -> Any:
    """Like stabilityai/sd-turbo: noise is predicted, one to four Euler steps from the noisiest level down."""
    from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline

    scheduler = EulerDiscreteScheduler(timestep_spacing="trailing", **_LINEAR_BETAS)
    return StableDiffusionPipeline(unet=_unet(), scheduler=scheduler, **_sd_parts(), **_NO_FILTER)


@_seeded
def sd_lcm(folder: Path) -> Any:
    """Like SimianLuo/LCM_Dreamshaper_v7: distilled with its guidance scale as an input of the network."""
    from diffusers import LatentConsistencyModelPipeline, LCMScheduler

    unet = _unet(time_cond_proj_dim=256)
    scheduler = LCMScheduler(original_inference_steps=50, **_LINEAR_BETAS)
    return LatentConsistencyModelPipeline(unet=unet, scheduler=scheduler, **_sd_parts(), **_NO_FILTER)


@_seeded
def sd_v_prediction(folder: Path) -> Any:
    """Like stabilityai/stable-diffusion-2-1, which predicts v; not distilled."""
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    scheduler = DDIMScheduler(
        prediction_type="v_prediction", clip_sample=False, set_alpha_to_one=False, **_LINEAR_BETAS
    )
    return StableDiffusionPipeline(unet=_unet(), scheduler=scheduler, **_sd_parts(), **_NO_FILTER)


@_seeded
def sdxl_turbo(folder: Path) -> Any:
    """Like stabilityai/sdxl-turbo: two text encoders, a pooled embedding and the picture's size."""
    from diffusers import EulerAncestralDiscreteScheduler, StableDiffusionXLPipeline

    pooled_width, size_width = 16, 8
    unet = _unet(
        cross_attention_dim=2 * _TEXT_WIDTH,
        addition_embed_type="text_time",
        addition_time_embed_dim=size_width,
        projection_class_embeddings_input_dim=pooled_width + 6 * size_width,
        transformer_layers_per_block=(1, 2),
    )
    return StableDiffusionXLPipeline(
        unet=unet,
        vae=_autoencoder(0.13025),
        scheduler=EulerAncestralDiscreteScheduler(timestep_spacing="trailing", **_LINEAR_BETAS),
        text_encoder=_clip_text(),
        tokenizer=_clip_tokenizer("<|endoftext|>"),
        text_encoder_2=_clip_text(hidden_act="gelu", projection_dim=pooled_width),
        tokenizer_2=_clip_tokenizer("!"),
        add_watermarker=False,
    )


@_seeded
def sana_sprint(folder: Path) -> Any:
    """Like Efficient-Large-Model/Sana_Sprint_1.6B_1024px_diffusers: a transformer over latents 32 times smaller."""
    from diffusers import SanaSprintPipeline, SCMScheduler

    return SanaSprintPipeline(
        transformer=_sana_transformer(),
        vae=_deep_compression_autoencoder(),
        scheduler=SCMScheduler(),
        text_encoder=_gemma_text(),
        tokenizer=_gemma_tokenizer(),
    )


@_seeded
def taesd(folder: Path) -> Any:
    """Like madebyollin/taesd: the small autoencoder that stands in for Stable Diffusion's own."""
    from diffusers import AutoencoderTiny

    widths = (16, 16, 16, 16)
    return AutoencoderTiny(
        encoder_block_out_channels=widths,
        decoder_block_out_channels=widths,
        num_encoder_blocks=(1, 1, 1, 1),
        num_decoder_blocks=(1, 1, 1, 1),
    )


def single_file(folder: Path, file: Path) -> Path:
    """Save the networks of ``sd_turbo`` as one file, by the names that the first Stable Diffusion gave its tensors."""
    from safetensors.torch import load_file, save_file

    tensors: dict[str, torch.Tensor] = {}
    for part, prefix, names in (
        ("unet", "model.diffusion_model.", _UNET_NAMES),
        ("vae", "first_stage_model.", _VAE_NAMES),
        ("text_encoder", "cond_stage_model.transformer.", ((r"^(?!text_model)", "text_model."),)),
    ):
        for name, tensor in load_file(next((folder / part).glob("*.safetensors"))).items():
            for pattern, replacement in names:
                name = re.sub(pattern, replacement, name)
            tensors[prefix + name] = tensor
    save_file(tensors, file)
    return file


_UNET_NAMES = (
    (r"^conv_in", "input_blocks.0.0"),
    (r"^down_blocks\.0\.resnets\.0", "input_blocks.1.0"),
    (r"^down_blocks\.0\.downsamplers\.0\.conv", "input_blocks.2.0.op"),
    (r"^down_blocks\.1\.resnets\.0", "input_blocks.3.0"),
    (r"^down_blocks\.1\.attentions\.0", "input_blocks.3.1"),
    (r"^mid_block\.resnets\.0", "middle_block.0"),
    (r"^mid_block\.attentions\.0", "middle_block.1"),
    (r"^mid_block\.resnets\.1", "middle_block.2"),
    (r"^up_blocks\.0\.resnets", "output_blocks"),
    (r"^up_blocks\.0\.attentions\.(\d)", r"output_blocks.\1.1"),
    (r"^up_blocks\.0\.upsamplers\.0", "output_blocks.1.2"),
    (r"^up_blocks\.1\.resnets\.0", "output_blocks.2"),
    (r"^up_blocks\.1\.resnets\.1", "output_blocks.3"),
    (r"^(output_blocks\.\d)\.(?=norm|conv|time)", r"\1.0."),
    (r"^time_embedding\.linear_1", "time_embed.0"),
    (r"^time_embedding\.linear_2", "time_embed.2"),
    (r"^conv_norm_out", "out.0"),
    (r"^conv_out", "out.2"),
    (r"(?<=\d\.)norm1(?=\.\w+$)(?<!blocks\.0\.norm1)", "in_layers.0"),
    (r"\bconv1\b", "in_layers.2"),
    (r"\btime_emb_proj\b", "emb_layers.1"),
    (r"(?<=\d\.)norm2(?=\.\w+$)(?<!blocks\.0\.norm2)", "out_layers.0"),
    (r"\bconv2\b", "out_layers.3"),
    (r"\bconv_shortcut\b", "skip_connection"),
)
_VAE_NAMES = (
    (r"\bdown_blocks\.(\d)\.resnets\.(\d)", r"down.\1.block.\2"),
    (r"\bdown_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample"),
    *((rf"\bup_blocks\.{block}\.resnets\.(\d)", rf"up.{3 - block}.block.\1") for block in range(4)),
    *((rf"\bup_blocks\.{block}\.upsamplers\.0", f"up.{3 - block}.upsample") for block in range(4)),
    (r"\bmid_block\.resnets\.0", "mid.block_1"),
    (r"\bmid_block\.attentions\.0", "mid.attn_1"),
    (r"\bmid_block\.resnets\.1", "mid.block_2"),
    (r"\bgroup_norm\b", "norm"),
    (r"\bto_([qkv])\b", r"\1"),
    (r"\bto_out\.0\b", "proj_out"),
    (r"\bconv_norm_out\b", "norm_out"),
    (r"\bconv_shortcut\b", "nin_shortcut"),
)

_NO_FILTER = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}


def _sd_parts() -> dict[str, Any]:
    return {"vae": _autoencoder(0.18215), "text_encoder": _clip_text(), "tokenizer": _clip_tokenizer("!")}


def _unet(**changes: Any) -> Any:
    from diffusers import UNet2DConditionModel

    base = {
        "sample_size": 8,
        "block_out_channels": (32, 64),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": _TEXT_WIDTH,
        "attention_head_dim": (2, 4),
        "use_linear_projection": True,
        "norm_num_groups": 8,
    }
    return UNet2DConditionModel(**base | changes)


def _autoencoder(scaling_factor: float) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        sample_size=64,
        block_out_channels=(16, 16, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        scaling_factor=scaling_factor,
    )


def _clip_text(hidden_act: str = "quick_gelu", projection_dim: int | None = None) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    vocabulary, _ = _clip_vocabulary()
    config = CLIPTextConfig(
        vocab_size=len(vocabulary),
        hidden_size=_TEXT_WIDTH,
        intermediate_size=2 * _TEXT_WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=77,
        hidden_act=hidden_act,
        projection_dim=projection_dim or _TEXT_WIDTH,
        bos_token_id=vocabulary["<|startoftext|>"],
        eos_token_id=vocabulary["<|endoftext|>"],
        pad_token_id=vocabulary["!"],
    )
    return (CLIPTextModelWithProjection if projection_dim else CLIPTextModel)(config).eval()


def _clip_tokenizer(pad_token: str) -> Any:
    from transformers import CLIPTokenizer

    vocabulary, merges = _clip_vocabulary()
    return CLIPTokenizer(vocab=vocabulary, merges=merges, pad_token=pad_token, model_max_length=77)


def _clip_vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """CLIP's layout in small: the byte alphabet, the same at a word's end, what merges, the two marks."""
    from tokenizers.pre_tokenizers import ByteLevel

    alphabet = sorted(ByteLevel.alphabet())
    merges = _merges([(*word[:-1], f"{word[-1]}</w>") for word in WORDS])
    tokens = [*alphabet, *(f"{letter}</w>" for letter in alphabet), *("".join(pair) for pair in merges)]
    return {token: index for index, token in enumerate([*tokens, "<|startoftext|>", "<|endoftext|>"])}, merges


def _merges(words: list[tuple[str, ...]]) -> list[tuple[str, str]]:
    """Pairs that put each word together from its left, none twice and no result twice."""
    by_result: dict[str, tuple[str, str]] = {}
    for letters in words:
        for end in range(1, len(letters)):
            pair = ("".join(letters[:end]), letters[end])
            by_result.setdefault("".join(pair), pair)
    return list(by_result.values())


def _sana_transformer() -> Any:
    from diffusers import SanaTransformer2DModel

    return SanaTransformer2DModel(
        in_channels=8,
        out_channels=8,
        num_attention_heads=4,
        attention_head_dim=8,
        num_layers=2,
        num_cross_attention_heads=2,
        cross_attention_head_dim=16,
        cross_attention_dim=32,
        caption_channels=_TEXT_WIDTH,
        sample_size=2,
        guidance_embeds=True,
        guidance_embeds_scale=0.1,
        qk_norm="rms_norm_across_heads",
    )


def _deep_compression_autoencoder() -> Any:
    from diffusers import AutoencoderDC

    blocks = ("ResBlock",) * 5 + ("EfficientViTBlock",)
    multiscales = ((),) * 5 + ((5,),)
    widths = (8, 8, 16, 16, 32, 32)
    return AutoencoderDC(
        latent_channels=8,
        attention_head_dim=16,
        encoder_block_types=blocks,
        decoder_block_types=blocks,
        encoder_block_out_channels=widths,
        decoder_block_out_channels=widths,
        encoder_layers_per_block=(1,) * 6,
        decoder_layers_per_block=(1,) * 6,
        encoder_qkv_multiscales=multiscales,
        decoder_qkv_multiscales=multiscales,
        upsample_block_type="interpolate",
        downsample_block_type="conv",
        scaling_factor=0.41407,
    )


def _gemma_text() -> Any:
    from transformers import Gemma2Config, Gemma2Model

    vocabulary, _ = _gemma_vocabulary()
    config = Gemma2Config(
        vocab_size=len(vocabulary),
        hidden_size=_TEXT_WIDTH,
        intermediate_size=2 * _TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        pad_token_id=vocabulary["<pad>"],
        eos_token_id=vocabulary["<eos>"],
        bos_token_id=vocabulary["<bos>"],
    )
    return Gemma2Model(config).eval()


def _gemma_tokenizer() -> Any:
    from transformers import GemmaTokenizer

    vocabulary, merges = _gemma_vocabulary()
    return GemmaTokenizer(vocab=vocabulary, merges=merges, padding_side="right", add_bos_token=True)


def _gemma_vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Gemma's layout in small: marks, raw bytes, printable characters with its sign for a space, what merges."""
    marks = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    characters = [chr(code) for code in range(33, 127)] + ["▁"]
    merges = _merges([tuple(f"{word}▁") for word in WORDS])
    tokens = [*marks, *(f"<0x{byte:02X}>" for byte in range(256)), *characters, *("".join(pair) for pair in merges)]
    return {token: index for index, token in enumerate(tokens)}, merges
