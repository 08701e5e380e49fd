"""Everything the engine keeps for one session, and nothing that two sessions share."""

from __future__ import annotations

import math
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from streamgen.effects.similarity import SimilarityFilter
from streamgen.engine.conditioning import Transition
from streamgen.engine.pipeline import Pipeline
from streamgen.frames import Pixels
from streamgen.models.base import Conditioning
from streamgen.settings import FrameFormat, StreamSettings

__all__ = ["NextFormat", "NoiseTravel", "Opened", "Seen", "StreamState", "session_noise"]


class NoiseTravel:
    """The noise of a session: still, or on its way from seed to seed.

    Args:
        seed: where it starts.
        speed: seeds per second; 0 stays at the first.
        start_s: the clock when it starts, seconds.
        steps: slices, one for each denoising step.
        shape: of the latents, (C, h, w).
        device: where the noise is wanted.
    """

    def __init__(
        self, seed: int, speed: float, start_s: float, steps: int, shape: tuple[int, int, int], device: str
    ) -> None:
        self._seed = seed
        self._speed = speed
        self._start_s = start_s
        self._drawn: dict[int, Tensor] = {}
        self._shape = (steps, shape, device)

    def at(self, now_s: float) -> Tensor:
        """[S, C, h, w] float32 of unit variance: between two seeds, both on a quarter circle."""
        travelled = self._speed * max(0.0, now_s - self._start_s)
        first, part = int(travelled), travelled - int(travelled)
        wanted = [first] if part == 0 else [first, first + 1]
        self._drawn = {index: self._drawn[index] if index in self._drawn else self._draw(index) for index in wanted}
        if part == 0:
            return self._drawn[first]
        angle = part * math.pi / 2
        return math.cos(angle) * self._drawn[first] + math.sin(angle) * self._drawn[first + 1]

    def _draw(self, index: int) -> Tensor:
        steps, shape, device = self._shape
        return session_noise((self._seed + index) % 2**32, steps, shape, device)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a matte was made of.

    Args:
        size: height and width of the frame as it was sent.
        picture: [3, h, w] in [-1, 1], the frame squeezed to the size of the matte's network.
        matte: [1, h, w] in [0, 1], steadied.
    """

    size: tuple[int, int]
    picture: Tensor
    matte: Tensor


@dataclass(slots=True)
class StreamState:
    """One session's tensors and settings.

    Args:
        format: fixes every shape below.
        settings: in force for the next frame.
        rev: their revision.
        noise: one slice per denoising step; the same for every frame unless it travels, so that the picture does not
            boil.
        transition: from the conditioning of the last prompt to that of this one.
        negative: conditioning of the negative prompt.
        live: conditioning made from the other settings.
        reference: conditioning made from the session's reference picture.
        unreferred: the same for what guidance steers away from.
        pipeline: frames part of the way down, when steps are pipelined.
        last: latents (source, output) of the frame before, [C, h, w] each; what feedback holds on to.
        seen: what the matte of the frame before was made of; None where there was none.
        similarity: which frames need not be computed.
    """

    format: FrameFormat
    settings: StreamSettings
    rev: int
    noise: NoiseTravel
    transition: Transition
    negative: Conditioning
    live: Conditioning
    reference: Conditioning
    unreferred: Conditioning
    pipeline: Pipeline = field(default_factory=Pipeline)
    last: tuple[Tensor, Tensor] | None = None
    seen: Seen | None = None
    similarity: SimilarityFilter = field(default_factory=SimilarityFilter)

    def forget_frames(self) -> None:
        """Compute the next frame as if it were the first."""
        self.pipeline, self.last, self.seen = Pipeline(), None, None
        self.similarity.forget()

    def arrive(self) -> None:
        """Be at the end of the transition."""
        self.transition = Transition(self.transition.end, self.transition.end)


@dataclass(slots=True)
class NextFormat:
    """A format that is being prepared; it can be taken over when the networks in ``waits_for`` are ready or failed."""

    format: FrameFormat
    waits_for: list[Future[Any]]


@dataclass(slots=True)
class Opened:
    """An open session.

    Args:
        state: its tensors and settings.
        since_s: the clock when its seed began to travel.
        reference: the picture that it is steered by, uint8 [H, W, 3]; another model has to look at it anew.
        next: the format that it will have.
    """

    state: StreamState
    since_s: float
    reference: Pixels | None = None
    next: NextFormat | None = None


def session_noise(seed: int, steps: int, shape: tuple[int, int, int], device: str) -> Tensor:
    """Standard normal noise [steps, C, h, w] that depends on ``seed`` alone.

    Drawn on the CPU so that a seed looks the same on every device.
    """
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((steps, *shape), generator=generator).to(device)
