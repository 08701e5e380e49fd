"""What every model family offers the engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Protocol

from torch import Tensor, nn

from streamgen.config import ModelSpec
from streamgen.settings import Reading

__all__ = ["Conditioning", "Model", "NoiseSchedule"]

Conditioning = dict[str, Tensor]
"""Named tensors that steer ``denoise``. Unbatched from ``encode_prompt``, with a leading batch axis in ``denoise``."""


class NoiseSchedule(Protocol):
    """How much signal and noise a timestep holds: x_t = alpha(t) x_0 + sigma(t) z with z ~ N(0, I)."""

    def alpha(self, t: Tensor) -> Tensor:
        """Signal scale of t: [...] -> [...]."""

    def sigma(self, t: Tensor) -> Tensor:
        """Noise scale of t: [...] -> [...]."""

    def timesteps(self, steps: int, strength: float) -> list[float]:
        """Descending timesteps of a ``steps``-step run whose first one leaves ``1 - strength`` of the source.

        ``strength`` 1 starts from pure noise; 0 needs no step and gives []. The values are what ``denoise`` takes as
        ``t``.
        """


class Model(ABC):
    """One loaded model. Holds weights and nothing of any user; every method is a function of its arguments.

    ``denoise`` is eager and the reference. Backends make the same function fast: they compile ``network``, which takes
    ``(x_t, t, *[cond[name] for name in conditioning_names])`` and returns x_0.
    """

    conditioning_names: ClassVar[tuple[str, ...]]
    """Order in which the network takes its conditioning tensors."""

    spec: ModelSpec
    schedule: NoiseSchedule
    network: nn.Module
    styles: tuple[str, ...] = ()
    """Prompts the model is sure to know; () when it takes any text."""

    @classmethod
    @abstractmethod
    def load(cls, spec: ModelSpec) -> Model:
        """Read the weights. Raises WeightsError: ``weights_missing``, ``weights_corrupt``."""

    @abstractmethod
    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Shape (C, h, w) of the latents of a height x width picture."""

    @abstractmethod
    def encode_prompt(self, text: str) -> Conditioning:
        """Text to unbatched conditioning tensors, float32 on the model's device. Slow for some: cache it."""

    def read_prompt(self, text: str) -> Reading | None:
        """How ``text`` is understood; None when the model cannot tell."""
        return None

    @abstractmethod
    def encode_image(self, pixels: Tensor) -> Tensor:
        """Pixels [B, 3, H, W] float32 in [-1, 1] to latents [B, C, h, w] float32."""

    @abstractmethod
    def source_conditioning(self, latents: Tensor) -> Conditioning:
        """Batched conditioning tensors made from the source's latents [B, C, h, w]; {} when there are none."""

    def denoise(self, x_t: Tensor, t: Tensor, cond: Conditioning) -> Tensor:
        """One evaluation of the consistency function.

        Args:
            x_t: [B, C, h, w] float32, noised latents.
            t: [B] float32, each row's own timestep.
            cond: batched conditioning.

        Returns:
            x_0: [B, C, h, w] float32.
        """
        x_0: Tensor = self.network(x_t, t, *(cond[name] for name in self.conditioning_names))
        return x_0

    @abstractmethod
    def decode_image(self, latents: Tensor) -> Tensor:
        """Latents [B, C, h, w] float32 to pixels [B, 3, H, W] float32, nominally in [-1, 1]."""
