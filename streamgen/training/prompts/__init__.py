"""The prompt encoder: free text to styles."""

from __future__ import annotations

import argparse
from pathlib import Path

from streamgen.training.options import add_run_options

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `streamgen train prompts`."""
    add_run_options(
        parser,
        data="folder with the two sentence encoders that teach; streamgen/training/prompts/teacher.py says how to get "
        "them",
        out=Path("runs/prompts"),
        steps=6000,
        minutes=20.0,
        threads=1,
    )


def run(args: argparse.Namespace) -> int:
    """Train as the options say; 0 when the plan was completed, 130 when it was interrupted (the checkpoint is written).

    Raises `ConfigError` when the teachers are missing or the checkpoint cannot be used.
    """
    from streamgen.training.prompts.command import train

    return train(args)
