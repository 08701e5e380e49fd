"""Figures on pictures that training never saw, against bicubic interpolation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from streamgen.models.upscaler import DEFAULT_WEIGHTS, Upscaler, load_upscaler
from streamgen.training.core.teachers import CLASSICAL
from streamgen.training.data import Photos, Pixels, centre_crop, read_picture, to_tensor
from streamgen.training.upscaler.pictures import Painter, drawn, halve

__all__ = ["figures", "gain_db", "held_out"]

_PAINTED_SIDE = 512


def figures(data: Path, weights: Path = DEFAULT_WEIGHTS, photos: int | None = None) -> dict[str, float]:
    """Score a weights file on photos of split val and on what the teachers and the core make of them.

    The small pictures are made by antialiased bicubic scaling (for x4 twice), rounded to 8 bits. PSNR is over all RGB
    values of a picture, and every figure is the mean over pictures.

    Args:
        data: folder with photos.csv and photos/.
        weights: the upscaler's.
        photos: how many to use, evenly from the list; None for all.

    Returns:
        For each kind of picture `photos`, `drawn` (by the classical teachers, at full size) and `painted` (by the core,
        at 512x512): `KIND_psnr_db`, `KIND_bicubic_psnr_db` and `KIND_gain_db`; and `photos_x4_gain_db`.

    Raises:
        ConfigError: when there are no such photos.
        WeightsError: when the weights cannot be read.
    """
    network = load_upscaler(weights)
    found: dict[str, float] = {}
    for kind, pictures in held_out(data, photos).items():
        scores = [gain_db(network, picture) for picture in pictures]
        made, bicubic = (float(np.mean(column)) for column in zip(*scores, strict=True))
        found |= {f"{kind}_psnr_db": made, f"{kind}_bicubic_psnr_db": bicubic, f"{kind}_gain_db": made - bicubic}
        if kind == "photos":
            twice = [gain_db(network, picture, times=2) for picture in pictures]
            found["photos_x4_gain_db"] = float(np.mean([made - bicubic for made, bicubic in twice]))
    return found


def held_out(data: Path, photos: int | None = None) -> dict[str, list[Pixels]]:
    """Pictures uint8 [H, W, 3] by kind, as `figures` uses them. Each photo is drawn and painted in one style."""
    files = Photos(data, "val").files
    files = files[:: max(1, len(files) // photos)][:photos] if photos else files
    plain = [read_picture(file) for file in files]
    painter, teachers = Painter.embedded(), list(CLASSICAL)
    styles = painter.styles
    return {
        "photos": plain,
        "drawn": [drawn(photo, teachers[i % len(teachers)]) for i, photo in enumerate(plain)],
        "painted": [
            painter.paint(centre_crop(photo, _PAINTED_SIDE), styles[i % len(styles)], seed=i)
            for i, photo in enumerate(plain)
        ],
    }


@torch.inference_mode()
def gain_db(network: Upscaler, picture: Pixels, times: int = 1) -> tuple[float, float]:
    """PSNR of a picture uint8 [H, W, 3] made small and enlarged again, by the network and by bicubic interpolation, dB.

    `times`: how often it is halved, and doubled again.
    """
    whole = to_tensor([picture]).add(1).div(2)
    height, width = (length - length % 2 ** (times + 1) for length in picture.shape[:2])
    whole = whole[..., :height, :width]
    small = whole
    for _ in range(times):
        small = halve(small)
    made = small.mul(255).round().to(torch.uint8).permute(0, 2, 3, 1)
    for _ in range(times):
        made = network(made)
    bicubic = F.interpolate(small, scale_factor=2**times, mode="bicubic")
    levels = bicubic.mul(255).round().clamp(0, 255)
    wanted = whole.mul(255).round()
    return _psnr_db(made.permute(0, 3, 1, 2).float(), wanted), _psnr_db(levels, wanted)


def _psnr_db(made: Tensor, wanted: Tensor) -> float:
    # A picture that comes out to the bit would count as infinite and hide all others.
    return float(10 * torch.log10(255**2 / (made - wanted).square().mean().clamp_min(0.01)))
