"""The options that courses have in common. Nothing heavy is imported here: the help shows them too."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["add_run_options"]


def add_run_options(
    parser: argparse.ArgumentParser, *, data: str, out: Path, steps: int, minutes: float, threads: int = 2
) -> None:
    """Declare what every run takes, with a course's own defaults.

    Args:
        parser: of the course.
        data: what the data folder has to hold.
        out: where the course writes by default.
        steps: of the plan.
        minutes: of the plan.
        threads: of the CPU.
    """
    parser.add_argument("--data", type=Path, required=True, help=data)
    parser.add_argument("--out", type=Path, default=out, help="checkpoint, previews and weights go here")
    parser.add_argument("--steps", type=int, default=steps, help="stop after this many steps")
    parser.add_argument("--minutes", type=float, default=minutes, help="stop after this many minutes of training")
    parser.add_argument("--seed", type=int, default=0, help="the same seed draws the same examples")
    parser.add_argument("--threads", type=int, default=threads, help="threads of the CPU")
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint in --out")
