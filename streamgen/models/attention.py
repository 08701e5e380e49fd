"""Attention of a UNet, arranged for frames that share a prompt.

Keys and values of the cross-attention depend on the prompt alone, so they are computed when it changes and not in every
frame: in SDXL that is 140 matrix products a call. They are linear in the text embedding, so what holds for embeddings
holds for them: blends and transitions are weighted sums. Query, key and value of the self-attention are one product.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["KeysValues", "arrange_attention"]


class KeysValues(nn.Module):
    """A text embedding [B, N, D] to the keys and values of every cross-attention side by side, [B, N, sum of 2 C]."""

    def __init__(self, attentions: list[Any]) -> None:
        super().__init__()
        # They stay the attentions' own layers; a module list would register them once more.
        self._projections = [(attention.to_k, attention.to_v) for attention in attentions]

    def forward(self, text: Tensor) -> Tensor:
        return torch.cat([layer(text) for pair in self._projections for layer in pair], dim=-1)


def arrange_attention(unet: Any, *, fuse: bool, image_tokens: int = 0) -> KeysValues:
    """Make ``unet`` take keys and values in the place of its text embedding, and return what makes them.

    Args:
        unet: diffusers' UNet2DConditionModel; changed.
        fuse: put query, key and value of each self-attention into one layer. Not where LoRAs sit on them.
        image_tokens: how many of the tokens, at the end, are a picture's, and attended to apart from the text's.
    """
    blocks = [block for block in unet.modules() if type(block).__name__ == "BasicTransformerBlock"]
    crossing = []
    offset = 0
    for block in blocks:
        if fuse:
            block.attn1.fuse_projections()
            del block.attn1.to_q, block.attn1.to_k, block.attn1.to_v  # or they would be in memory twice
            block.attn1.set_processor(_FusedSelfAttention())
        width: int = block.attn2.inner_dim
        block.attn2.set_processor(_CachedCrossAttention(offset, width, image_tokens))
        offset += 2 * width
        crossing.append(block.attn2)
    return KeysValues(crossing)


class _FusedSelfAttention:
    """An attention processor, as diffusers calls it."""

    def __call__(self, attn: Any, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        query, key, value = attn.to_qkv(hidden_states).chunk(3, dim=-1)
        return _attend(attn, query, key, value)


class _CachedCrossAttention:
    """Likewise; ``encoder_hidden_states`` are the packed keys and values, of which its own start at ``offset``."""

    def __init__(self, offset: int, width: int, image_tokens: int) -> None:
        self._image_tokens = image_tokens
        self._keys = slice(offset, offset + width)
        self._values = slice(offset + width, offset + 2 * width)

    def __call__(self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        key, value = encoder_hidden_states[..., self._keys], encoder_hidden_states[..., self._values]
        query = attn.to_q(hidden_states)
        if not self._image_tokens:
            return _attend(attn, query, key, value)
        text = key.shape[1] - self._image_tokens
        return _project(
            attn, _mix(attn, query, key[:, :text], value[:, :text]) + _mix(attn, query, key[:, text:], value[:, text:])
        )


def _attend(attn: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Scaled dot product attention by heads and the projection behind it: [B, N, C] to [B, N, C]."""
    return _project(attn, _mix(attn, query, key, value))


def _mix(attn: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    heads = attn.heads

    def by_head(tensor: Tensor) -> Tensor:
        return tensor.view(*tensor.shape[:-1], heads, -1).transpose(1, 2)  # [B, heads, N, C / heads]

    mixed = F.scaled_dot_product_attention(by_head(query), by_head(key), by_head(value))
    return mixed.transpose(1, 2).flatten(2)


def _project(attn: Any, mixed: Tensor) -> Tensor:
    projected: Tensor = attn.to_out[0](mixed)
    return projected
