"""The training loop: one vector learns what the core has to be given to paint like one painting."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from streamgen.errors import ConfigError
from streamgen.models.tiny_unet import TinyUNet
from streamgen.models.user_styles import within_range
from streamgen.training.average import follow
from streamgen.training.data import to_tensor
from streamgen.training.features import Features
from streamgen.training.losses import Taps, grid_distance, temporal_distance
from streamgen.training.painting import painting_loss
from streamgen.training.plan import Plan
from streamgen.training.schedule import ramp_and_cool
from streamgen.training.style.render import paint
from streamgen.training.style.sources import Sources

__all__ = ["Lesson", "Run", "check_sound", "new_run", "train_step"]

_BATCH = 3
_CROP = 192
_PEAK_RATE = 0.02
_GRID_WEIGHT = 2.0
_TEMPORAL_WEIGHT = 1.0
_SENSOR_NOISE = 0.06
_MAX_SHIFT = 2
_LIGHTING = 0.06
_KEEP = 0.98
_MEMORY = 0.97
_LONGEST_STEP_S = 10.0


class _Vector(nn.Module):
    """The only thing that learns."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.value = nn.Parameter(start.clone())


@dataclass(slots=True)
class Run:
    """Everything that changes while training.

    Args:
        task: what is learned from what; a checkpoint of another one cannot be resumed.
        learning: the vector that learns.
        average: its exponential moving average: what is shown and shipped.
        optimizer: Adam over it.
        random: the source of every draw.
        step: steps done.
        trained_s: seconds spent in steps, pauses of the process left out.
        loss: running mean.
    """

    task: str
    learning: _Vector
    average: _Vector
    optimizer: torch.optim.Adam
    random: np.random.Generator
    step: int = 0
    trained_s: float = 0.0
    loss: float | None = None

    @property
    def vector(self) -> Tensor:
        """What was learned: [STYLE_WIDTH]."""
        return self.average.value.detach()


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a run learns from.

    Args:
        network: the core, which stays as it is.
        features: look at the pictures.
        wanted: the painting, [1, C, C] by tap.
        sources: the pictures to paint.
        style_weight: how much the painting counts beside them.
    """

    network: TinyUNet
    features: Features
    wanted: Taps
    sources: Sources
    style_weight: float = 1.0


def new_run(task: str, start: Tensor, seed: int) -> Run:
    """A run at step 0 that begins at the vector ``start`` [STYLE_WIDTH], on its device."""
    learning, average = _Vector(start), _Vector(start).requires_grad_(False)
    optimizer = torch.optim.Adam(learning.parameters(), betas=(0.9, 0.99))
    return Run(task, learning, average, optimizer, np.random.default_rng(seed))


def train_step(run: Run, lesson: Lesson, plan: Plan) -> None:
    """Paint one batch, take one optimiser step and update the averaged vector in place.

    The last row is a twin of the first: the next frame of the same video, moved by up to two pixels, in other light,
    with new sensor noise and the same z.

    Raises:
        ConfigError: ``training_diverged``; the run cannot be used any more.
    """
    began_s = time.monotonic()
    device = run.learning.value.device
    generator = torch.Generator().manual_seed(int(run.random.integers(2**62)))
    clean = to_tensor([_crop(lesson.sources.draw(run.random), run.random) for _ in range(_BATCH)])
    shift = (
        int(run.random.integers(-_MAX_SHIFT, _MAX_SHIFT + 1)),
        int(run.random.integers(-_MAX_SHIFT, _MAX_SHIFT + 1)),
    )
    twin = torch.roll(clean[:1], shift, dims=(2, 3)) * (1 + run.random.uniform(-_LIGHTING, _LIGHTING))
    clean = torch.cat([clean, twin])
    noise = torch.randn((_BATCH, *clean.shape[1:]), generator=generator)
    grain = torch.randn(clean.shape, generator=generator) * run.random.uniform(0, _SENSOR_NOISE)
    source, clean = (clean + grain).to(device), clean[:_BATCH].to(device)
    picture = paint(lesson.network, run.learning.value, source, torch.cat([noise, noise[:1]]).to(device))
    loss = _judge(lesson, picture, clean, shift)
    for group in run.optimizer.param_groups:
        group["lr"] = _PEAK_RATE * ramp_and_cool(run.step, plan.done(run))
    run.optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    run.optimizer.step()
    follow(run.average, run.learning, run.step, _KEEP)
    run.step += 1
    value = float(loss.detach())
    run.loss = value if run.loss is None else _MEMORY * run.loss + (1 - _MEMORY) * value
    # A process that was stopped and continued must not believe that it trained meanwhile.
    run.trained_s += min(time.monotonic() - began_s, _LONGEST_STEP_S)
    check_sound(run)


def check_sound(run: Run) -> None:
    """Raises `ConfigError` ``training_diverged`` when the run has numbers that no style may have."""
    learned = all(within_range(vector.value.detach()) for vector in (run.learning, run.average))
    if not learned or (run.loss is not None and not math.isfinite(run.loss)):
        fact = f"the training diverged at step {run.step}, with a loss of {run.loss}"
        hint = "what was saved before stays; try another --seed or a lower --style-weight"
        raise ConfigError("training_diverged", f"{fact}: {hint}", field="style_weight")


def _judge(lesson: Lesson, picture: Tensor, clean: Tensor, shift: tuple[int, int]) -> Tensor:
    """The loss of pictures [B + 1, 3, H, W] of clean sources [B, 3, H, W], the last a twin of the first."""
    first = picture[: len(clean)]
    wanted = {tap: gram.expand(len(clean), -1, -1) for tap, gram in lesson.wanted.items()}
    painted = painting_loss(lesson.features, first, clean, wanted, lesson.style_weight).mean()
    steady = temporal_distance(picture[:1], picture[len(clean) :], [shift]).mean()
    return painted + _GRID_WEIGHT * grid_distance(first, clean).mean() + _TEMPORAL_WEIGHT * steady


def _crop(photo: np.ndarray, random: np.random.Generator) -> np.ndarray:
    top, left = (int(random.integers(side - _CROP + 1)) for side in photo.shape[:2])
    return photo[top : top + _CROP, left : left + _CROP]
