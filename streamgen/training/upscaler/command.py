"""The command `streamgen train upscaler`: progress, checkpoints and the exported weights around the loop."""

from __future__ import annotations

import argparse
import signal
import time
from pathlib import Path

import cv2
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from streamgen.models.upscaler import save_upscaler
from streamgen.training.upscaler.loop import (
    SIDE,
    Plan,
    Run,
    load_checkpoint,
    new_run,
    plain,
    save_checkpoint,
    train_step,
)
from streamgen.training.upscaler.pictures import Gallery, Painter

__all__ = ["train"]

_LOG_EVERY = 100
_CHECKPOINT_EVERY_S = 120.0


def train(args: argparse.Namespace) -> int:
    """Run the options of `streamgen.training.upscaler.add_arguments`; 0 when completed, 130 when interrupted."""
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    run = new_run(args.seed)
    if args.resume:
        load_checkpoint(run, args.out / "checkpoint.pt")
    gallery = Gallery(args.data, Painter.embedded(), SIDE, run.random)
    # A service manager or container stops a run politely; that must not cost it the last minutes.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _run_plan(run, gallery, Plan(args.steps, args.minutes), args.out)
    except KeyboardInterrupt:
        return 130
    finally:
        _save(run, args.out)
    return 0


def _run_plan(run: Run, gallery: Gallery, plan: Plan, out: Path) -> None:
    console = Console()
    saved_s = time.monotonic()
    columns = (
        BarColumn(),
        TextColumn("{task.percentage:5.1f}%"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=1.0)
        while plan.done(run) < 1:
            train_step(run, gallery, plan)
            progress.update(task, completed=plan.done(run), description=_describe(run))
            if run.step % _LOG_EVERY == 0 and not console.is_terminal:
                console.print(f"{run.trained_s / 60:5.1f} min {_describe(run)}", soft_wrap=True)
            if time.monotonic() - saved_s > _CHECKPOINT_EVERY_S:
                _save(run, out)
                saved_s = time.monotonic()


def _save(run: Run, out: Path) -> None:
    save_checkpoint(run, out / "checkpoint.pt")
    save_upscaler(plain(run.average), out / "upscaler.safetensors")


def _describe(run: Run) -> str:
    return f"step {run.step}  loss {run.loss:.5f}"
