"""The core: the consistency model that stylises."""

from __future__ import annotations

import argparse
from pathlib import Path

from streamgen.training.options import add_run_options

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `streamgen train core`."""
    add_run_options(
        parser,
        data="folder with photos.csv, photos/, teachers/ and features/",
        out=Path("runs/core"),
        steps=100_000,
        minutes=85.0,
    )
    parser.add_argument(
        "--painters-after", type=int, default=1500, help="our own teachers start from the network after this many steps"
    )
    parser.add_argument("--start", type=Path, help="begin a new run from these weights instead of random ones")
    parser.add_argument("--painter-steps", type=int, default=400, help="steps of the teachers taught by paintings")


def run(args: argparse.Namespace) -> int:
    """Train as the options say; 0 when the plan was completed, 130 when it was interrupted (the checkpoint is written).

    Raises `ConfigError` when the data folder or the checkpoint cannot be used.
    """
    from streamgen.training.core.command import train

    return train(args)
