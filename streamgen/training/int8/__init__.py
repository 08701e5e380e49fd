"""The core in int8: calibrated on photos, for backends that can run it."""

from __future__ import annotations

import argparse
from pathlib import Path

from streamgen.models.tiny import TinyModel

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `streamgen train int8`."""
    parser.add_argument("--data", type=Path, required=True, help="folder with photos.csv and photos/")
    parser.add_argument("--weights", type=Path, default=TinyModel.default_weights, help="the core to quantise")
    parser.add_argument("--photos", type=int, default=96, help="calibrate on this many photos")
    parser.add_argument("--threads", type=int, default=2, help="threads of the CPU")


def run(args: argparse.Namespace) -> int:
    """Write `NAME.int8.xml` and `.bin` beside the weights, and print how close they stay; 0 when they may be used."""
    from streamgen.training.int8.command import quantise

    return quantise(args)
