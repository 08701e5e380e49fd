"""IP-Adapter: a picture as a prompt (Ye et al. 2023).

The adapter attends to the picture's tokens beside the text's, with keys and values of its own, and adds the result.
Both depend on the picture alone, so they are computed once. The adapter's scale multiplies what is added, which is
linear in the values: scaling them is the same thing, so the scale is a live value of each row. No picture is all values
zero.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from streamgen.errors import WeightsError
from streamgen.frames import Pixels

__all__ = ["ImagePrompt", "load_adapter"]


class ImagePrompt:
    """What ``load_adapter`` put into a pipeline, taken out of its UNet again.

    Args:
        pipe: a pipeline with an IP-Adapter; its UNet forgets about it.
    """

    def __init__(self, pipe: Any) -> None:
        unet = pipe.unet
        self._encoder, self._extractor = pipe.image_encoder, pipe.feature_extractor
        self._projection = unet.encoder_hid_proj.image_projection_layers[0]
        blocks = [block for block in unet.modules() if type(block).__name__ == "BasicTransformerBlock"]
        processors = [block.attn2.processor for block in blocks]
        self._layers = [(each.to_k_ip[0], each.to_v_ip[0]) for each in processors]
        unet.encoder_hid_proj = None
        unet.register_to_config(encoder_hid_dim_type=None)
        self.blank = self._blank()
        """What the adapter makes of an embedding of zeros, [tokens, sum of 2 C]."""
        self.tokens = len(self.blank)
        """How many the picture becomes."""
        self._nothing = torch.zeros_like(self.blank)
        self.is_value = torch.cat(
            [
                torch.full((layer.out_features,), kind, device=unet.device)
                for pair in self._layers
                for layer, kind in zip(pair, (False, True), strict=True)
            ]
        )
        """[sum of 2 C] bool: which of the packed channels are values."""

    def encode(self, pixels: Pixels | None) -> Tensor:
        """Packed keys and values [tokens, sum of 2 C] of a picture uint8 [H, W, 3] of any size; zeros for none."""
        if pixels is None:
            return self._nothing
        tensor = self._extractor(pixels, return_tensors="pt", input_data_format="channels_last").pixel_values
        return self._keys_values(self._embed(tensor.to(self._encoder.device)))[0]

    @torch.no_grad()
    def _embed(self, pixels: Tensor) -> Tensor:
        """The embedding that the adapter projects: one, or for all but the plain adapter one for every patch."""
        seen = self._encoder(pixels.to(self._encoder.dtype), output_hidden_states=True)
        plain = type(self._projection).__name__ == "ImageProjection"
        embedding: Tensor = seen.image_embeds if plain else seen.hidden_states[-2]
        return embedding

    @torch.no_grad()
    def _keys_values(self, embedding: Tensor) -> Tensor:
        tokens = self._projection(embedding)
        return torch.cat([layer(tokens) for pair in self._layers for layer in pair], dim=-1)

    def _blank(self) -> Tensor:
        side: int = self._encoder.config.image_size
        black = torch.zeros((1, 3, side, side), device=self._encoder.device)
        # Of the patches diffusers takes what the encoder makes of a black picture, of the one embedding zeros.
        embedding = self._embed(black)
        return self._keys_values(torch.zeros_like(embedding) if embedding.dim() == 2 else embedding)[0]


def load_adapter(pipe: Any, source: str) -> None:
    """Load ``source``: a safetensors file with its ``image_encoder`` folder beside it, here or as ``OWNER/REPO/PATH``.

    Raises:
        WeightsError: ``ip_adapter_unusable``.
    """
    path = Path(source)
    if path.is_file():
        where, folder, name = str(path.parent), "", path.name
    else:
        parts = PurePosixPath(source).parts
        where, folder, name = "/".join(parts[:2]), "/".join(parts[2:-1]), parts[-1]
    if not name.endswith(".safetensors"):
        raise WeightsError(
            "ip_adapter_unusable", f"an IP-Adapter is a safetensors file, got {source!r}", field="ip_adapter"
        )
    try:
        pipe.load_ip_adapter(where, subfolder=folder, weight_name=name)
    except (OSError, ValueError, KeyError, RuntimeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(
            "ip_adapter_unusable", f"the IP-Adapter {source} cannot be used: {reason}", field="ip_adapter"
        ) from error
