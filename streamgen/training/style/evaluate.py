"""How near a style of a user's own comes to its painting, on photos and through features that it never trained with."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from streamgen.models.tiny_unet import TinyUNet
from streamgen.training.data import Photos, Pixels, centre_crop, read_picture, to_tensor
from streamgen.training.features import JudgeFeatures
from streamgen.training.losses import grams, texture_distance
from streamgen.training.painting import looked_at
from streamgen.training.style.painting_file import height_for
from streamgen.training.style.render import paint

__all__ = ["figures"]

_PHOTOS = 12
_FEW = 2


@torch.no_grad()
def figures(data: Path, network: TinyUNet, vector: Tensor, painting: Pixels, scale: float = 1.0) -> dict[str, float]:
    """Judge one style on held-out photos.

    Args:
        data: folder with `photos.csv`, `photos/` and `features/vgg16_hed_to_conv4_1_fp16.npz`.
        network: the core.
        vector: [STYLE_WIDTH], the style.
        painting: uint8 [H, W, 3].
        scale: as it was trained.

    Returns:
        ``style``: distance of the pictures' Gram matrices to the painting's, VGG16.
        ``style_of_photos``: that of the photos as they are.
        ``style_of_nearest``: that of the built-in style which comes nearest.
        ``structure``: distance of deep features to the photo's, relative to theirs.
        ``structure_of_nearest``: that of the same built-in style.
        ``halfway``: how far a picture at strength 0.5 lies on the way from the photo to the full style; 0.5 is asked.
    """
    features = JudgeFeatures(data / "features" / "vgg16_hed_to_conv4_1_fp16.npz")
    files = Photos(data, "val").files
    source = to_tensor([centre_crop(read_picture(file)) for file in files[:: max(1, len(files) // _PHOTOS)][:_PHOTOS]])
    noise = torch.randn(source.shape, generator=torch.Generator().manual_seed(0))
    wanted = grams(features(looked_at(painting, height_for(painting, scale))))
    of_source = features(source)

    def judge(style: Tensor, photos: int) -> tuple[float, float]:
        taps = features(paint(network, style, source[:photos], noise[:photos]))
        found, kept = taps[features.content_tap], of_source[features.content_tap][:photos]
        structure = (found - kept).square().mean() / kept.square().mean()
        return float(texture_distance(grams(taps), wanted).mean()), float(structure)

    style, structure = judge(vector, _PHOTOS)
    nearest = judge(min(network.styles, key=lambda row: judge(row, _FEW)), _PHOTOS)
    return {
        "style": style,
        "style_of_photos": float(texture_distance(grams(of_source), wanted).mean()),
        "style_of_nearest": nearest[0],
        "structure": structure,
        "structure_of_nearest": nearest[1],
        "halfway": _moved(network, vector, source, noise, 0.5) / _moved(network, vector, source, noise, 1.0),
    }


def _moved(network: TinyUNet, vector: Tensor, source: Tensor, noise: Tensor, strength: float) -> float:
    return float((paint(network, vector, source, noise, strength) - source).abs().mean())
