"""Pictures larger than the model paints: which sizes the upscaler is needed at for a format, and its network."""

from __future__ import annotations

import torch
from torch import Tensor

from streamgen.models.upscaler import FACTOR, Upscaler, load_upscaler
from streamgen.settings import FrameFormat

__all__ = ["enlarge_example", "enlargements", "sizes_of", "upscaler"]


def enlargements(format: FrameFormat) -> list[tuple[int, int]]:
    """Height and width of every picture on the way from what the model paints to the output, without the output: each
    is enlarged to the next. Empty when the model paints the output itself."""
    divisors = [FACTOR**power for power in (2, 1) if FACTOR**power <= format.upscale]
    return [(format.height // divisor, format.width // divisor) for divisor in divisors]


def sizes_of(format: FrameFormat) -> set[tuple[int, int]]:
    """Height and width of every network input that the format needs."""
    return {(format.painted.height, format.painted.width), *enlargements(format)}


def upscaler(device: str) -> Upscaler:
    """The embedded one, on ``device``. Raises WeightsError: ``weights_missing``, ``weights_corrupt``."""
    return load_upscaler().to(device)


def enlarge_example(batch: int, height: int, width: int, device: str) -> tuple[Tensor, ...]:
    """The upscaler's input of this exact shape, with harmless values."""
    return (torch.zeros((batch, height, width, 3), dtype=torch.uint8, device=device),)
