"""The command `streamgen train prompts`: the loop, its checkpoints and the exported weights."""

from __future__ import annotations

import argparse
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from rich.console import Console

from streamgen.errors import ConfigError
from streamgen.models.text_network import save_tensors
from streamgen.training.prompts.heldout import DEV, OUTSIDE_DEV
from streamgen.training.prompts.lessons import Lessons, make_lessons
from streamgen.training.prompts.network import TextLearner, calibrate, export, losses
from streamgen.training.prompts.phrasebook import STYLES

__all__ = ["train"]

_BATCH = 512
_LOG_EVERY = 100
_CHECKPOINT_EVERY_S = 120.0
_RATE = 4e-3
_WARM_UP = 100


@dataclass(slots=True)
class Run:
    """Everything that changes while training."""

    learner: TextLearner
    adam: torch.optim.Adam
    step: int = 0
    trained_s: float = 0.0


def train(args: argparse.Namespace) -> int:
    """Run the options of `streamgen.training.prompts.add_arguments`; 0 when completed, 130 when interrupted."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    # A service manager or container stops a run politely; that must not cost it the last minutes.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        lessons = make_lessons(args.data, args.seed, args.out)
    except KeyboardInterrupt:
        return 130
    learner = TextLearner(len(STYLES))
    run = Run(learner, torch.optim.Adam(learner.parameters(), lr=_RATE, betas=(0.9, 0.99)))
    if args.resume:
        _load(run, args.out / "checkpoint.pt")
    try:
        _run_plan(run, lessons, args)
    except KeyboardInterrupt:
        return 130
    finally:
        _save(run, args.out)
    return 0


def _run_plan(run: Run, lessons: Lessons, args: argparse.Namespace) -> None:
    console = Console()
    started_s = saved_s = time.monotonic()
    before_s = run.trained_s
    while (done := _done(run, args)) < 1.0:
        told = _step(run, lessons, done, args.seed)
        run.trained_s = before_s + time.monotonic() - started_s
        if run.step % _LOG_EVERY == 0:
            shown = "  ".join(f"{name} {loss:.3f}" for name, loss in told.items())
            console.print(f"{run.trained_s / 60:5.1f} min  step {run.step}  {shown}", soft_wrap=True)
        if time.monotonic() - saved_s > _CHECKPOINT_EVERY_S:
            _save(run, args.out)
            saved_s = time.monotonic()


def _done(run: Run, args: argparse.Namespace) -> float:
    """The share of the plan that is behind, whichever of its two bounds is nearer; 1 or more when it is over."""
    return max(run.step / int(args.steps), run.trained_s / 60.0 / float(args.minutes))


def _step(run: Run, lessons: Lessons, done: float, seed: int) -> dict[str, float]:
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


def _save(run: Run, out: Path) -> None:
    partial = out / "checkpoint.partial"
    state = {
        "learner": run.learner.state_dict(),
        "adam": run.adam.state_dict(),
        "step": run.step,
        "trained_s": run.trained_s,
    }
    torch.save(state, partial)
    partial.replace(out / "checkpoint.pt")
    certainty = calibrate(run.learner, [prompt for asked in DEV.values() for prompt in asked], OUTSIDE_DEV)
    save_tensors(export(run.learner, certainty), list(STYLES), out / "prompts.safetensors")


def _load(run: Run, path: Path) -> None:
    if not path.is_file():
        raise ConfigError("checkpoint_missing", f"no checkpoint to resume at {path}", field="resume")
    try:
        state = torch.load(path, weights_only=True)
        run.learner.load_state_dict(state["learner"])
        run.adam.load_state_dict(state["adam"])
    except (RuntimeError, KeyError, ValueError, UnpicklingError) as error:
        raise ConfigError("checkpoint_unusable", f"{path} is no checkpoint of this network", field="resume") from error
    run.step, run.trained_s = state["step"], state["trained_s"]
