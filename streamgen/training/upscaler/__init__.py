"""The upscaler: pictures twice as large."""

from __future__ import annotations

import argparse
from pathlib import Path

from streamgen.training.options import add_run_options

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `streamgen train upscaler`."""
    add_run_options(
        parser,
        data="folder with photos.csv, photos/ and, if there are any, paintings/",
        out=Path("runs/upscaler"),
        steps=100_000,
        minutes=25.0,
    )


def run(args: argparse.Namespace) -> int:
    """Train as the options say; 0 when the plan was completed, 130 when it was interrupted (the checkpoint is written).

    Raises `ConfigError` when the data folder or the checkpoint cannot be used.
    """
    from streamgen.training.upscaler.command import train

    return train(args)
