"""The command `streamgen train upscaler`: checkpoints and the exported weights around the loop."""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import torch

from streamgen.models.upscaler import save_upscaler
from streamgen.training.checkpoint import claim, load_checkpoint, save_checkpoint
from streamgen.training.plan import Plan
from streamgen.training.progress import complete, take_steps
from streamgen.training.upscaler.loop import SIDE, UpscalerRun, new_run, plain, train_step
from streamgen.training.upscaler.pictures import Gallery, Painter

__all__ = ["train"]

_LOG_EVERY = 100


def train(args: argparse.Namespace) -> int:
    """Run the options of `streamgen.training.upscaler.add_arguments`; 0 when completed, 130 when interrupted."""
    checkpoint = claim(args.out, args.resume)
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(1)
    run, plan = new_run(args.seed), Plan(args.steps, args.minutes)
    if args.resume:
        load_checkpoint(run, checkpoint)
    gallery = Gallery(args.data, Painter.embedded(), SIDE, run.random)

    def step() -> str:
        train_step(run, gallery, plan)
        return f"loss {run.loss:.5f}"

    def save() -> None:
        _save(run, args.out)

    return complete(run, lambda: take_steps(run, plan, step, save, log_every=_LOG_EVERY), save)


def _save(run: UpscalerRun, out: Path) -> None:
    save_checkpoint(run, out / "checkpoint.pt")
    save_upscaler(plain(run.average), out / "upscaler.safetensors")
