"""The Apache-2.0 multi-style transfer network (Dumoulin et al. 2017, Magenta) as a teacher.

One feed-forward network with 26 sets of instance-norm parameters. It only makes training targets; nothing here ships
with the server.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["MultiStyle"]

_RESIDUAL_BLOCKS = 6


class MultiStyle:
    """The network read from `multistyle26.npz` (its ONNX initializers by name)."""

    def __init__(self, archive: Path) -> None:
        """Read the parameters. Raises `FileNotFoundError` or `KeyError` when the archive is missing or another one."""
        with np.load(archive) as arrays:
            self._parameters = {name: torch.from_numpy(arrays[name].copy()) for name in arrays.files}

    @torch.no_grad()
    def __call__(self, images: Tensor, style: int) -> Tensor:
        """Stylise [B, 3, H, W] in [-1, 1] (H and W multiples of 4) with style 0 to 25; same shape and range out."""
        x = (images + 1) / 2
        x = F.relu(self._conv(x, "contract.0", style))
        x = F.relu(self._conv(x, "contract.1", style, stride=2))
        x = F.relu(self._conv(x, "contract.2", style, stride=2))
        for block in range(_RESIDUAL_BLOCKS):
            inner = F.relu(self._conv(x, f"res.{block}.0", style))
            x = x + self._conv(inner, f"res.{block}.1", style)
        for stage in range(2):
            x = F.interpolate(x, scale_factor=2, mode="nearest")
            x = F.relu(self._conv(x, f"expand.{stage}", style))
        return torch.sigmoid(self._conv(x, "expand.2", style)) * 2 - 1

    def _conv(self, x: Tensor, name: str, style: int, stride: int = 1) -> Tensor:
        weight = self._parameters[f"{name}.w"]
        x = F.conv2d(F.pad(x, (weight.shape[-1] // 2,) * 4, mode="reflect"), weight, stride=stride)
        gamma, beta = (self._parameters[f"{name}.norm.{kind}"][style] for kind in ("gamma", "beta"))
        return F.instance_norm(x, weight=gamma, bias=beta)
