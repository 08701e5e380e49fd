"""The command `streamgen train matte`: progress, previews, checkpoints and the exported weights around the loop."""

from __future__ import annotations

import argparse
import signal
import time
from pathlib import Path

import cv2
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from streamgen.models.matte import save_matte
from streamgen.training.matte.bank import Bank, open_bank
from streamgen.training.matte.evaluate import preview
from streamgen.training.matte.loop import Plan, Run, load_checkpoint, new_run, save_checkpoint, train_step

__all__ = ["train"]

_PREVIEW_EVERY = 500
_LOG_EVERY = 50
_CHECKPOINT_EVERY_S = 180.0


def train(args: argparse.Namespace) -> int:
    """Run the options of `streamgen.training.matte.add_arguments`; 0 when completed, 130 when interrupted."""
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    bank = open_bank(args.data, args.out / "bank", args.seed)
    run = new_run(args.seed)
    if args.resume:
        load_checkpoint(run, args.out / "checkpoint.pt")
    # A service manager or container stops a run politely; that must not cost it the last minutes.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _run_plan(run, bank, Plan(args.steps, args.minutes), args.data, args.out)
    except KeyboardInterrupt:
        return 130
    finally:
        _save(run, args.out)
    return 0


def _run_plan(run: Run, bank: Bank, plan: Plan, data: Path, out: Path) -> None:
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
            train_step(run, bank, plan)
            shown = f"step {run.step}  loss {run.loss:.3f}"
            progress.update(task, completed=plan.done(run), description=shown)
            if run.step % _LOG_EVERY == 0 and not console.is_terminal:
                console.print(f"{run.trained_s / 60:5.1f} min {shown}", soft_wrap=True)
            if run.step % _PREVIEW_EVERY == 0:
                preview(run.average, data, out / f"preview-{run.step:06d}.png")
            if time.monotonic() - saved_s > _CHECKPOINT_EVERY_S:
                _save(run, out)
                saved_s = time.monotonic()


def _save(run: Run, out: Path) -> None:
    save_checkpoint(run, out / "checkpoint.pt")
    save_matte(run.average, out / "matte.safetensors")
