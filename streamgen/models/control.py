"""ControlNets: what a frame shows besides its colours, as a further input of the UNet (Zhang et al. 2023)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamgen.config import ModelSpec
from streamgen.errors import ConfigError, WeightsError

__all__ = ["PREPROCESSORS", "Control", "canny"]

Preprocessor = Callable[[Tensor], Tensor]
"""Pixels [B, 3, H, W] in [-1, 1] to what the ControlNet sees [B, 3, H, W] in [0, 1], on the device, values alone."""

_STRONG, _WEAK = 0.35, 0.15
_HYSTERESIS_ROUNDS = 8


class Control:
    """A ControlNet and its preprocessor.

    Args:
        network: diffusers' ControlNetModel.
        see: the preprocessor.
    """

    def __init__(self, network: Any, see: Preprocessor) -> None:
        self.network: nn.Module = network
        self.see = see

    @classmethod
    def load(cls, spec: ModelSpec, dtype: torch.dtype) -> Control:
        """Load ``spec.controlnet``.

        Raises:
            ConfigError: ``unknown_control``.
            WeightsError: ``controlnet_unusable``.
        """
        from diffusers import ControlNetModel

        if spec.control not in PREPROCESSORS:
            raise ConfigError(
                "unknown_control",
                f"control must be one of {sorted(PREPROCESSORS)}, got {spec.control!r}",
                field="control",
            )
        try:
            load: Any = ControlNetModel.from_pretrained
            network = load(spec.controlnet, dtype=dtype, use_safetensors=True)
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise WeightsError(
                "controlnet_unusable", f"the ControlNet {spec.controlnet} cannot be used: {reason}", field="controlnet"
            ) from error
        return cls(network.to(spec.device).eval().requires_grad_(False), PREPROCESSORS[spec.control])


def canny(pixels: Tensor) -> Tensor:
    """Edges by Canny's method (1986): smoothed gradients, thinned across the edge, weak ones kept where they continue
    strong ones. White on black.

    Deviation: the search along weak edges ends after a fixed number of rounds, because a CUDA graph cannot ask a tensor
    whether it is done. Runs on the device, so no frame leaves it.
    """
    grey = 0.299 * pixels[:, 0:1] + 0.587 * pixels[:, 1:2] + 0.114 * pixels[:, 2:3]
    for _ in range(2):  # two boxes are nearly a Gaussian
        grey = F.avg_pool2d(F.pad(grey, (1, 1, 1, 1), "replicate"), 3, 1)
    padded = F.pad(grey, (1, 1, 1, 1), "replicate")
    dx = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    dy = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    strength = torch.sqrt(dx**2 + dy**2)
    thin = strength * _is_ridge(strength, dx, dy)
    scale = 4.0  # of [-1, 1] after smoothing: a full black to white edge comes out near 1
    strong, weak = (thin * scale > _STRONG).float(), (thin * scale > _WEAK).float()
    for _ in range(_HYSTERESIS_ROUNDS):
        strong = F.max_pool2d(strong, 3, 1, 1) * weak
    return strong.expand(-1, 3, -1, -1)


def _is_ridge(strength: Tensor, dx: Tensor, dy: Tensor) -> Tensor:
    """1 where no neighbour across the edge is stronger, in the nearest of four directions."""
    around = F.pad(strength, (1, 1, 1, 1))
    height, width = strength.shape[-2:]

    def shifted(down: int, right: int) -> Tensor:
        return around[..., 1 + down : 1 + down + height, 1 + right : 1 + right + width]

    steep, flat = dy.abs() > 2.414 * dx.abs(), dx.abs() > 2.414 * dy.abs()
    falling = dx * dy > 0
    ridge = torch.zeros_like(strength)
    for chosen, (down, right) in (
        (flat, (0, 1)),
        (steep, (1, 0)),
        (~flat & ~steep & falling, (1, 1)),
        (~flat & ~steep & ~falling, (1, -1)),
    ):
        least = torch.maximum(shifted(down, right), shifted(-down, -right))
        ridge = torch.where(chosen, (strength >= least).float(), ridge)
    return ridge


def _as_it_is(pixels: Tensor) -> Tensor:
    return pixels / 2 + 0.5


PREPROCESSORS: dict[str, Preprocessor] = {"canny": canny, "none": _as_it_is}
"""What a ControlNet may be shown. ``none`` shows the frame itself: for maps that the client makes, such as poses."""
