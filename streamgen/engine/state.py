"""Everything the engine keeps for one session, and nothing that two sessions share."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from streamgen.engine.conditioning import Transition
from streamgen.settings import FrameFormat, StreamSettings

__all__ = ["StreamState", "session_noise"]


@dataclass(slots=True)
class StreamState:
    """One session's tensors and settings.

    Args:
        format: fixes every shape below.
        settings: in force for the next frame.
        rev: their revision.
        noise: [S, C, h, w] float32, one slice per denoising step; the same for every frame, so that the picture
            does not boil.
        transition: from the conditioning of the last prompt to that of this one.
    """

    format: FrameFormat
    settings: StreamSettings
    rev: int
    noise: Tensor
    transition: Transition


def session_noise(seed: int, steps: int, shape: tuple[int, int, int], device: str) -> Tensor:
    """Standard normal noise [steps, C, h, w] that depends on ``seed`` alone.

    Drawn on the CPU so that a seed looks the same on every device.
    """
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((steps, *shape), generator=generator).to(device)
