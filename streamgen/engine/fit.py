"""Frames of any size to tensors of one shape, and back. Runs on the compute device, once per frame each way."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from streamgen.frames import Pixels
from streamgen.settings import FrameFormat

__all__ = ["to_pixels", "to_tensor"]


def to_tensor(pixels: Pixels, format: FrameFormat, device: str) -> Tensor:
    """Upload uint8 [H, W, 3] and fit it to the format: float32 [3, height, width] in [-1, 1]."""
    picture = torch.from_numpy(pixels).to(device).permute(2, 0, 1)[None]  # [1, 3, H, W] uint8, channels_last
    if picture.shape[-2:] != (format.height, format.width):
        picture = _cover(picture, format) if format.fit == "cover" else _contain(picture, format)
    return picture[0].float().mul_(2 / 255).sub_(1)


def to_pixels(picture: Tensor) -> Pixels:
    """Download float32 [3, H, W], nominally in [-1, 1], as uint8 [H, W, 3]. Values outside are clipped."""
    scaled = picture.add(1).mul_(127.5).round_().clamp_(0, 255)
    pixels: Pixels = scaled.to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy()
    return pixels


def _cover(picture: Tensor, format: FrameFormat) -> Tensor:
    """Crop the middle to the format's aspect, then scale it to fill."""
    height, width = picture.shape[-2:]
    scale = max(format.width / width, format.height / height)
    crop_height = max(1, min(height, round(format.height / scale)))
    crop_width = max(1, min(width, round(format.width / scale)))
    top, left = (height - crop_height) // 2, (width - crop_width) // 2
    cropped = picture[..., top : top + crop_height, left : left + crop_width]
    return _resize(cropped, format.height, format.width)


def _contain(picture: Tensor, format: FrameFormat) -> Tensor:
    """Scale the whole picture to fit inside, black around it."""
    height, width = picture.shape[-2:]
    scale = min(format.width / width, format.height / height)
    inner_height = max(1, min(format.height, round(height * scale)))
    inner_width = max(1, min(format.width, round(width * scale)))
    top, left = (format.height - inner_height) // 2, (format.width - inner_width) // 2
    right, bottom = format.width - inner_width - left, format.height - inner_height - top
    return F.pad(_resize(picture, inner_height, inner_width), (left, right, top, bottom))


def _resize(picture: Tensor, height: int, width: int) -> Tensor:
    """Antialiased bilinear scaling of uint8 [1, 3, H, W]; stays uint8, which torch vectorises on the CPU."""
    if picture.device.type != "cpu":  # CUDA has no uint8 kernel for this
        scaled = F.interpolate(picture.float(), size=(height, width), mode="bilinear", antialias=True)
        return scaled.round_().clamp_(0, 255)
    return F.interpolate(picture, size=(height, width), mode="bilinear", antialias=True)
