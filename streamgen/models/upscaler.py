"""The embedded upscaler: pictures twice as large, by a small convolutional network on top of bicubic interpolation.

It works on cells of 2 x 2 pixels (pixel-unshuffle), where a CPU gets more arithmetic out of its caches than at full
size, and ends in one sub-pixel shuffle (Shi et al. 2016). Bicubic interpolation is a convolution of those cells too, so
the picture enters the result as one more convolution and is never enlarged by itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamgen.models.embedded_weights import halved, read_weights, write_weights

__all__ = ["DEFAULT_WEIGHTS", "FACTOR", "Upscaler", "load_upscaler", "save_upscaler"]

FACTOR = 2
DEFAULT_WEIGHTS = Path(__file__).parent / "weights" / "upscaler.safetensors"
_KIND = ("streamgen.upscaler", "1")
_CELL = 2
_SUBPIXELS = _CELL * FACTOR
_CHANNELS = 32
_LAYERS = 3
_SLOPE = 0.1


class Upscaler(nn.Module):
    """Enlarges uint8 pictures twice; 3.3 GMAC for 512x512 to 1024x1024, 45 thousand parameters."""

    casts_inputs = True
    """For backends: it takes and returns uint8."""
    bicubic: Tensor

    def __init__(self) -> None:
        super().__init__()
        cell, made = 3 * _CELL**2, 3 * _SUBPIXELS**2
        self.first = nn.Conv2d(cell, _CHANNELS, 3)
        self.middle = nn.ModuleList(nn.Conv2d(_CHANNELS, _CHANNELS, 3, padding=1) for _ in range(_LAYERS))
        self.last = nn.Conv2d(_CHANNELS, made, 3, padding=1)
        self.register_buffer("bicubic", _bicubic_weights(), persistent=False)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(cast(Tensor, self.last.bias))

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 [B, H, W, 3] to uint8 [B, 2 H, 2 W, 3]; H and W even."""
        # The levels stay 0 to 255 on the way through, so that bfloat16 holds each of them exactly.
        levels = self._cells(pixels.permute(0, 3, 1, 2).float(), peak=255.0)
        levels = levels.round().clamp(0, 255).to(torch.uint8)
        batch, _, rows, columns = levels.shape
        cells = levels.view(batch, 3, _SUBPIXELS, _SUBPIXELS, rows, columns)
        height, width = rows * _SUBPIXELS, columns * _SUBPIXELS
        return cells.permute(0, 4, 2, 5, 3, 1).reshape(batch, height, width, 3)

    def enlarge(self, pictures: Tensor) -> Tensor:
        """The same with numbers to learn from: float32 [B, 3, H, W] in [0, 1] to [B, 3, 2 H, 2 W], about [0, 1]."""
        return F.pixel_shuffle(self._cells(pictures, peak=1.0), _SUBPIXELS)

    def _cells(self, pictures: Tensor, peak: float) -> Tensor:
        """[B, 3, H, W] in [0, peak] to sub-pixels [B, 48, H / 2, W / 2], about [0, peak]."""
        # One more cell on every side, of the pixels at the edge: with zeros there, edges would darken.
        cells = F.pixel_unshuffle(F.pad(pictures, (_CELL, _CELL, _CELL, _CELL), mode="replicate"), _CELL)
        x = F.leaky_relu(self.first(cells / peak), _SLOPE)
        for layer in self.middle:
            x = F.leaky_relu(layer(x), _SLOPE)
        return cast(Tensor, self.last(x) * peak + F.conv2d(cells, self.bicubic))


def _bicubic_weights() -> Tensor:
    """Bicubic interpolation (Keys 1981, a = -0.75) to twice the size, as a convolution of cells: [48, 12, 3, 3]."""
    # A row of the result per sub-pixel, of what each of the six pixels around gives to it.
    ones = torch.eye(3 * _CELL)[:, None, None, :]
    rows = F.interpolate(ones, scale_factor=(1, FACTOR), mode="bicubic")[:, 0, 0]
    kernel = rows[:, _SUBPIXELS : 2 * _SUBPIXELS].T.reshape(_SUBPIXELS, 3, _CELL)
    spatial = torch.einsum("ium,jvn->ijmnuv", kernel, kernel).reshape(_SUBPIXELS**2, _CELL**2, 3, 3)
    return torch.einsum("cd,smuv->csdmuv", torch.eye(3), spatial).reshape(3 * _SUBPIXELS**2, 3 * _CELL**2, 3, 3)


def load_upscaler(path: Path = DEFAULT_WEIGHTS) -> Upscaler:
    """Read a weights file made by `save_upscaler`: the network in float32, for inference.

    Raises:
        WeightsError: `weights_missing` when there is no such file, `weights_corrupt` when it is not a safetensors
            file of this network.
    """
    return read_weights(path, _KIND, _network)


def save_upscaler(network: Upscaler, path: Path) -> None:
    """Write the network in float16, atomically. Raises `OSError` when that cannot be done."""
    write_weights(halved(network), path, _KIND)


def _network(tensors: dict[str, Any], metadata: dict[str, str]) -> Upscaler:
    network = Upscaler()
    network.load_state_dict(tensors)
    return network.eval().requires_grad_(False)
