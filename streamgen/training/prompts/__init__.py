"""The prompt encoder: free text to styles."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `streamgen train prompts`."""
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help="folder with the two sentence encoders that teach; streamgen/training/prompts/teacher.py says how to "
        "get them",
    )
    parser.add_argument("--out", type=Path, default=Path("runs/prompts"), help="checkpoint and weights go here")
    parser.add_argument("--steps", type=int, default=6000, help="stop after this many steps")
    parser.add_argument("--minutes", type=float, default=20.0, help="stop after this many minutes of training")
    parser.add_argument("--seed", type=int, default=0, help="the same seed makes the same phrasebook and batches")
    parser.add_argument("--threads", type=int, default=1, help="threads of the CPU")
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint in --out")


def run(args: argparse.Namespace) -> int:
    """Train as the options say; 0 when the plan was completed, 130 when it was interrupted (the checkpoint is written).

    Raises `ConfigError` when the teachers are missing or the checkpoint cannot be used.
    """
    from streamgen.training.prompts.command import train

    return train(args)
