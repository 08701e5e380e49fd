"""How the embedded models are made: `streamgen train core | matte | upscaler | prompts | style | int8`."""

from __future__ import annotations

import argparse
import os
from importlib import import_module

__all__ = ["COURSES", "add_arguments", "run"]

COURSES = {
    "core": "the consistency model that stylises",
    "matte": "the person matte",
    "upscaler": "the x2 upscaler",
    "prompts": "the prompt encoder",
    "style": "one more style, from a picture",
    "int8": "the core in int8, for backends that run it",
}
"""What can be trained, and what it is. `streamgen.training.NAME` has `add_arguments(parser)` and `run(args) -> int`."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `streamgen train COURSE` and its options."""
    courses = parser.add_subparsers(dest="course", metavar="COURSE", required=True)
    for name, help in COURSES.items():
        course = courses.add_parser(name, help=help, description=f"Train {help}.")
        import_module(f"streamgen.training.{name}").add_arguments(course)


def run(args: argparse.Namespace) -> int:
    """Train as the options say; 0 when the plan was completed, 130 when it was interrupted (the checkpoint is written).

    Raises `ConfigError` when the data or the checkpoint cannot be used.
    """
    # Spinning OpenMP threads starve each other when another process is busy; torch reads this when it is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    code: int = import_module(f"streamgen.training.{args.course}").run(args)
    return code
