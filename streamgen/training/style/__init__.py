"""A style of the user's own, from one picture."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `streamgen train style`."""
    parser.add_argument("painting", type=Path, nargs="?", metavar="PAINTING", help="the picture whose style it is")
    parser.add_argument("--name", default="", help="what a prompt calls the style")
    parser.add_argument("--prompt", help="words that ask for it too, such as 'my aunt's watercolours'")
    parser.add_argument("--photos", type=Path, metavar="FOLDER", help="pictures to learn on, such as frames of yours")
    parser.add_argument("--scale", type=float, default=1.0, help="how large the strokes become, 0.5 to 2 (default: 1)")
    parser.add_argument(
        "--style-weight", type=float, default=1.0, help="how much the painting counts beside the frame, 0.1 to 10"
    )
    parser.add_argument("--steps", type=int, default=1200, help="stop after this many steps (default: 1200)")
    parser.add_argument("--minutes", type=float, default=15.0, help="stop after so many minutes (default: 15)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed draws the same examples")
    parser.add_argument("--threads", type=int, default=0, help="threads of the CPU (default: 0, all cores)")
    parser.add_argument("--device", default="auto", help="auto (the default), cpu, cuda, cuda:1, ...")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="the core, if it is not the packaged one")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="checkpoint and previews go here")
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="continue from the checkpoint")
    again.add_argument("--replace", action="store_true", help="begin a style of that name anew")
    again.add_argument("--remove", metavar="NAME", help="delete a style, and train nothing")


def run(args: argparse.Namespace) -> int:
    """Train or remove as the options say; 0 when done, 130 when it was interrupted (the checkpoint is written).

    Raises:
        ConfigError: an option, the name, the folder of photos or the checkpoint cannot be used, or the run diverged.
        MediaError: the picture cannot be used.
        WeightsError: the core cannot be read, or there is no style to remove.
    """
    from streamgen.training.style.command import remove, train

    return train(args) if args.remove is None else remove(args.remove)
