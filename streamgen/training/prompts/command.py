"""The command `streamgen train prompts`: the loop, its checkpoints and the exported weights."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from streamgen.models.text_network import save_tensors
from streamgen.training.checkpoint import claim, load_checkpoint, save_checkpoint
from streamgen.training.plan import Plan
from streamgen.training.progress import complete, take_steps
from streamgen.training.prompts.heldout import DEV, OUTSIDE_DEV
from streamgen.training.prompts.lessons import Lessons, make_lessons
from streamgen.training.prompts.network import TextLearner, calibrate, export, losses
from streamgen.training.prompts.phrasebook import STYLES

__all__ = ["train"]

_BATCH = 512
_LOG_EVERY = 100
_RATE = 4e-3
_WARM_UP = 100


@dataclass(slots=True)
class PromptsRun:
    """Everything that changes while training."""

    learner: TextLearner
    adam: torch.optim.Adam
    step: int = 0
    trained_s: float = 0.0


def train(args: argparse.Namespace) -> int:
    """Run the options of `streamgen.training.prompts.add_arguments`; 0 when completed, 130 when interrupted."""
    checkpoint = claim(args.out, args.resume)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    learner = TextLearner(len(STYLES))
    run = PromptsRun(learner, torch.optim.Adam(learner.parameters(), lr=_RATE, betas=(0.9, 0.99)))
    if args.resume:
        load_checkpoint(run, checkpoint)
    return complete(run, lambda: _learn(run, args), lambda: _save(run, args.out))


def _learn(run: PromptsRun, args: argparse.Namespace) -> None:
    lessons, plan = make_lessons(args.data, args.seed, args.out), Plan(args.steps, args.minutes)

    def step() -> str:
        told = _step(run, lessons, plan.done(run), args.seed)
        return "  ".join(f"{name} {loss:.3f}" for name, loss in told.items())

    take_steps(run, plan, step, lambda: _save(run, args.out), log_every=_LOG_EVERY)


def _step(run: PromptsRun, lessons: Lessons, done: float, seed: int) -> dict[str, float]:
    """Learn from one batch, which the seed and the step determine."""
    picked = np.random.default_rng((seed, run.step)).integers(0, len(lessons.texts), _BATCH)
    for group in run.adam.param_groups:
        group["lr"] = _RATE * min(1.0, (run.step + 1) / _WARM_UP) * max(0.02, 1.0 - done)
    run.learner.train()
    told = losses(run.learner, lessons.batch(picked))
    run.adam.zero_grad()
    torch.stack(list(told.values())).sum().backward()  # type: ignore[no-untyped-call]
    run.adam.step()
    run.step += 1
    return {name: float(loss.detach()) for name, loss in told.items()}


def _save(run: PromptsRun, out: Path) -> None:
    save_checkpoint(run, out / "checkpoint.pt")
    certainty = calibrate(run.learner, [prompt for asked in DEV.values() for prompt in asked], OUTSIDE_DEV)
    save_tensors(export(run.learner, certainty), list(STYLES), out / "prompts.safetensors")
