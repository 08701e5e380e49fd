"""ControlNets: what a frame shows besides its colours, as a further input of the UNet (Zhang et al. 2023)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamgen.config import ModelSpec
from streamgen.errors import ConfigError, WeightsError

__all__ = ["PREPROCESSORS", "Control", "Depth", "canny"]

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
            ConfigError: ``unknown_control``, ``control_model_missing``.
            WeightsError: ``controlnet_unusable``.
        """
        from diffusers import ControlNetModel

        see = _preprocessor(spec, dtype)
        try:
            load: Any = ControlNetModel.from_pretrained
            network = load(spec.controlnet, dtype=dtype, use_safetensors=True)
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise WeightsError(
                "controlnet_unusable", f"the ControlNet {spec.controlnet} cannot be used: {reason}", field="controlnet"
            ) from error
        return cls(network.to(spec.device).eval().requires_grad_(False), see)


def _preprocessor(spec: ModelSpec, dtype: torch.dtype) -> Preprocessor:
    if spec.control == "depth":
        return Depth.load(spec, dtype)
    if spec.control not in PREPROCESSORS:
        known = sorted([*PREPROCESSORS, "depth"])
        raise ConfigError("unknown_control", f"control must be one of {known}, got {spec.control!r}", field="control")
    return PREPROCESSORS[spec.control]


class Depth:
    """How near things are, by a depth estimation model of transformers such as Depth Anything or DPT: near is white.

    Args:
        network: pixels in, inverse depth out.
        side: the picture's side as the network takes it, pixels.
        mean: of what it was trained on, by channel.
        deviation: likewise.
    """

    def __init__(self, network: Any, side: int, mean: Sequence[float], deviation: Sequence[float]) -> None:
        self._network = network
        self._side = side
        device = next(network.parameters()).device
        self._mean, self._deviation = (torch.tensor(each, device=device).view(1, 3, 1, 1) for each in (mean, deviation))

    @classmethod
    def load(cls, spec: ModelSpec, dtype: torch.dtype) -> Depth:
        """Load ``spec.control_model``.

        Raises:
            ConfigError: ``control_model_missing``.
            WeightsError: ``controlnet_unusable``.
        """
        if spec.control_model is None:
            raise ConfigError(
                "control_model_missing",
                "--control depth needs --control-model with a depth estimation model, such as "
                "depth-anything/Depth-Anything-V2-Small-hf",
                field="control_model",
            )
        from transformers import AutoImageProcessor, AutoModelForDepthEstimation

        try:
            network = AutoModelForDepthEstimation.from_pretrained(spec.control_model, dtype=dtype, use_safetensors=True)
            read: Any = AutoImageProcessor.from_pretrained
            processor = read(spec.control_model)
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise WeightsError(
                "controlnet_unusable", f"the model {spec.control_model} cannot be used: {reason}", field="control_model"
            ) from error
        network = network.to(spec.device).eval().requires_grad_(False)
        return cls(network, processor.size["height"], processor.image_mean, processor.image_std)

    def __call__(self, pixels: Tensor) -> Tensor:
        size = (self._side, self._side)
        small = F.interpolate(pixels / 2 + 0.5, size=size, mode="bilinear", antialias=True)
        inputs = (small - self._mean) / self._deviation
        depth = self._network(pixel_values=inputs.to(self._network.dtype)).predicted_depth.float()[:, None]
        near, far = depth.amax((2, 3), keepdim=True), depth.amin((2, 3), keepdim=True)
        spread = (depth - far) / (near - far).clamp_min(1e-12)
        return F.interpolate(spread, size=pixels.shape[-2:], mode="bilinear").expand(-1, 3, -1, -1)


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
"""What a ControlNet may be shown, besides ``depth``, which takes a model. ``none`` shows the frame itself: for maps
that the client makes, such as poses."""
