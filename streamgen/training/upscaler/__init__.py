"""The upscaler: pictures twice as large."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `streamgen train upscaler`."""
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with photos.csv, photos/ and, if there are any, paintings/"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/upscaler"), help="checkpoint and weights go here")
    parser.add_argument("--steps", type=int, default=100_000, help="stop after this many steps")
    parser.add_argument("--minutes", type=float, default=25.0, help="stop after this many minutes of training")
    parser.add_argument("--seed", type=int, default=0, help="the same seed draws the same examples")
    parser.add_argument("--threads", type=int, default=2, help="threads of the CPU")
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint in --out")


def run(args: argparse.Namespace) -> int:
    """Train as the options say; 0 when the plan was completed, 130 when it was interrupted (the checkpoint is written).

    Raises `ConfigError` when the data folder or the checkpoint cannot be used.
    """
    from streamgen.training.upscaler.command import train

    return train(args)
