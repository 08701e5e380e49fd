"""Style from a painting alone: what a picture must have of the painting, and keep of its source.

Gatys et al. 2016 ("Image style transfer using convolutional neural networks") as a training loss of a feed-forward
network (Johnson et al. 2016), on SqueezeNet's features.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from streamgen.training.data import Pixels, to_tensor
from streamgen.training.features import Features
from streamgen.training.losses import Taps, grams, texture_distance

__all__ = ["PAINTING_HEIGHT", "looked_at", "painting_grams", "painting_loss"]

PAINTING_HEIGHT = 320
"""Paintings are looked at this high, in pixels, whatever their scan has: it sets how broad the strokes become."""

_CONTENT_TAP = "fire6"
_STYLE, _CONTENT, _LIGHT, _SMOOTH, _RANGE = 5.0, 0.7, 0.3, 0.15, 10.0


@torch.no_grad()
def painting_grams(features: Features, painting: Pixels, height: int = PAINTING_HEIGHT) -> Taps:
    """Gram matrices [1, C, C] by tap of a painting uint8 [H, W, 3]."""
    return grams(features(looked_at(painting, height)))


def looked_at(painting: Pixels, height: int = PAINTING_HEIGHT) -> Tensor:
    """A painting uint8 [H, W, 3] as [1, 3, height, W] in [-1, 1], its proportions kept."""
    scale = height / painting.shape[0]
    size = (max(32, round(painting.shape[1] * scale)), height)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return to_tensor([np.asarray(cv2.resize(painting, size, interpolation=method), np.uint8)])


def painting_loss(features: Features, picture: Tensor, source: Tensor, wanted: Taps, style: float = 1.0) -> Tensor:
    """How far pictures [B, 3, H, W] are from paintings of their sources: [B].

    Args:
        features: they are looked at with.
        picture: in about [-1, 1].
        source: [B, 3, H, W] in [-1, 1].
        wanted: each row's painting, [B, C, C] by tap, from ``painting_grams``.
        style: how much the painting counts beside the source.
    """
    taps = features(picture)
    with torch.no_grad():
        source_taps = features(source)
    content = F.instance_norm(taps[_CONTENT_TAP]) - F.instance_norm(source_taps[_CONTENT_TAP])
    # Without this a dark, even region becomes whatever texture is cheapest.
    light = F.avg_pool2d(_normal_light(picture), 16) - F.avg_pool2d(_normal_light(source), 16)
    rough = sum(picture.diff(dim=axis).abs().flatten(1).mean(1) for axis in (2, 3))
    outside = (picture.abs() - 1).clamp_min(0).square()
    return (
        style * _STYLE * texture_distance(grams(taps), wanted)
        + _CONTENT * _mean(content.square())
        + _LIGHT * _mean(light.square())
        + _SMOOTH * rough
        + _RANGE * _mean(outside)
    )


def _normal_light(images: Tensor) -> Tensor:
    """Luminance [B, 1, H, W] without the picture's own mean and contrast, which are the painting's to choose."""
    light = images.mean(1, keepdim=True)
    return (light - light.mean((2, 3), keepdim=True)) / (light.std((2, 3), keepdim=True) + 0.1)


def _mean(x: Tensor) -> Tensor:
    return x.flatten(1).mean(1)
