"""The command `streamgen train`: progress, previews, checkpoints and the exported weights around the loop."""

from __future__ import annotations

import argparse
import math
import signal
import time
from pathlib import Path

import cv2
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from streamgen.models.tiny_weights import save_network
from streamgen.training.core.checkpoint import Run, load_checkpoint, new_run, save_checkpoint
from streamgen.training.core.loop import Plan, School, train_step
from streamgen.training.core.painters import train_painters
from streamgen.training.core.preview import preview
from streamgen.training.core.recipe import STYLES

__all__ = ["train"]

_PREVIEW_EVERY = 300
_LOG_EVERY = 50
_CHECKPOINT_EVERY_S = 180.0


def train(args: argparse.Namespace) -> int:
    """Run the options of `streamgen.training.add_arguments`; 0 when completed, 130 when interrupted."""
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    school = School.open(args.data, args.out)
    run = new_run(len(STYLES), args.seed)
    if args.resume:
        load_checkpoint(run, args.out / "checkpoint.pt")
    # A service manager or container stops a run politely; that must not cost it the last minutes.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    plan = Plan(args.steps, args.minutes)
    try:
        if not (args.out / "painters.safetensors").is_file():
            _run_plan(run, school, plan, args, until=args.painters_after)
            start = run.average
            train_painters(
                args.data, args.out / "painters.safetensors", school.features, start, args.painter_steps, args.seed
            )
            school = School.open(args.data, args.out)
        _run_plan(run, school, plan, args)
    except KeyboardInterrupt:
        return 130
    finally:
        _save(run, args.out)
    return 0


def _run_plan(run: Run, school: School, plan: Plan, args: argparse.Namespace, until: float = math.inf) -> None:
    """Train until the plan is done or step ``until`` is reached."""
    console, data, out = Console(), args.data, args.out
    saved_s = time.monotonic()
    columns = (
        BarColumn(),
        TextColumn("{task.percentage:5.1f}%"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=1.0)
        while plan.done(run) < 1 and run.step < until:
            lesson = train_step(run, school, plan)
            progress.update(task, completed=plan.done(run), description=_describe(run))
            if run.step % _LOG_EVERY == 0 and not console.is_terminal:
                figures = f"steady {lesson.temporal:.3f}  alike {lesson.sameness:.3f}"
                console.print(f"{run.trained_s / 60:5.1f} min {_describe(run)}  {figures}", soft_wrap=True)
            if run.step % _PREVIEW_EVERY == 0:
                preview(run.average, data, out / f"preview-{run.step:06d}.png")
            if time.monotonic() - saved_s > _CHECKPOINT_EVERY_S:
                _save(run, out)
                saved_s = time.monotonic()


def _save(run: Run, out: Path) -> None:
    save_checkpoint(run, out / "checkpoint.pt")
    save_network(run.average, [style.name for style in STYLES], out / "tiny.safetensors")


def _describe(run: Run) -> str:
    losses = "  ".join(f"{name} {loss:.2f}" for name, loss in sorted(run.losses.items()))
    return f"step {run.step}  {losses}"
