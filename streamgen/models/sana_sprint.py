"""SANA-Sprint: a linear transformer distilled into a continuous-time consistency model (Chen et al. 2025), one to four
steps at 1024 pixels, on latents 32 times smaller than the picture.

The network was trained as a flow model; ``DenoisingTransformer`` is the exact change of variables to TrigFlow that the
paper gives (section 3.1), so that the sampler of any consistency model serves it.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from streamgen.config import ModelSpec
from streamgen.errors import ConfigError
from streamgen.models.base import Conditioning
from streamgen.models.diffusion import DiffusionModel
from streamgen.models.lora import LoraScales, replace_layers
from streamgen.models.schedules import TrigFlowSchedule
from streamgen.settings import StreamSettings

__all__ = ["DenoisingTransformer", "SanaSprint", "scm_levels"]

_HIGHEST = 1.5708
_SECOND_OF_TWO = 1.3


class SanaSprint(DiffusionModel):
    """A transformer over the latents of a deep compression autoencoder, steered by a language model."""

    sides = (1024, 1024)
    half = "bfloat16"
    guides_itself = True
    default_guidance = 4.5

    def __init__(self, spec: ModelSpec, pipe: Any) -> None:
        super().__init__(spec, pipe)
        if spec.sampler != "auto":
            raise ConfigError("unknown_sampler", f"sana-sprint has one sampler, got {spec.sampler!r}", field="sampler")
        if spec.controlnet or spec.clip_skip or spec.embeddings:
            raise ConfigError(
                "unsupported_option", "sana-sprint takes no ControlNet, CLIP skip or textual inversion", field="model"
            )
        self.schedule = TrigFlowSchedule(scm_levels)
        self.unused_settings |= {"guidance_mode", "negative_prompt"}
        replace_layers(pipe.transformer, list(self.loras), self.lora_scales)
        self.conditioning_names = ("text", "mask", "guidance", *(("lora",) if self.loras else ()))
        self.network = DenoisingTransformer(pipe.transformer, self.conditioning_names, self.lora_scales)

    @property
    def channels(self) -> int:
        count: int = self.pipe.transformer.config.in_channels
        return count

    def encode_text(self, text: str) -> Conditioning:
        # The pipeline's own instruction to the language model stands in its signature, as a default.
        instruction = inspect.signature(type(self.pipe).__call__).parameters["complex_human_instruction"].default
        embedding, mask = self.pipe.encode_prompt(text, device=self.spec.device, complex_human_instruction=instruction)
        return {"text": embedding, "mask": mask.float()}  # it is mixed, and a share of a word is not a whole number

    def live_conditioning(self, settings: StreamSettings) -> Conditioning:
        scale = (settings.guidance or self.default_guidance) * self.pipe.transformer.config.guidance_embeds_scale
        return super().live_conditioning(settings) | {"guidance": torch.tensor(scale, device=self.spec.device)}


class DenoisingTransformer(nn.Module):
    """(x_t, t, text, mask, guidance) -> x_0 around diffusers' transformer, in units of the data's own deviation.

    Args:
        transformer: predicts a velocity.
        names: order of the conditioning.
        lora_scales: shared with the transformer's LoRA layers.
    """

    casts_inputs = True

    def __init__(self, transformer: Any, names: tuple[str, ...], lora_scales: LoraScales) -> None:
        super().__init__()
        self.transformer = transformer
        self._names = names
        self._lora_scales = lora_scales

    def forward(self, x_t: Tensor, t: Tensor, *cond: Tensor) -> Tensor:
        """x_t [B, C, h, w] and t [B] float32 in [0, pi/2]; text [B, N, D], mask [B, N], guidance [B]; x_0 float32."""
        given = dict(zip(self._names, cond, strict=True))
        kind = self.transformer.dtype
        cosine, sine = torch.cos(t).view(-1, 1, 1, 1), torch.sin(t).view(-1, 1, 1, 1)
        flow = torch.sin(t) / (torch.cos(t) + torch.sin(t))  # the flow model's time, 0 to 1
        s = flow.view(-1, 1, 1, 1)
        norm = torch.sqrt(s**2 + (1 - s) ** 2)
        scaled = (x_t * norm).to(kind)
        if "lora" in given:
            self._lora_scales.rows = given["lora"]
        velocity = self.transformer(
            scaled,
            encoder_hidden_states=given["text"].to(kind),
            encoder_attention_mask=(given["mask"] > 0).to(kind),  # a blend sees the words of all its prompts
            guidance=given["guidance"].to(kind),
            timestep=flow,
            return_dict=False,
        )[0].float()
        trig = ((1 - 2 * s) * scaled.float() + (1 - 2 * s + 2 * s**2) * velocity) / norm
        x_0: Tensor = cosine * x_t - sine * trig
        return x_0


def scm_levels(steps: int) -> list[float]:
    """Levels that the model was distilled for, from nearly pi/2 down: 1.3 is the second of two, else evenly spaced."""
    if steps == 2:
        return [_HIGHEST, _SECOND_OF_TWO]
    return [_HIGHEST * (steps - step) / steps for step in range(steps)]
