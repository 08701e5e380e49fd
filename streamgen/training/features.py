"""Perceptual features: SqueezeNet 1.0 (Iandola et al. 2016) cut after fire6 to learn by, VGG16 to judge by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

__all__ = ["PACKAGED", "STRUCTURE_TAPS", "TAPS", "Features", "JudgeFeatures", "pack"]

PACKAGED = Path(__file__).parent / "weights" / "features.safetensors"
"""The weights that `Features` needs, in the package."""

TAPS = ("conv1", "fire2", "fire3", "fire5", "fire6")
"""fire4's Gram matrix would cost as much as all the others together and says what its neighbours say."""
STRUCTURE_TAPS = ("fire3", "fire6")

_LAYERS = ("conv1", "fire2", "fire3", "fire4", "fire5", "fire6")
_POOL_AFTER = ("conv1", "fire4")
# The Caffe model reads BGR in [0, 255] less the ImageNet mean.
_MEAN_BGR = (104.0, 117.0, 123.0)


class Features:
    """The network read from `squeezenet_v1_0_dc.npz`, or from what `pack` made of it.

    Its weights never change; gradients flow to the pictures.
    """

    def __init__(self, archive: Path = PACKAGED) -> None:
        """Read the weights. Raises `FileNotFoundError` or `KeyError` when the archive is missing or another one."""
        if archive.suffix == ".safetensors":
            self._weights = {name: weight.float() for name, weight in load_file(archive).items()}
        else:
            self._weights = {name: torch.from_numpy(array.astype(np.float32)) for name, array in _unpacked(archive)}
        self._mean = torch.tensor(_MEAN_BGR).view(1, 3, 1, 1)

    def to(self, device: str) -> Features:
        """Move the weights, laid out as convolutions are fastest, and return these features."""
        self._weights = {
            name: weight.to(device, memory_format=torch.channels_last if weight.dim() == 4 else torch.preserve_format)
            for name, weight in self._weights.items()
        }
        self._mean = self._mean.to(device)
        return self

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Features of [B, 3, H, W] in [-1, 1], by tap: conv1 [B, 96, H/2, W/2] to fire6 [B, 384, H/8, W/8]."""
        x = ((images.flip(1) + 1) * 127.5 - self._mean).contiguous(memory_format=torch.channels_last)
        taps: dict[str, Tensor] = {}
        for layer in _LAYERS:
            x = self._conv(x, "conv1", stride=2) if layer == "conv1" else self._fire(x, layer)
            if layer in TAPS:
                taps[layer] = x
            if layer in _POOL_AFTER:
                x = F.max_pool2d(x, 3, stride=2, ceil_mode=True)
        return taps

    def _fire(self, x: Tensor, name: str) -> Tensor:
        squeezed = self._conv(x, f"{name}_conv1x1_1")
        narrow = self._conv(squeezed, f"{name}_conv1x1_2")
        wide = self._conv(squeezed, f"{name}_conv3x3_2", padding=1)
        return torch.cat([narrow, wide], dim=1)

    def _conv(self, x: Tensor, name: str, stride: int = 1, padding: int = 0) -> Tensor:
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        return F.relu(F.conv2d(x, weight, bias, stride=stride, padding=padding))


def pack(archive: Path, path: Path = PACKAGED) -> None:
    """Write the layers of `squeezenet_v1_0_dc.npz` that `Features` uses to a safetensors file in float16."""
    used = {name: torch.from_numpy(array).half() for name, array in _unpacked(archive) if name.startswith(_LAYERS)}
    save_file(used, path, {"format": "streamgen.features", "version": "1", "licence": "BSD-2-Clause"})
    path.chmod(0o644)  # the library writes a file that its owner alone can read


def _unpacked(archive: Path) -> list[tuple[str, NDArray[np.generic]]]:
    with np.load(archive) as arrays:
        return [(name.removeprefix("c."), arrays[name]) for name in arrays.files if name.startswith("c.")]


class JudgeFeatures:
    """VGG16 (Simonyan & Zisserman 2015) cut at conv4_1, as HED fine-tuned it; no loss has ever seen it."""

    taps = ("conv1_2", "conv2_2", "conv3_3", "conv4_1")
    content_tap = "conv4_1"

    _LAYERS = ("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv3_3", "conv4_1")
    _POOL_AFTER = ("conv1_2", "conv2_2", "conv3_3")

    def __init__(self, archive: Path) -> None:
        """Read `vgg16_hed_to_conv4_1_fp16.npz`. Raises `FileNotFoundError` when it is missing."""
        with np.load(archive) as arrays:
            self._weights = {name: torch.from_numpy(arrays[name].astype(np.float32)) for name in arrays.files}
        self._mean = torch.tensor(_MEAN_BGR).view(1, 3, 1, 1)

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Features of [B, 3, H, W] in [-1, 1], by tap: conv1_2 [B, 64, H, W] to conv4_1 [B, 512, H/8, W/8]."""
        x = (images.flip(1) + 1) * 127.5 - self._mean
        taps: dict[str, Tensor] = {}
        for layer in self._LAYERS:
            x = F.relu(F.conv2d(x, self._weights[f"{layer}.weight"], self._weights[f"{layer}.bias"], padding=1))
            if layer in self.taps:
                taps[layer] = x
            if layer in self._POOL_AFTER:
                x = F.max_pool2d(x, 2)
        return taps
