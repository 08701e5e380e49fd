"""The command `streamgen train style`: progress, previews, checkpoints and the style's file around the loop."""

from __future__ import annotations

import argparse
import signal
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor

from streamgen.errors import WeightsError
from streamgen.models.user_styles import check_name, files_of, write_style
from streamgen.training.checkpoint import save_checkpoint
from streamgen.training.data import centre_crop, to_pixels, to_tensor
from streamgen.training.plan import Plan
from streamgen.training.sheet import save_sheet
from streamgen.training.style.checkpoint import load_checkpoint
from streamgen.training.style.job import Job, Places, check_options, open_job, training_folder, users_folder
from streamgen.training.style.loop import Run, check_sound, new_run, train_step
from streamgen.training.style.render import paint
from streamgen.training.style.start import find_start

__all__ = ["remove", "train"]

_PREVIEW_EVERY = 200
_LOG_EVERY = 50
_CHECKPOINT_EVERY_S = 60.0
_PREVIEWED = 4


def train(args: argparse.Namespace) -> int:
    """Run the options of `streamgen.training.style.add_arguments`; 0 when completed, 130 when interrupted."""
    check_options(args)
    if args.threads:
        torch.set_num_threads(args.threads)
    cv2.setNumThreads(1)
    console = Console()
    job = open_job(args)
    job.places.kept.mkdir(parents=True, exist_ok=True)
    run = _resumed(job, args.seed) if args.resume else _begun(job, args.seed, console)
    # A service manager or container stops a run politely; that must not cost it the last minutes.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began_at = run.step
    try:
        _run_plan(run, job, Plan(args.steps, args.minutes), console)
    except KeyboardInterrupt:
        if run.step == began_at:
            console.print("interrupted before the first step: nothing was written", soft_wrap=True)
        else:
            _save(run, job)
            console.print("interrupted: --resume goes on from here", soft_wrap=True)
        return 130
    _save(run, job)
    console.print(f"the style {job.style.name!r} is at {job.places.style}", soft_wrap=True)
    return 0


def remove(name: str) -> int:
    """Delete a style, its preview and what was kept for going on with it; 0.

    Raises:
        ConfigError: ``invalid_name``.
        WeightsError: ``style_missing``.
    """
    wanted, folder = check_name(name), users_folder()
    held = files_of(folder, wanted)
    if not held:
        raise WeightsError("style_missing", f"no style {wanted!r} in {folder}", field="remove")
    for path, style in held.items():
        _remove(Places(path, training_folder(wanted if style is None else style.name)))
    return 0


def _remove(where: Places) -> None:
    for file in (where.style, where.sheet, *where.kept.glob("preview-*.png"), where.checkpoint):
        file.unlink(missing_ok=True)
    if where.kept.is_dir() and not any(where.kept.iterdir()):
        where.kept.rmdir()


def _begun(job: Job, seed: int, console: Console) -> Run:
    lesson = job.lesson
    start = find_start(lesson.network, job.built_in, lesson.features, *_shown(job), lesson.wanted)
    console.print(f"beginning from {' and '.join(start.names)}", soft_wrap=True)
    return new_run(job.task, start.vector, seed)


def _resumed(job: Job, seed: int) -> Run:
    run = new_run(job.task, job.style.vector, seed)
    load_checkpoint(run, job.places.checkpoint)
    return run


def _run_plan(run: Run, job: Job, plan: Plan, console: Console) -> None:
    saved_s = time.monotonic()
    columns = (
        BarColumn(),
        TextColumn("{task.percentage:5.1f}%"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=1.0)
        while plan.done(run) < 1:
            train_step(run, job.lesson, plan)
            progress.update(task, completed=plan.done(run), description=_describe(run))
            if run.step % _LOG_EVERY == 0 and not console.is_terminal:
                console.print(f"{run.trained_s / 60:5.1f} min  {_describe(run)}", soft_wrap=True)
            if run.step % _PREVIEW_EVERY == 0:
                path = job.places.kept / f"preview-{run.step:06d}.png"
                _preview(run, job, path)
                console.print(f"preview: {path}", soft_wrap=True)
            if run.step % _PREVIEW_EVERY == 0 or time.monotonic() - saved_s > _CHECKPOINT_EVERY_S:
                _save(run, job)
                saved_s = time.monotonic()


def _save(run: Run, job: Job) -> None:
    """Write the checkpoint, and the style as it is: in a server that runs it can be watched coming along."""
    check_sound(run)  # an interruption can come before `train_step` looks
    save_checkpoint(run, job.places.checkpoint)
    write_style(replace(job.style, vector=run.vector), job.places.style)
    _preview(run, job, job.places.sheet)


def _preview(run: Run, job: Job, path: Path) -> None:
    """Write the painting, and below the pictures that previews show what is made of them."""
    source, noise = _shown(job)
    with torch.no_grad():
        made = to_pixels(paint(job.lesson.network, run.vector, source, noise).cpu())
    painting, photos = centre_crop(job.painting, source.shape[2]), to_pixels(source.cpu())
    save_sheet(path, [[painting, *photos], [np.zeros_like(painting), *made]], ["painting"])


def _shown(job: Job) -> tuple[Tensor, Tensor]:
    """The pictures that previews show, and a noise for them: [B, 3, 256, 256] each."""
    source = to_tensor(job.lesson.sources.shown(_PREVIEWED))
    noise = torch.randn(source.shape, generator=torch.Generator().manual_seed(0))
    device = job.lesson.network.styles.device
    return source.to(device), noise.to(device)


def _describe(run: Run) -> str:
    return f"step {run.step}  loss {run.loss:.3f}"
