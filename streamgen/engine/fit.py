"""Frames of any size to tensors of one shape, and back. Runs on the compute device, once per frame each way."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from streamgen import devices
from streamgen.frames import Pixels
from streamgen.settings import FrameFormat

__all__ = ["download", "fit", "inner_box", "normalise", "quantise", "upload"]


def upload(frames: Sequence[Pixels], format: FrameFormat, device: str) -> Tensor:
    """Fit uint8 [H, W, 3] pictures of any size to the format: uint8 [B, height, width, 3].

    Pictures that fit already stay in the host's memory, for the caller to move in one piece.
    """
    shape = (format.height, format.width)
    if all(pixels.shape[:2] == shape for pixels in frames):
        return torch.from_numpy(frames[0])[None] if len(frames) == 1 else torch.stack([*map(torch.from_numpy, frames)])
    return torch.cat([fit(torch.from_numpy(pixels)[None].to(device), format) for pixels in frames])


def fit(pixels: Tensor, format: FrameFormat) -> Tensor:
    """One picture, uint8 [1, H, W, 3], cropped or padded and scaled to the format: uint8 [1, height, width, 3]."""
    picture = pixels.permute(0, 3, 1, 2)  # channels_last
    if picture.shape[-2:] != (format.height, format.width):
        picture = _cover(picture, format) if format.fit == "cover" else _contain(picture, format)
    return picture.permute(0, 2, 3, 1)


def inner_box(size: tuple[int, int], format: FrameFormat) -> tuple[int, int, int, int]:
    """Where a frame of this height and width lies in the format: top, left, height and width. The rest is padding."""
    if format.upscale > 1:  # what the model painted the frame into, to the pixel
        top, left, height, width = (length * format.upscale for length in inner_box(size, format.painted))
        return top, left, height, width
    height, width = size
    if format.fit == "cover" or (height, width) == (format.height, format.width):
        return 0, 0, format.height, format.width
    scale = min(format.width / width, format.height / height)
    inner_height = max(1, min(format.height, round(height * scale)))
    inner_width = max(1, min(format.width, round(width * scale)))
    return (format.height - inner_height) // 2, (format.width - inner_width) // 2, inner_height, inner_width


def normalise(pixels: Tensor) -> Tensor:
    """uint8 [B, 3, H, W] to float32 in [-1, 1]."""
    return pixels.float().mul_(2 / 255).sub_(1)


def quantise(pictures: Tensor) -> Tensor:
    """float32 [B, 3, H, W], nominally in [-1, 1], to uint8 [B, H, W, 3]. Values outside are clipped."""
    scaled = pictures.add(1).mul_(127.5).round_().clamp_(0, 255)
    return scaled.to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def download(pictures: Tensor) -> list[Pixels]:
    """uint8 [B, H, W, C] on any device to one picture a row."""
    pixels: Pixels = devices.to_host(pictures).numpy()
    return list(pixels)


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
    top, left, height, width = inner_box((picture.size(2), picture.size(3)), format)
    right, bottom = format.width - width - left, format.height - height - top
    return F.pad(_resize(picture, height, width), (left, right, top, bottom))


def _resize(picture: Tensor, height: int, width: int) -> Tensor:
    """Antialiased bilinear scaling of uint8 [1, 3, H, W]; stays uint8, which torch vectorises on the CPU."""
    if picture.device.type != "cpu":  # CUDA has no uint8 kernel for this
        scaled = F.interpolate(picture.float(), size=(height, width), mode="bilinear", antialias=True)
        return scaled.round_().clamp_(0, 255)
    return F.interpolate(picture, size=(height, width), mode="bilinear", antialias=True)
