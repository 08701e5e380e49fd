"""The command `streamgen train matte`: previews, checkpoints and the exported weights around the loop."""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import torch

from streamgen.models.matte import save_matte
from streamgen.training.checkpoint import claim, load_checkpoint, save_checkpoint
from streamgen.training.matte.bank import Bank, open_bank
from streamgen.training.matte.evaluate import preview
from streamgen.training.matte.loop import MatteRun, new_run, train_step
from streamgen.training.plan import Plan
from streamgen.training.progress import complete, take_steps

__all__ = ["train"]

_PREVIEW_EVERY = 500
_LOG_EVERY = 50


def train(args: argparse.Namespace) -> int:
    """Run the options of `streamgen.training.matte.add_arguments`; 0 when completed, 130 when interrupted."""
    checkpoint = claim(args.out, args.resume)
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(1)
    run = new_run(args.seed)
    if args.resume:
        load_checkpoint(run, checkpoint)
    bank = open_bank(args.data, args.out / "bank", args.seed)
    return complete(run, lambda: _take_steps(run, bank, args), lambda: _save(run, args.out))


def _take_steps(run: MatteRun, bank: Bank, args: argparse.Namespace) -> None:
    plan = Plan(args.steps, args.minutes)

    def step() -> str:
        train_step(run, bank, plan)
        return f"loss {run.loss:.3f}"

    take_steps(
        run,
        plan,
        step,
        lambda: _save(run, args.out),
        log_every=_LOG_EVERY,
        preview=lambda: preview(run.average, args.data, args.out / f"preview-{run.step:06d}.png"),
        preview_every=_PREVIEW_EVERY,
    )


def _save(run: MatteRun, out: Path) -> None:
    save_checkpoint(run, out / "checkpoint.pt")
    save_matte(run.average, out / "matte.safetensors")
