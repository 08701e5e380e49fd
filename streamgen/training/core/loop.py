"""The training loop: draw examples, imitate the teachers, step, average."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from streamgen.errors import ConfigError
from streamgen.training.core.examples import Examples, draw_examples, goal_of, question
from streamgen.training.core.recipe import STYLES
from streamgen.training.core.state import CoreRun
from streamgen.training.core.teachers import Teachers
from streamgen.training.data import Photos
from streamgen.training.descent import descend, running_mean
from streamgen.training.features import Features
from streamgen.training.losses import (
    grams,
    imitation_loss,
    sameness,
    structure_distance,
    temporal_distance,
    texture_distance,
)
from streamgen.training.plan import Plan
from streamgen.training.schedule import ramp_and_cool

__all__ = ["Lesson", "School", "rate", "train_step"]

_BATCH = 5
_TWINS = 2
_SIBLINGS = 1
_TEMPORAL_WEIGHT = 0.8
_SAMENESS_WEIGHT = 0.5
_STROKES_VARY = 0.08
_BALANCE = 0.8
_LEAST_LOSS = 0.05
_PEAK_RATE = 1.5e-3
_GRADIENT_NORM = 1.0
_AVERAGE = 0.997
_MEMORY = 0.98
_CRISP = torch.tensor([float(style.crisp) for style in STYLES])


@dataclass(frozen=True, slots=True)
class School:
    """What a run learns from."""

    photos: Photos
    teachers: Teachers
    features: Features

    @classmethod
    def open(cls, data: Path, out: Path) -> School:
        """Read the data folder, and our own teachers where `out` has them already.

        Raises `ConfigError` when something is missing.
        """
        photos = Photos(data, "train")
        try:
            features = Features(data / "features" / "squeezenet_v1_0_dc.npz")
            return cls(photos, Teachers(data, out / "painters.safetensors", out / "bank"), features)
        except FileNotFoundError as error:
            raise ConfigError("data_missing", f"no {error.filename}", field="data") from error


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one step showed: the losses by style, the temporal distance, and how alike siblings still are."""

    losses: dict[str, float]
    temporal: float
    sameness: float


def rate(run: CoreRun, plan: Plan) -> float:
    """Learning rate: a short ramp, a plateau, then a cosine down to almost nothing."""
    return _PEAK_RATE * ramp_and_cool(run.step, plan.done(run))


def train_step(run: CoreRun, school: School, plan: Plan) -> Lesson:
    """Draw one batch, take one optimiser step and update the averaged weights in place."""
    e = draw_examples(school.photos, school.teachers, run.random, _BATCH, _TWINS, _SIBLINGS)
    goal = goal_of(e)
    x_t = question(e, goal, run.average, run.average.styles)
    picture = run.network(_packed(x_t), e.t, e.strength, run.network.styles[e.style], _packed(e.source))
    judged = [*range(e.distinct), *range(len(picture) - e.siblings, len(picture))]
    losses = _judge(school.features, picture[judged], goal[judged], _CRISP[e.style[judged]])
    twins, distinct = len(e.shifts), e.distinct
    temporal = temporal_distance(picture[:twins], picture[distinct : distinct + twins], e.shifts).mean()
    free = (1 - _CRISP[e.style[-e.siblings :]]) * e.strength[-e.siblings :, 0] * e.first[-e.siblings :]
    alike = (free * sameness(picture[: e.siblings], picture[-e.siblings :], _STROKES_VARY)).mean()
    balanced = (_balance(run, e.style[judged]) * losses).mean()
    loss = balanced + _TEMPORAL_WEIGHT * temporal + _SAMENESS_WEIGHT * alike
    descend(run, loss, rate(run, plan), largest_norm=_GRADIENT_NORM, keep=_AVERAGE)
    return _remember(run, e, losses.detach(), float(temporal.detach()), float(alike.detach()))


def _balance(run: CoreRun, style: Tensor) -> Tensor:
    """What the loss of each row [B] counts: more in styles near the photo, which the others would drown."""
    typical = sum(run.losses.values()) / max(1, len(run.losses))
    means = torch.tensor([run.losses.get(STYLES[index].name, typical) for index in style.tolist()])
    return (typical / means.clamp_min(_LEAST_LOSS)).pow(_BALANCE) if run.losses else torch.ones(len(style))


def _packed(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)


def _judge(features: Features, picture: Tensor, goal: Tensor, crisp: Tensor) -> Tensor:
    taps = features(picture)
    with torch.no_grad():
        goal_taps = features(goal)
        wanted = grams(goal_taps)
    texture, structure = texture_distance(grams(taps), wanted), structure_distance(taps, goal_taps)
    return imitation_loss(picture, goal, texture, structure, crisp)


def _remember(run: CoreRun, examples: Examples, losses: Tensor, temporal: float, alike: float) -> Lesson:
    seen = {STYLES[i].name: loss for i, loss in zip(examples.style.tolist(), losses.tolist(), strict=False)}
    for name, loss in seen.items():
        run.losses[name] = running_mean(run.losses.get(name), loss, _MEMORY)
    return Lesson(seen, temporal, alike)
