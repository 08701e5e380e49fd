"""One step of the core with a style vector, as the training and its previews ask for it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from streamgen.models.tiny_unet import TinyUNet

__all__ = ["paint"]


def paint(network: TinyUNet, vector: Tensor, source: Tensor, noise: Tensor, strength: float = 1.0) -> Tensor:
    """Pictures [B, 3, H, W] in about [-1, 1] of sources [B, 3, H, W] in a style [STYLE_WIDTH], in one step."""
    t = strength * math.pi / 2
    source, noise = (images.contiguous(memory_format=torch.channels_last) for images in (source, noise))
    x_t = noise if strength >= 1 else math.cos(t) * source + math.sin(t) * noise
    levels = torch.full((len(source),), t, device=source.device)
    shares = torch.full((len(source), 1), strength, device=source.device)
    picture: Tensor = network(x_t, levels, shares, vector.expand(len(source), -1), source)
    return picture
