"""The person matte, distilled from a selfie segmentation."""

from __future__ import annotations

import argparse
from pathlib import Path

from streamgen.training.options import add_run_options

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `streamgen train matte`."""
    add_run_options(
        parser,
        data="folder with photos.csv, photos/, clips/ and features/",
        out=Path("runs/matte"),
        steps=20_000,
        minutes=45.0,
    )


def run(args: argparse.Namespace) -> int:
    """Train as the options say; 0 when the plan was completed, 130 when it was interrupted (the checkpoint is written).

    Raises `ConfigError` when the data folder or the checkpoint cannot be used.
    """
    from streamgen.training.matte.command import train

    return train(args)
