"""The core in int8: calibrated on photos, for backends that can run it."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `streamgen train int8`."""
    parser.add_argument("--data", type=Path, required=True, help="folder with photos.csv and photos/")
    parser.add_argument("--weights", type=Path, help="the core to quantise (default: the embedded one)")
    parser.add_argument("--photos", type=int, default=96, help="calibrate on this many photos")
    parser.add_argument("--threads", type=int, default=2, help="threads of the CPU")


def run(args: argparse.Namespace) -> int:
    """Write `NAME.int8.xml`, `.bin` and `.json` beside the weights, and print how close they stay; 0 when they may be
    used.

    Raises:
        ConfigError: the data folder cannot be used.
        WeightsError: the core cannot be read.
    """
    from streamgen.training.int8.command import quantise

    return quantise(args)
