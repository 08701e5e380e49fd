"""What the few-step diffusion families share: loading, the codec between pixels and latents, the table of schedulers.

Weights come as ordinary diffusers pipelines; the pipeline object stays for its text encoders, and everything that runs
for a frame is taken out of it.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn

from streamgen import devices
from streamgen.config import ModelSpec
from streamgen.errors import ConfigError
from streamgen.models.base import Conditioning, Model
from streamgen.models.image_prompt import load_adapter
from streamgen.models.lora import LoraScales, add_fused, add_live, set_text_weights
from streamgen.models.schedules import SpacedTimesteps, VarianceSchedule, lcm_timesteps, trailing_timesteps
from streamgen.settings import StreamSettings

if TYPE_CHECKING:
    from streamgen.models.checkpoint import Checkpoint

__all__ = ["SCHEDULERS", "Decoder", "DiffusionModel", "Encoder", "Scheduler", "choose_scheduler", "variance_schedule"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Scheduler:
    """One way to sample a variance preserving model.

    Args:
        sampler: a name in ``engine.sampler.SAMPLERS``.
        spaced: which timesteps a run visits.
        full_noise: see ``VarianceSchedule``.
        boundary: x_0 is mixed with x_t by c_skip and c_out, as latent consistency models were trained.
        classes: diffusers' schedulers that stand for it in a checkpoint.
    """

    sampler: str
    spaced: SpacedTimesteps
    full_noise: bool
    boundary: bool
    classes: tuple[str, ...]


SCHEDULERS: dict[str, Scheduler] = {
    "lcm": Scheduler("consistency", lcm_timesteps, True, True, ("LCMScheduler",)),
    "euler": Scheduler("euler", trailing_timesteps, False, False, ("EulerDiscreteScheduler",)),
    "euler-ancestral": Scheduler(
        "euler-ancestral", trailing_timesteps, False, False, ("EulerAncestralDiscreteScheduler",)
    ),
    # TCD without its added noise (gamma 0) takes DDIM's steps.
    "ddim": Scheduler("euler", trailing_timesteps, True, False, ("DDIMScheduler", "TCDScheduler")),
}
"""What ``--sampler`` may name. ``ddim`` and ``euler`` differ in their first x_t alone."""


class DiffusionModel(Model):
    """A model out of a diffusers pipeline. Families say what their network is and how it takes a prompt.

    Args:
        spec: with dtype and size decided.
        pipe: the pipeline, on the device.
    """

    backends = ("cuda-graph", "eager")
    sides: ClassVar[tuple[int, int]]
    """Width and height that the family was trained for, pixels."""
    half: ClassVar[str] = "float16"
    """Which half precision the network prefers."""

    def __init__(self, spec: ModelSpec, pipe: Any) -> None:
        self.spec = spec
        self.dtype = spec.dtype
        self.pipe = pipe
        if self.dtype == "float16" and pipe.vae.config.get("force_upcast", False):
            _LOG.info("the VAE computes in float32, because it overflows in float16; --vae names a smaller one")
            pipe.vae.float()
        self.encoder, self.decoder = Encoder(pipe.vae), Decoder(pipe.vae)
        self.loras = {lora.name: lora.weight for lora in spec.loras if not lora.fused}
        self.lora_scales = LoraScales()
        unused = set() if self.loras else {"loras"}
        unused |= set() if spec.controlnet else {"control_scale"}
        unused |= set() if spec.ip_adapter else {"reference_scale"}
        self.unused_settings = frozenset(unused)

    @classmethod
    def load(cls, spec: ModelSpec) -> Self:
        """Raises ConfigError: ``checkpoint_missing``; a family by itself has no weights."""
        raise ConfigError(
            "checkpoint_missing",
            f"{spec.family} has no weights of its own: name a diffusers folder, a safetensors file or a hub id",
            field="model",
        )

    @classmethod
    def load_checkpoint(cls, spec: ModelSpec, checkpoint: Checkpoint) -> Self:
        """Load ``checkpoint`` with all that ``spec`` adds to it.

        Raises:
            ConfigError, WeightsError: naming what cannot be used or is missing.
        """
        from streamgen.models.checkpoint import load_pipeline

        if spec.dtype == "int8":
            raise ConfigError(
                "invalid_dtype", "dtype int8 is for the embedded model; --quantise int8 shrinks this one", field="dtype"
            )
        dtype = devices.fast_dtype(spec.device, cls.half) if spec.dtype == "auto" else spec.dtype
        width, height = cls.sides
        spec = replace(spec, dtype=dtype, width=spec.width or width, height=spec.height or height)
        pipe: Any = load_pipeline(checkpoint, getattr(torch, dtype), spec.vae)
        add_fused(pipe, [lora for lora in spec.loras if lora.fused])
        add_live(pipe, [lora for lora in spec.loras if not lora.fused])
        for source in spec.embeddings:
            pipe.load_textual_inversion(source)
        if spec.ip_adapter:
            load_adapter(pipe, spec.ip_adapter)
        licence = checkpoint.licence or "not stated by its maker"
        _LOG.info("%s: %s weights in %s, licence: %s", checkpoint.name, checkpoint.family, dtype, licence)
        return cls(spec, pipe.to(spec.device))

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        factor: int = self.pipe.vae_scale_factor
        return self.channels, height // factor, width // factor

    @property
    @abstractmethod
    def channels(self) -> int:
        """Of the latents."""

    @abstractmethod
    def encode_text(self, text: str) -> Conditioning:
        """One prompt to the family's conditioning, batched by one; the LoRAs of the text encoders are set."""

    @torch.no_grad()  # and not in inference mode, or a captured frame could not tell that a prompt has not changed
    def encode_prompt(self, text: str, loras: Mapping[str, float], negative: str = "") -> Conditioning:
        set_text_weights(self.pipe, loras)
        self.lora_scales.rows = torch.tensor([[loras[name] for name in self.loras]], device=self.spec.device)
        return {name: tensor[0] for name, tensor in self.encode_text(text).items()}

    def live_conditioning(self, settings: StreamSettings) -> Conditioning:
        if not self.loras:
            return {}
        weights = self.lora_weights(settings).values()
        return {"lora": torch.tensor(list(weights), device=self.spec.device)}


