"""A model small enough to compute by hand: every output says which source, prompt, noise and timestep made it."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from streamgen.backends.eager import EagerBackend
from streamgen.config import ModelSpec
from streamgen.engine.engine import Engine
from streamgen.engine.select import BackendReport
from streamgen.models.base import Conditioning, Model
from streamgen.settings import Reading


class ToyNetwork(nn.Module):
    """cos(t) x_t + sin(t) tanh(source + colour), so that f(x, 0) = x."""

    def forward(self, x_t: Tensor, t: Tensor, colour: Tensor, source: Tensor) -> Tensor:
        alpha, sigma = torch.cos(t).view(-1, 1, 1, 1), torch.sin(t).view(-1, 1, 1, 1)
        return alpha * x_t + sigma * (0.9 * torch.tanh(source + colour[:, :, None, None]) + 0.1 * x_t)


class ToySchedule:
    """TrigFlow."""

    def alpha(self, t: Tensor) -> Tensor:
        return torch.cos(t)

    def sigma(self, t: Tensor) -> Tensor:
        return torch.sin(t)

    def timesteps(self, steps: int, strength: float) -> list[float]:
        start = strength * torch.pi / 2
        return [start * (steps - step) / steps for step in range(steps)] if strength > 0 else []

    def start(self, source: Tensor | None, noise: Tensor, t: Tensor) -> Tensor:
        if source is None:
            return noise
        return self.alpha(t).view(-1, 1, 1, 1) * source + self.sigma(t).view(-1, 1, 1, 1) * noise


class ToyModel(Model):
    """Prompts are colours by checksum."""

    conditioning_names = ("colour", "source")

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.network = ToyNetwork()
        self.schedule = ToySchedule()
        self.styles = ("red", "blue")
        self.prompts_encoded = 0
        self.loras = {}

    @classmethod
    def load(cls, spec: ModelSpec) -> ToyModel:
        return cls(spec)

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        return 3, height, width

    def encode_prompt(self, text: str, loras: Mapping[str, float], negative: str = "") -> Conditioning:
        self.prompts_encoded += 1
        generator = torch.Generator().manual_seed(zlib.crc32(text.encode()))
        return {"colour": torch.randn(3, generator=generator)}

    def read_prompt(self, text: str, negative: str = "") -> Reading:
        return Reading(1.0, {text: 1.0})

    def source_conditioning(self, pixels: Tensor, latents: Tensor) -> Conditioning:
        return {"source": latents}


def toy_engine(max_batch: int = 4, max_steps: int = 4) -> Engine:
    model = ToyModel(ModelSpec(family="toy", max_batch=max_batch, max_steps=max_steps))
    backend = EagerBackend("cpu", "float32", 1)
    report = BackendReport("eager", "float32", "asked for")
    return Engine(model, backend, report, max_batch, wait_for_compilation=True)
