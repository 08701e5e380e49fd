"""Stable Diffusion 1.x and 2.x and what was distilled from them: SD-Turbo, LCM, Lightning, Hyper-SD, PCM.

The network is a UNet that predicts noise, x_0 or v (Rombach et al. 2022); what it predicts is turned into x_0 here, so
the engine sees a consistency function.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from streamgen.config import ModelSpec
from streamgen.frames import Pixels
from streamgen.models.attention import arrange_attention
from streamgen.models.base import Conditioning
from streamgen.models.control import Control
from streamgen.models.diffusion import DiffusionModel, choose_scheduler, variance_schedule
from streamgen.models.image_prompt import ImagePrompt
from streamgen.models.lora import LoraScales, replace_layers
from streamgen.models.text import parse_weights, tokenise, weigh
from streamgen.settings import StreamSettings

__all__ = ["DenoisingUNet", "StableDiffusion", "encode_clip"]

_LCM_GUIDANCE = 8.5
_SIGMA_DATA, _TIMESTEP_SCALING = 0.5, 10.0


class StableDiffusion(DiffusionModel):
    """A UNet over latents, steered by one CLIP text encoder."""

    sides = (512, 512)

    def __init__(self, spec: ModelSpec, pipe: Any) -> None:
        super().__init__(spec, pipe)
        scheduler = choose_scheduler(spec.sampler, pipe)
        self.sampler = scheduler.sampler
        self.schedule = variance_schedule(scheduler, pipe, spec.device)
        self.guides_itself = pipe.unet.config.time_cond_proj_dim is not None
        if self.guides_itself:
            self.default_guidance = _LCM_GUIDANCE
            self.unused_settings |= {"guidance_mode", "negative_prompt"}
        replace_layers(pipe.unet, list(self.loras), self.lora_scales)
        self.image_prompt = ImagePrompt(pipe) if spec.ip_adapter else None
        self.takes_reference = self.image_prompt is not None
        tokens = self.image_prompt.tokens if self.image_prompt else 0
        self._keys_values = arrange_attention(pipe.unet, fuse=not self.loras, image_tokens=tokens)
        self.control = Control.load(spec, getattr(torch, self.dtype)) if spec.controlnet else None
        self.conditioning_names = self._names()
        self.network = DenoisingUNet(
            pipe.unet,
            pipe.scheduler.alphas_cumprod.float().to(spec.device),
            pipe.scheduler.config.prediction_type,
            self.conditioning_names,
            boundary=scheduler.boundary,
            lora_scales=self.lora_scales,
            controlnet=self.control.network if self.control else None,
            image_values=self.image_prompt.is_value if self.image_prompt else None,
        )

    def _names(self) -> tuple[str, ...]:
        """Conditioning that the network takes, in order."""
        optional = {
            "guidance_embedding": self.guides_itself,
            "lora": bool(self.loras),
            "image_keys_values": self.takes_reference,
            "reference_scale": self.takes_reference,
            "text": self.control is not None,
            "control": self.control is not None,
            "control_scale": self.control is not None,
        }
        return (*self.text_names, *(name for name, used in optional.items() if used))

    @property
    def text_names(self) -> tuple[str, ...]:
        """Conditioning that every prompt gives the UNet."""
        return ("keys_values",)

    @property
    def channels(self) -> int:
        count: int = self.pipe.unet.config.in_channels
        return count

    def encode_text(self, text: str) -> Conditioning:
        encoder, skip = self.pipe.text_encoder, self.spec.clip_skip
        result, weights = encode_clip(self.pipe, self.pipe.tokenizer, encoder, text)
        if not skip:
            return self.with_keys_values(weigh(result.last_hidden_state, weights))
        # A layer's state lacks the norm that closes the network. transformers 5 has it one floor higher than 4 had.
        norm = getattr(encoder, "text_model", encoder).final_layer_norm
        return self.with_keys_values(weigh(norm(result.hidden_states[-1 - skip]), weights))

    def with_keys_values(self, text: Tensor) -> Conditioning:
        """A text embedding [1, N, D] and what the UNet makes of it; a ControlNet has attention of its own."""
        cond = {"keys_values": self._keys_values(text.to(self.pipe.unet.dtype))}
        return cond | {"text": text} if self.control else cond

    def live_conditioning(self, settings: StreamSettings) -> Conditioning:
        cond = super().live_conditioning(settings)
        if self.guides_itself:
            scale = torch.tensor([(settings.guidance or self.default_guidance) - 1])
            width = self.pipe.unet.config.time_cond_proj_dim
            embedding = self.pipe.get_guidance_scale_embedding(scale, embedding_dim=width)
            cond["guidance_embedding"] = embedding[0].to(self.spec.device)
        if self.control:
            cond["control_scale"] = torch.tensor(settings.control_scale, device=self.spec.device)
        if self.takes_reference:
            cond["reference_scale"] = torch.tensor(settings.reference_scale, device=self.spec.device)
        return cond

    def reference_conditioning(self, pixels: Pixels | None) -> tuple[Conditioning, Conditioning]:
        if self.image_prompt is None:
            return {}, {}
        seen = self.image_prompt.encode(pixels)
        # Guidance steers away from a picture of nothing, as diffusers has it, where there is a picture.
        away = seen if pixels is None else self.image_prompt.blank
        return {"image_keys_values": seen}, {"image_keys_values": away}

    def source_conditioning(self, pixels: Tensor, latents: Tensor) -> Conditioning:
        return {"control": self.control.see(pixels)} if self.control else {}


class DenoisingUNet(nn.Module):
    """(x_t, t, *cond) -> x_0 around diffusers' UNet. float32 outside, the UNet's own precision inside: at high noise
    alpha is small, and x_0 = (x_t - sigma eps) / alpha would magnify what a half-precision x_t has lost.

    Args:
        unet: predicts.
        alphas_cumprod: [T] float32.
        prediction: what it predicts: ``epsilon``, ``sample`` or ``v_prediction``.
        names: order of the conditioning: some of ``keys_values``, ``pooled``, ``time_ids``, ``text``,
            ``guidance_embedding``, ``lora``, ``image_keys_values``, ``reference_scale``, ``control``,
            ``control_scale``.
        boundary: mix with x_t as latent consistency models do.
        lora_scales: shared with the UNet's LoRA layers.
        controlnet: adds to the UNet's residuals what it sees in ``control``.
        image_values: which channels of ``image_keys_values`` are values.
    """

    casts_inputs = True
    alphas_cumprod: Tensor
    image_values: Tensor | None

    def __init__(
        self,
        unet: Any,
        alphas_cumprod: Tensor,
        prediction: str,
        names: tuple[str, ...],
        *,
        boundary: bool,
        lora_scales: LoraScales,
        controlnet: nn.Module | None = None,
        image_values: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.unet = unet
        self.controlnet = controlnet
        self.register_buffer("alphas_cumprod", alphas_cumprod, persistent=False)
        self.register_buffer("image_values", image_values, persistent=False)
        self._prediction = prediction
        self._names = names
        self._boundary = boundary
        self._lora_scales = lora_scales

    def forward(self, x_t: Tensor, t: Tensor, *cond: Tensor) -> Tensor:
        """x_t [B, C, h, w] and t [B] float32, conditioning in the order of ``names``; x_0 [B, C, h, w] float32."""
        kind = self.unet.dtype
        given = {
            name: tensor if tensor.dim() == 1 else tensor.to(kind)
            for name, tensor in zip(self._names, cond, strict=True)
        }
        predicted = self._predict(x_t.to(kind, memory_format=torch.channels_last), t, given).float()
        return self._x_0(x_t, t, predicted)

    def _predict(self, x_t: Tensor, t: Tensor, given: dict[str, Tensor]) -> Tensor:
        added = {
            name: given[key] for key, name in (("pooled", "text_embeds"), ("time_ids", "time_ids")) if key in given
        }
        arguments: dict[str, Any] = {"added_cond_kwargs": added or None, "return_dict": False}
        residuals: dict[str, Any] = {}
        if self.controlnet is not None:
            scale = given["control_scale"].to(x_t.dtype).view(-1, 1, 1, 1)
            down, middle = self.controlnet(x_t, t, given["text"], controlnet_cond=given["control"], **arguments)
            residuals = {
                "down_block_additional_residuals": [scale * residual for residual in down],
                "mid_block_additional_residual": scale * middle,
            }
        keys_values = given["keys_values"]
        if self.image_values is not None:
            scale = given["reference_scale"].to(x_t.dtype).view(-1, 1, 1)
            image = given["image_keys_values"]
            keys_values = torch.cat([keys_values, torch.where(self.image_values, image * scale, image)], dim=1)
        if "lora" in given:
            self._lora_scales.rows = given["lora"]
        predicted: Tensor = self.unet(
            x_t, t, keys_values, timestep_cond=given.get("guidance_embedding"), **arguments, **residuals
        )[0]
        return predicted

    def _x_0(self, x_t: Tensor, t: Tensor, predicted: Tensor) -> Tensor:
        alpha_squared = self.alphas_cumprod[t.long()].view(-1, 1, 1, 1)
        alpha, sigma = alpha_squared.sqrt(), (1 - alpha_squared).sqrt()
        if self._prediction == "epsilon":
            x_0 = (x_t - sigma * predicted) / alpha
        elif self._prediction == "v_prediction":
            x_0 = alpha * x_t - sigma * predicted
        else:
            x_0 = predicted
        if not self._boundary:
            return x_0
        # Luo et al. 2023, appendix C, with the scaling of their code: c_skip vanishes but for the lowest levels.
        scaled = (t * _TIMESTEP_SCALING).view(-1, 1, 1, 1)
        variance = scaled**2 + _SIGMA_DATA**2
        return scaled / variance.sqrt() * x_0 + _SIGMA_DATA**2 / variance * x_t


def encode_clip(pipe: Any, tokenizer: Any, encoder: Any, text: str) -> tuple[Any, Tensor]:
    """What a CLIP text encoder makes of a prompt, all hidden states included, and the weight of each token [1, 77]."""
    prompt = pipe.maybe_convert_prompt(text, tokenizer)  # names of textual inversions to their tokens
    ids, weights = tokenise(tokenizer, parse_weights(prompt))
    return encoder(ids.to(encoder.device), output_hidden_states=True), weights.to(encoder.device)
