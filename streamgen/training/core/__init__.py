"""The core: the consistency model that stylises."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `streamgen train core`."""
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with photos.csv, photos/, teachers/ and features/"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/core"), help="checkpoint, previews and weights go here")
    parser.add_argument("--steps", type=int, default=100_000, help="stop after this many steps")
    parser.add_argument("--minutes", type=float, default=85.0, help="stop after this many minutes of training")
    parser.add_argument(
        "--painters-after", type=int, default=2500, help="our own teachers start from the network after this many steps"
    )
    parser.add_argument("--painter-steps", type=int, default=600, help="steps of the teachers taught by paintings")
    parser.add_argument("--seed", type=int, default=0, help="the same seed draws the same examples")
    parser.add_argument("--threads", type=int, default=2, help="threads of the CPU")
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint in --out")


def run(args: argparse.Namespace) -> int:
    """Train as the options say; 0 when the plan was completed, 130 when it was interrupted (the checkpoint is written).

    Raises `ConfigError` when the data folder or the checkpoint cannot be used.
    """
    from streamgen.training.core.command import train

    return train(args)
