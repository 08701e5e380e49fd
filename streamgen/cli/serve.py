"""``streamgen serve``."""

from __future__ import annotations

import argparse

from streamgen.cli.options import add_engine_arguments, between, config_of

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``streamgen serve``."""
    unset = argparse.SUPPRESS
    parser.add_argument("--host", default=unset, help="address to bind (default: 127.0.0.1)")
    parser.add_argument(
        "--port", type=between(0, 65535), default=unset, help="TCP port, 0 for a free one (default: 8188)"
    )
    parser.add_argument(
        "--max-sessions", type=between(1, 10_000), default=unset, help="sessions at a time (default: 16)"
    )
    parser.add_argument(
        "--also-model",
        dest="also_models",
        action="extend",
        nargs="+",
        default=unset,
        metavar="MODEL",
        help="a model that clients may switch to while frames flow; several are possible",
    )
    add_engine_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Serve until interrupted."""
    from streamgen.server.run import serve

    return serve(config_of(args))
