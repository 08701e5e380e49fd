"""What the network makes of photos it does not learn on."""

from __future__ import annotations

from pathlib import Path

import torch

from streamgen.models.tiny_unet import TinyUNet
from streamgen.training.core.examples import T_MAX
from streamgen.training.core.recipe import STYLES
from streamgen.training.data import Photos, centre_crop, read_picture, to_pixels, to_tensor
from streamgen.training.sheet import save_sheet

__all__ = ["preview"]

_PHOTOS = 4


@torch.no_grad()
def preview(network: TinyUNet, data: Path, path: Path) -> None:
    """Write a sheet of four held-out photos in every style, one step from pure noise."""
    files = Photos(data, "val").files
    rows = []
    for file in files[:: max(1, len(files) // _PHOTOS)][-_PHOTOS:]:
        photo = centre_crop(read_picture(file))
        source = to_tensor([photo])
        noise = torch.randn(source.shape, generator=torch.Generator().manual_seed(0))
        t = torch.full((1,), T_MAX)
        pictures = [network(noise, t, torch.ones(1, 1), network.styles[i : i + 1], source) for i in range(len(STYLES))]
        rows.append([photo, *to_pixels(torch.cat(pictures))])
    save_sheet(path, rows, ["source", *(style.name for style in STYLES)])
