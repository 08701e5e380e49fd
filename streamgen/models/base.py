"""What every model family offers the engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Protocol

from torch import Tensor, nn

from streamgen.config import ModelSpec
from streamgen.frames import Pixels
from streamgen.settings import Reading, StreamSettings

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

    def start(self, source: Tensor | None, noise: Tensor, t: Tensor) -> Tensor:
        """The first x_t [B, C, h, w] at t [B]: the noised source, or noise alone where there is none."""


class Model(ABC):
    """One loaded model. Holds weights and nothing of any user; every method is a function of its arguments.

    The methods are eager and the reference. Backends make the same functions fast: they compile ``network``, which
    takes ``(x_t, t, *[cond[name] for name in conditioning_names])`` and returns x_0, and ``encoder`` and ``decoder``.
    """

    spec: ModelSpec
    schedule: NoiseSchedule
    network: nn.Module
    conditioning_names: tuple[str, ...]
    """Order in which the network takes its conditioning tensors."""
    encoder: nn.Module | None = None
    """Pixels [B, 3, H, W] in [-1, 1] to latents [B, C, h, w]; None when pixels are their own latents."""
    decoder: nn.Module | None = None
    """The way back; None likewise."""
    sampler: str = "consistency"
    """A name in ``engine.sampler.SAMPLERS``: how a denoised picture becomes the input of the next step."""
    styles: tuple[str, ...] = ()
    """Prompts the model is sure to know; () when it takes any text."""
    loras: dict[str, float]
    """Names of the LoRAs whose weight a client may set, with the weight each was loaded with."""
    default_guidance: float = 1.0
    """What ``StreamSettings.guidance`` 0 stands for."""
    guides_itself: bool = False
    """True when the network takes the guidance scale itself, so that nothing is left to do between its calls."""
    unused_settings: frozenset[str] = frozenset()
    """Live settings that change nothing with this model; a page need not show them."""
    takes_reference: bool = False
    """True when a picture can be a prompt."""
    reads_negative: bool = False
    """True when a negative prompt changes what a prompt means, with no guidance needed."""
    needs_source: bool = False
    """True when the model cannot make a picture from noise and prompt alone."""
    dtype: str = "float32"
    """Precision that the weights are held in."""
    backends: tuple[str, ...] | None = None
    """Backends in the order in which ``auto`` prefers them; None when they are quick enough to be measured."""

    @classmethod
    @abstractmethod
    def load(cls, spec: ModelSpec) -> Model:
        """Read the weights. Raises WeightsError: ``weights_missing``, ``weights_corrupt``."""

    @abstractmethod
    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Shape (C, h, w) of the latents of a height x width picture."""

    @abstractmethod
    def encode_prompt(self, text: str, loras: Mapping[str, float], negative: str = "") -> Conditioning:
        """Text to unbatched conditioning tensors on the model's device. Slow for some: cache it.

        Args:
            text: the prompt.
            loras: weights of all of ``self.loras``.
            negative: what to leave out of it; "" unless the model ``reads_negative``.
        """

    def read_prompt(self, text: str, negative: str = "") -> Reading | None:
        """How ``text`` without ``negative`` is understood; None when the model cannot tell."""
        return None

    def refresh(self) -> bool:
        """Look whether there are other ``styles`` than at the last look; True when prompts have to be read and encoded
        anew. Cheap when there are none."""
        return False

    def lora_weights(self, settings: StreamSettings) -> dict[str, float]:
        """The weight of every LoRA: what the client set, else what it was loaded with."""
        return self.loras | {name: weight for name, weight in settings.loras.items() if name in self.loras}

    def live_conditioning(self, settings: StreamSettings) -> Conditioning:
        """Unbatched conditioning tensors made from other settings than the prompts; {} when there are none."""
        return {}

    def reference_conditioning(self, pixels: Pixels | None) -> tuple[Conditioning, Conditioning]:
        """Unbatched conditioning tensors made from a session's reference picture, uint8 [H, W, 3] or none, and those of
        what guidance steers away from; ({}, {}) where ``takes_reference`` is False."""
        return {}, {}

    def source_conditioning(self, pixels: Tensor, latents: Tensor) -> Conditioning:
        """Batched conditioning tensors made from the source; {} when there are none.

        Args:
            pixels: [B, 3, H, W] float32 in [-1, 1].
            latents: [B, C, h, w] float32.
        """
        return {}

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Pixels [B, 3, H, W] float32 in [-1, 1] to latents [B, C, h, w] float32."""
        return pixels if self.encoder is None else self.encoder(pixels)

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

    def decode_image(self, latents: Tensor) -> Tensor:
        """Latents [B, C, h, w] float32 to pixels [B, 3, H, W] float32, nominally in [-1, 1]."""
        return latents if self.decoder is None else self.decoder(latents)
