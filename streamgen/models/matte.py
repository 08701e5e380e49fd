"""The person matte: how much of each pixel is a person, as one small network independent of what stylises.

A U-Net that begins at a quarter of the resolution, in the manner of MobileNetV2's inverted residuals (Sandler et al.
2018) with pooled context in the middle. Deviation: plain 3x3 convolutions wherever a picture is still large, because
depthwise ones are bound by memory there and gain nothing on a CPU.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from streamgen.models.embedded_weights import halved, read_weights, write_weights

__all__ = ["MATTE_SIDE", "MATTE_WEIGHTS", "MatteNet", "load_matte", "save_matte"]

MATTE_SIDE = 256
"""Pixels of the square that a whole frame is squeezed into."""
MATTE_WEIGHTS = Path(__file__).parent / "weights" / "matte.safetensors"
_KIND = ("streamgen.matte", "1")
_WIDTHS = (16, 32, 64, 96)
_MIDDLE_BLOCKS = 4
_LAST = 8


class MatteNet(nn.Module):
    """RGB to the probability of a person."""

    def __init__(self) -> None:
        super().__init__()
        half, quarter, eighth, sixteenth = _WIDTHS
        self.stem = _convolution(3, half, stride=2)
        self.to_quarter = _convolution(half, quarter, stride=2)
        self.to_eighth = _convolution(quarter, eighth, stride=2)
        self.eighth = _Inverted(eighth)
        self.to_sixteenth = _convolution(eighth, sixteenth, stride=2)
        self.middle = nn.ModuleList(_Inverted(sixteenth) for _ in range(_MIDDLE_BLOCKS))
        self.context = _Context(sixteenth)
        self.up_eighth = _Up(sixteenth, eighth, _separable(eighth))
        self.up_quarter = _Up(eighth, quarter, _convolution(quarter, quarter))
        self.up_half = _Up(quarter, half, _convolution(half, _LAST))
        self.head = nn.Conv2d(_LAST, 4, 3, padding=1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Matte whole pictures.

        Args:
            pictures: [B, 3, H, W] in [-1, 1]; H and W multiples of 16, made for 256.

        Returns:
            [B, 1, H, W] in [0, 1].
        """
        return torch.sigmoid(self.logits(pictures))

    def logits(self, pictures: Tensor) -> Tensor:
        """The same before the sigmoid, which training wants."""
        half = self.stem(pictures)
        quarter = self.to_quarter(half)
        eighth = self.eighth(self.to_eighth(quarter))
        x = self.to_sixteenth(eighth)
        for block in self.middle:
            x = block(x)
        x = self.up_eighth(self.context(x), eighth)
        x = self.up_half(self.up_quarter(x, quarter), half)
        return F.pixel_shuffle(self.head(x), 2)


class _Inverted(nn.Module):
    """x + project(depthwise 5x5(expand(x)))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = 2 * channels
        self.expand = _convolution(channels, wide, size=1)
        self.spread = _convolution(wide, wide, size=5, groups=wide)
        self.project = nn.Sequential(nn.Conv2d(wide, channels, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, x + self.project(self.spread(self.expand(x))))


class _Context(nn.Module):
    """Scale the channels by what the whole picture holds (squeeze and excitation, Hu et al. 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // 4, 1)
        self.excite = nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean((2, 3), keepdim=True)
        return x * torch.sigmoid(self.excite(F.relu(self.squeeze(pooled))))


class _Up(nn.Module):
    """To twice the size, joined with what was there on the way down."""

    def __init__(self, channels: int, out: int, join: nn.Module) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(channels, out, 1)
        self.join = join

    def forward(self, x: Tensor, finer: Tensor) -> Tensor:
        doubled = F.interpolate(self.narrow(x), scale_factor=2.0, mode="bilinear", align_corners=False)
        return cast(Tensor, self.join(doubled + finer))


def _convolution(channels: int, out: int, size: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out, size, stride, size // 2, groups=groups, bias=False), nn.BatchNorm2d(out), nn.ReLU()
    )


def _separable(channels: int) -> nn.Sequential:
    return nn.Sequential(
        _convolution(channels, channels, size=5, groups=channels), _convolution(channels, channels, size=1)
    )


def load_matte(path: Path = MATTE_WEIGHTS) -> MatteNet:
    """Read a weights file made by `save_matte`: the network in float32, for inference.

    Raises:
        WeightsError: `weights_missing` when there is no such file, `weights_corrupt` when it is not a safetensors
            file of this network.
    """
    return read_weights(path, _KIND, _network)


def save_matte(network: MatteNet, path: Path) -> None:
    """Write the network in float16, atomically. Raises `OSError` when that cannot be done."""
    write_weights(halved(network), path, _KIND)


def _network(tensors: dict[str, Any], metadata: dict[str, str]) -> MatteNet:
    network = MatteNet()
    network.load_state_dict(tensors)
    return _fused(network.eval().requires_grad_(False))


def _fused(network: MatteNet) -> MatteNet:
    """Fold every normalisation into the convolution before it: what runs eagerly would pay for it otherwise."""
    for block in list(network.modules()):
        if isinstance(block, nn.Sequential) and len(block) > 1 and isinstance(block[1], nn.BatchNorm2d):
            block[0] = fuse_conv_bn_eval(cast(nn.Conv2d, block[0]), block[1])
            block[1] = nn.Identity()
    return network
