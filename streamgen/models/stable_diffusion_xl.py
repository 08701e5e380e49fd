"""Stable Diffusion XL and what was distilled from it: SDXL-Turbo, Lightning, LCM-LoRA SDXL (Podell et al. 2023)."""

from __future__ import annotations

import torch
from torch import Tensor

from streamgen.models.base import Conditioning
from streamgen.models.stable_diffusion import StableDiffusion, encode_clip
from streamgen.models.text import weigh

__all__ = ["StableDiffusionXL"]


class StableDiffusionXL(StableDiffusion):
    """A larger UNet, steered by two CLIP text encoders, a pooled embedding and the picture's size."""

    sides = (512, 512)

    @property
    def text_names(self) -> tuple[str, ...]:
        return ("keys_values", "pooled", "time_ids")

    def encode_text(self, text: str) -> Conditioning:
        """The last state but one of both encoders side by side, without a closing norm; pooled is the second's."""
        pipe = self.pipe
        states, pooled = [], None
        for tokenizer, encoder in ((pipe.tokenizer, pipe.text_encoder), (pipe.tokenizer_2, pipe.text_encoder_2)):
            result, weights = encode_clip(pipe, tokenizer, encoder, text)
            states.append(weigh(result.hidden_states[-2 - self.spec.clip_skip], weights))
            pooled = result.text_embeds if hasattr(result, "text_embeds") else pooled
        assert pooled is not None
        return self.with_keys_values(torch.cat(states, dim=-1)) | {"pooled": pooled}

    def source_conditioning(self, pixels: Tensor, latents: Tensor) -> Conditioning:
        """``time_ids``: the size that the picture has, the corner of its crop, and the size that it shall have."""
        rows, _, height, width = pixels.shape
        sides = (height, width, 0, 0, height, width)
        # Filled on the device: a list would be uploaded, which a CUDA graph cannot record.
        ids = torch.stack([pixels.new_full((rows,), float(side)) for side in sides], dim=1)
        return super().source_conditioning(pixels, latents) | {"time_ids": ids}
