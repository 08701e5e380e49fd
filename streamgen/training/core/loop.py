"""The training loop: draw examples, imitate the teachers, step, average."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from streamgen.errors import ConfigError
from streamgen.models.tiny import TinyUNet
from streamgen.training.core.checkpoint import Run
from streamgen.training.core.examples import Examples, compose, draw_examples
from streamgen.training.core.recipe import STYLES
from streamgen.training.core.teachers import Teachers
from streamgen.training.data import Photos
from streamgen.training.features import Features
from streamgen.training.losses import (
    grams,
    imitation_loss,
    structure_distance,
    temporal_distance,
    texture_distance,
)

__all__ = ["Lesson", "Plan", "School", "train_step"]

_BATCH = 5
_TWINS = 2
_TEMPORAL_WEIGHT = 0.6
_PEAK_RATE = 1.2e-3
_LAST_RATE = 2e-5
_WARM_UP_STEPS = 100
_COOL_DOWN_FROM = 0.65
_GRADIENT_NORM = 1.0
_LONGEST_STEP_S = 10.0
_AVERAGE = 0.997
_MEMORY = 0.98
_CRISP = torch.tensor([float(style.teacher == "classical") for style in STYLES])


@dataclass(frozen=True, slots=True)
class Plan:
    """When to stop: after `steps` steps or `minutes` of training, whichever comes first."""

    steps: int
    minutes: float

    def done(self, run: Run) -> float:
        """The share of the plan that is behind the run; 1 or more when it is over."""
        return max(run.step / self.steps, run.trained_s / 60 / self.minutes)

    def rate(self, run: Run) -> float:
        """Learning rate: a short ramp, a plateau, then a cosine down to almost nothing."""
        ramp = min(1.0, (run.step + 1) / _WARM_UP_STEPS)
        late = min(1.0, max(0.0, (self.done(run) - _COOL_DOWN_FROM) / (1 - _COOL_DOWN_FROM)))
        return ramp * (_LAST_RATE + (_PEAK_RATE - _LAST_RATE) * (1 + math.cos(math.pi * late)) / 2)


@dataclass(frozen=True, slots=True)
class School:
    """What a run learns from."""

    photos: Photos
    teachers: Teachers
    features: Features

    @classmethod
    def open(cls, data: Path) -> School:
        """Read the data folder. Raises `ConfigError` when something is missing."""
        photos = Photos(data, "train")
        try:
            features = Features(data / "features" / "squeezenet_v1_0_dc.npz")
            return cls(photos, Teachers(data), features)
        except FileNotFoundError as error:
            raise ConfigError("data_missing", f"no {error.filename}", field="data") from error


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one step showed: the losses by style and the temporal distance."""

    losses: dict[str, float]
    temporal: float


def train_step(run: Run, school: School, plan: Plan) -> Lesson:
    """Draw one batch, take one optimiser step and update the averaged weights in place."""
    began_s = time.monotonic()
    examples = draw_examples(school.photos, school.teachers, run.random, _BATCH, _TWINS)
    x_t, goal = compose(examples)
    picture = _render(run.network, x_t, examples.t, examples.style, examples.source)
    losses = _judge(school.features, picture, goal, _CRISP[examples.style])
    twins = examples.twins
    temporal = temporal_distance(picture[:twins], picture[-twins:], examples.shift).mean()
    _descend(run, losses.mean() + _TEMPORAL_WEIGHT * temporal, plan.rate(run))
    run.step += 1
    # A process that was stopped and continued must not believe that it trained meanwhile.
    run.trained_s += min(time.monotonic() - began_s, _LONGEST_STEP_S)
    return _remember(run, examples, losses.detach(), float(temporal.detach()))


def _render(network: TinyUNet, x_t: Tensor, t: Tensor, style: Tensor, source: Tensor) -> Tensor:
    x_t, source = (x.contiguous(memory_format=torch.channels_last) for x in (x_t, source))
    with torch.autocast("cpu", torch.bfloat16):
        picture: Tensor = network(x_t, t, network.styles[style], source)
    return picture.float()


def _judge(features: Features, picture: Tensor, goal: Tensor, crisp: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        taps = features(picture)
        found = grams(taps)
        with torch.no_grad():
            goal_taps = features(goal)
            wanted = grams(goal_taps)
    texture, structure = texture_distance(found, wanted), structure_distance(taps, goal_taps)
    return imitation_loss(picture, goal, texture, structure, crisp)


def _descend(run: Run, loss: Tensor, rate: float) -> None:
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    run.optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(run.network.parameters(), _GRADIENT_NORM)
    run.optimizer.step()
    keep = min(_AVERAGE, (run.step + 1) / (run.step + 10))
    with torch.no_grad():
        for mean, value in zip(run.average.parameters(), run.network.parameters(), strict=True):
            mean.lerp_(value, 1 - keep)


def _remember(run: Run, examples: Examples, losses: Tensor, temporal: float) -> Lesson:
    seen = {STYLES[i].name: loss for i, loss in zip(examples.style.tolist(), losses.tolist(), strict=True)}
    for name, loss in seen.items():
        run.losses[name] = _MEMORY * run.losses.get(name, loss) + (1 - _MEMORY) * loss
    return Lesson(seen, temporal)