class Encoder(nn.Module):
    """Pixels [B, 3, H, W] in [-1, 1] to scaled latents [B, C, h, w].

    A variational encoder gives its mean: a sample of it would be new noise in every frame.
    """

    casts_inputs = True

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, pixels: Tensor) -> Tensor:
        # Tuples and not diffusers' output objects, which torch.compile would have to leave the graph for.
        encoded = self.vae.encode(pixels.to(self.vae.dtype, memory_format=torch.channels_last), return_dict=False)[0]
        latents: Tensor = encoded if isinstance(encoded, Tensor) else encoded.mode()
        return latents.float() * float(self.vae.config.scaling_factor)


class Decoder(nn.Module):
    """Scaled latents [B, C, h, w] to pixels [B, 3, H, W], nominally in [-1, 1]."""

    casts_inputs = True

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, latents: Tensor) -> Tensor:
        scaled = (latents / self.vae.config.scaling_factor).to(self.vae.dtype, memory_format=torch.channels_last)
        pixels: Tensor = self.vae.decode(scaled, return_dict=False)[0]
        return pixels.float()


def choose_scheduler(asked: str, pipe: Any) -> Scheduler:
    """The scheduler that ``--sampler`` names, or with ``auto`` the one that the checkpoint was made for.

    Raises:
        ConfigError: ``unknown_sampler``.
    """
    if asked != "auto":
        if asked not in SCHEDULERS:
            raise ConfigError(
                "unknown_sampler",
                f"sampler must be auto or one of {sorted(SCHEDULERS)}, got {asked!r}",
                field="sampler",
            )
        return SCHEDULERS[asked]
    named = type(pipe.scheduler).__name__
    for name, scheduler in SCHEDULERS.items():
        if named in scheduler.classes:
            _LOG.info("sampler %s: the checkpoint names %s", name, named)
            return scheduler
    _LOG.warning(
        "sampler lcm: the checkpoint names %s, which needs more than four steps; without a LoRA such as LCM-LoRA in "
        "--fused-lora, expect poor pictures",
        named,
    )
    return SCHEDULERS["lcm"]


def variance_schedule(scheduler: Scheduler, pipe: Any, device: str) -> VarianceSchedule:
    """The noise levels that the checkpoint's scheduler was configured with."""
    alphas_cumprod = pipe.scheduler.alphas_cumprod.float().to(device)
    return VarianceSchedule(alphas_cumprod, scheduler.spaced, full_noise=scheduler.full_noise)
