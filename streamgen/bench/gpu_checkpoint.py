"""A whole checkpoint on disk, random but of the true size: what a start has to read."""

from __future__ import annotations

import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from streamgen.bench.gpu_models import Architecture, build_pipeline

__all__ = ["save_checkpoint"]

_SD2_TEXT = {
    "vocab_size": 49408,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 23,
    "num_attention_heads": 16,
    "hidden_act": "gelu",
    "projection_dim": 512,
}


def save_checkpoint(architecture: Architecture, folder: Path, device: str, dtype: torch.dtype) -> float:
    """Write a Stable Diffusion checkpoint as an ordinary diffusers folder of safetensors; returns its gigabytes.

    Args:
        architecture: of the family ``sd``; its text encoder is Stable Diffusion 2's, or one as narrow as it asks for.
        folder: an empty one.
        device: where the weights are made.
        dtype: of the files.
    """
    pipe = build_pipeline(architecture, device, dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe.register_modules(
            tokenizer=_tokenizer(), text_encoder=_text_encoder(architecture.text["text"][1], device, dtype)
        )
        pipe.save_pretrained(folder)
    return round(sum(file.stat().st_size for file in folder.rglob("*.safetensors")) / 1e9, 2)


def _text_encoder(width: int, device: str, dtype: torch.dtype) -> Any:
    transformers: Any = import_module("transformers")
    small = {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": 2, "num_attention_heads": 4}
    size = _SD2_TEXT if width == _SD2_TEXT["hidden_size"] else {**_SD2_TEXT, **small}
    ids = _vocabulary()
    config = transformers.CLIPTextConfig(
        **size, bos_token_id=ids["<|startoftext|>"], eos_token_id=ids["<|endoftext|>"], pad_token_id=ids["!"]
    )
    with torch.device(device):
        return transformers.CLIPTextModel(config).to(dtype)


def _tokenizer() -> Any:
    """CLIP's, without merges: it spells every word out, which costs nothing here."""
    transformers: Any = import_module("transformers")
    return transformers.CLIPTokenizer(vocab=_vocabulary(), merges=[], pad_token="!", model_max_length=77)


def _vocabulary() -> dict[str, int]:
    from tokenizers.pre_tokenizers import ByteLevel

    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return {token: index for index, token in enumerate(tokens)}
