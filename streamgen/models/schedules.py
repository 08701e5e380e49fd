"""Noise levels and timesteps of the model families: which levels a run of n steps visits at a given strength."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["SpacedTimesteps", "TrigFlowSchedule", "VarianceSchedule", "lcm_timesteps", "trailing_timesteps"]

SpacedTimesteps = Callable[[int, float, int], list[float]]
"""(steps, strength, timesteps trained on) -> descending timesteps."""

_LCM_ORIGIN_STEPS = 50


class VarianceSchedule:
    """The discrete variance preserving schedule of Stable Diffusion: t is a whole number below ``len(alphas_cumprod)``,
    alpha = sqrt(alphas_cumprod[t]), sigma = sqrt(1 - alphas_cumprod[t]).

    Args:
        alphas_cumprod: [T] float32, on the device of the timesteps to come.
        spaced: how timesteps are spread.
        full_noise: the first x_t without a source is noise of unit variance, as diffusers' LCM and DDIM pipelines have
            it; else of variance sigma^2, as its Euler pipelines have it.
    """

    def __init__(self, alphas_cumprod: Tensor, spaced: SpacedTimesteps, *, full_noise: bool) -> None:
        self._alphas = alphas_cumprod.sqrt()
        self._sigmas = (1 - alphas_cumprod).sqrt()
        self._spaced = spaced
        self._full_noise = full_noise

    def alpha(self, t: Tensor) -> Tensor:
        return self._alphas[t.long()]

    def sigma(self, t: Tensor) -> Tensor:
        return self._sigmas[t.long()]

    def timesteps(self, steps: int, strength: float) -> list[float]:
        return self._spaced(steps, strength, len(self._alphas)) if strength > 0 else []

    def start(self, source: Tensor | None, noise: Tensor, t: Tensor) -> Tensor:
        if source is not None:
            return _per_row(self.alpha(t)) * source + _per_row(self.sigma(t)) * noise
        return noise if self._full_noise else _per_row(self.sigma(t)) * noise


class TrigFlowSchedule:
    """alpha = cos t, sigma = sin t, t in [0, pi/2] (Lu & Song 2024).

    Args:
        spaced: levels of n steps from the highest down, 0 left out, at strength 1; strength scales the angles.
    """

    def __init__(self, spaced: Callable[[int], list[float]]) -> None:
        self._spaced = spaced

    def alpha(self, t: Tensor) -> Tensor:
        return torch.cos(t)

    def sigma(self, t: Tensor) -> Tensor:
        return torch.sin(t)

    def timesteps(self, steps: int, strength: float) -> list[float]:
        return [strength * level for level in self._spaced(steps)] if strength > 0 else []

    def start(self, source: Tensor | None, noise: Tensor, t: Tensor) -> Tensor:
        """The noised source; noise of unit variance alone where there is none."""
        if source is None:
            return noise
        return _per_row(torch.cos(t)) * source + _per_row(torch.sin(t)) * noise


def trailing_timesteps(steps: int, strength: float, trained: int) -> list[float]:
    """Evenly spaced levels that end where the noise is purest: what turbo and Lightning models were distilled for (Lin
    et al. 2024, "Common diffusion noise schedules and sample steps are flawed").

    Equal to the last ``steps`` of diffusers' ``trailing`` spacing over ``steps / strength`` steps. Levels that fall
    together, as at a strength of nearly 0, are taken once.
    """
    levels = [round(trained * strength * (steps - step) / steps) - 1 for step in range(steps)]
    return list(dict.fromkeys(float(max(0, level)) for level in levels))


def lcm_timesteps(steps: int, strength: float, trained: int) -> list[float]:
    """Levels out of the fifty that latent consistency models were distilled on (Luo et al. 2023, section 4.3).

    Spread as diffusers' LCMScheduler spreads them. With fewer levels below ``strength`` than steps, there are fewer
    steps.
    """
    stride = trained // _LCM_ORIGIN_STEPS
    origin = [float(stride * index - 1) for index in range(1, int(_LCM_ORIGIN_STEPS * strength) + 1)][::-1]
    if not origin:
        return [float(stride - 1)]
    steps = min(steps, len(origin))
    return [origin[math.floor(step * len(origin) / steps)] for step in range(steps)]


def _per_row(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)
