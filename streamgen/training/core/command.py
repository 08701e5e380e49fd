"""The command `streamgen train core`: previews, checkpoints and the exported weights around the loop."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import cv2
import torch

from streamgen.models.tiny_weights import save_network
from streamgen.training.checkpoint import claim, load_checkpoint, save_checkpoint
from streamgen.training.core.loop import School, train_step
from streamgen.training.core.painters import train_painters
from streamgen.training.core.preview import preview
from streamgen.training.core.recipe import STYLES
from streamgen.training.core.state import CoreRun, begin_from, new_run
from streamgen.training.plan import Plan
from streamgen.training.progress import complete, take_steps

__all__ = ["train"]

_PREVIEW_EVERY = 300
_LOG_EVERY = 50


def train(args: argparse.Namespace) -> int:
    """Run the options of `streamgen.training.core.add_arguments`; 0 when completed, 130 when interrupted."""
    checkpoint = claim(args.out, args.resume)
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(1)
    school = School.open(args.data, args.out)
    run = new_run(len(STYLES), args.seed)
    if args.resume:
        load_checkpoint(run, checkpoint)
    elif args.start:
        begin_from(run, args.start, [style.name for style in STYLES])
    return complete(run, lambda: _learn(run, school, args), lambda: _save(run, args.out))


def _learn(run: CoreRun, school: School, args: argparse.Namespace) -> None:
    """Train, and on the way the teachers that paintings teach."""
    painters = args.out / "painters.safetensors"
    if not painters.is_file():
        _take_steps(run, school, args, until=args.painters_after)
        train_painters(args.data, painters, school.features, run.average, args.painter_steps, args.seed)
        school = School.open(args.data, args.out)
    _take_steps(run, school, args)


def _take_steps(run: CoreRun, school: School, args: argparse.Namespace, until: float = math.inf) -> None:
    plan = Plan(args.steps, args.minutes)

    def step() -> str:
        lesson = train_step(run, school, plan)
        losses = "  ".join(f"{name} {loss:.2f}" for name, loss in sorted(run.losses.items()))
        return f"{losses}  steady {lesson.temporal:.3f}  alike {lesson.sameness:.3f}"

    take_steps(
        run,
        plan,
        step,
        lambda: _save(run, args.out),
        log_every=_LOG_EVERY,
        preview=lambda: preview(run.average, args.data, args.out / f"preview-{run.step:06d}.png"),
        preview_every=_PREVIEW_EVERY,
        until=until,
    )


def _save(run: CoreRun, out: Path) -> None:
    save_checkpoint(run, out / "checkpoint.pt")
    save_network(run.average, [style.name for style in STYLES], out / "tiny.safetensors")
