"""The embedded model: one small image-to-image consistency network in pixel space, and words for its styles."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from streamgen.config import ModelSpec
from streamgen.models.base import Conditioning, Model
from streamgen.models.int8_graph import find_graph
from streamgen.models.prompt_encoder import PromptEncoder
from streamgen.models.schedules import TrigFlowSchedule
from streamgen.models.tiny_unet import TinyUNet
from streamgen.models.tiny_weights import load_network
from streamgen.models.user_styles import StyleFolder, core_identity
from streamgen.settings import Reading, StreamSettings

__all__ = ["TinyModel", "evenly_spaced"]

_SIDE = 256


def evenly_spaced(steps: int) -> list[float]:
    """Levels from pi/2 down, for `TrigFlowSchedule`."""
    return [math.pi / 2 * (steps - step) / steps for step in range(steps)]


class TinyModel(Model):
    """The embedded family: pixels are their own latents, a prompt mixes the styles of its file and of the user."""

    conditioning_names = ("strength", "style", "source")
    network: TinyUNet
    reads_negative = True
    needs_source = True
    unused_settings = frozenset({"guidance_mode", "loras", "control_scale", "reference_scale"})
    default_weights: ClassVar[Path] = Path(__file__).parent / "weights" / "tiny.safetensors"

    def __init__(self, spec: ModelSpec, network: TinyUNet, styles: Sequence[str]) -> None:
        self.spec = replace(spec, width=spec.width or _SIDE, height=spec.height or _SIDE)
        self.schedule = TrigFlowSchedule(evenly_spaced)
        self.network = network
        self.loras = {}
        self._built_in = PromptEncoder.load().for_styles(tuple(styles))
        self.own = StyleFolder(spec.styles, core_identity(network) if spec.styles else "", styles)
        self._take_up()

    @classmethod
    def load(cls, spec: ModelSpec) -> TinyModel:
        """Read `spec.weights`, or the packaged file. Raises WeightsError: `weights_missing`, `weights_corrupt`."""
        weights = spec.weights or cls.default_weights
        network, styles = load_network(weights)
        network.quantised = find_graph(weights, network)
        return cls(spec, network.to(spec.device), styles)

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        return 3, height, width

    def encode_prompt(self, text: str, loras: Mapping[str, float], negative: str = "") -> Conditioning:
        """{"style": [STYLE_WIDTH] float32}: the weighted sum of the styles' vectors that the text is read as."""
        shares = self.prompts.read(text, negative).styles
        weights = torch.tensor([shares.get(name, 0.0) for name in self.styles], device=self.spec.device)
        return {"style": weights @ self._vectors}

    def read_prompt(self, text: str, negative: str = "") -> Reading:
        return self.prompts.read(text, negative)

    def refresh(self) -> bool:
        changed = self.own.refresh()
        if changed:
            self._take_up()
        return changed

    def _take_up(self) -> None:
        """Put the user's styles behind the built-in ones."""
        own = self.own.styles
        self.styles = (*self._built_in.styles, *(style.name for style in own))
        self.prompts = self._built_in
        for style in own:
            self.prompts = self.prompts.with_style(style.name, [style.prompt] if style.prompt else [])
        table = self.network.styles
        self._vectors = torch.cat([table, *(style.vector.to(table)[None] for style in own)])

    def live_conditioning(self, settings: StreamSettings) -> Conditioning:
        """{"strength": [1] float32}: a noise level alone does not say how far to go once there are several steps."""
        return {"strength": torch.tensor([settings.strength], device=self.spec.device)}

    def source_conditioning(self, pixels: Tensor, latents: Tensor) -> Conditioning:
        return {"source": latents}
