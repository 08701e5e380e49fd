"""Picks the command, and turns every failure into one line and an exit code: 2 for a reported one, 130 for Ctrl-C."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import NoReturn

from streamgen import __version__
from streamgen.errors import ConfigError, StreamgenError

__all__ = ["COMMANDS", "Command", "main"]


@dataclass(frozen=True, slots=True)
class Command:
    """One subcommand.

    Args:
        module: offers ``add_arguments(parser)`` and ``run(args) -> int``; imported when the command is chosen.
        help: one line for the list of commands.
        extra: what to install when the module's packages are missing.
        extras: what to install for one of them, by its name, where that is another extra.
    """

    module: str
    help: str
    extra: str = "server"
    extras: Mapping[str, str] = field(default_factory=dict)


COMMANDS: dict[str, Command] = {
    "serve": Command("streamgen.cli.serve", "serve live video on this machine"),
    "replay": Command("streamgen.cli.replay", "compute a recorded session again"),
    "render": Command("streamgen.cli.render", "stylise a video or picture file"),
    "bench": Command("streamgen.cli.bench", "measure this machine: engine, latency, overload"),
    "models": Command("streamgen.cli.models", "list what can be served"),
    "doctor": Command("streamgen.cli.doctor", "say what works on this machine, and why the rest does not"),
    "token": Command("streamgen.cli.token", "sign a short-lived token for one role, session and time"),
    "obs": Command("streamgen.cli.obs", "put a session into OBS as a source", extra="obs"),
    "train": Command("streamgen.training", "train the embedded model", extra="train", extras={"nncf": "int8"}),
    "evaluate": Command("streamgen.cli.evaluate", "judge the embedded models, with contact sheets", extra="train"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _show_notes()
    try:
        return _run(arguments)
    except StreamgenError as error:
        print(f"streamgen: {error.message}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _show_notes() -> None:
    """What loading a model has to say, its licence first of all, is for everybody to read; so is where sessions go."""
    for name in ("streamgen.models", "streamgen.server.publish_writer"):
        logger = logging.getLogger(name)
        if not logger.handlers:
            logger.addHandler(_Notes())
        logger.setLevel(logging.INFO)


class _Notes(logging.Handler):
    """Writes to whatever standard error is by then."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr)


def _run(arguments: Sequence[str]) -> int:
    chosen = next((argument for argument in arguments if not argument.startswith("-")), None)
    try:
        parser = _build_parser(chosen)
        args = parser.parse_args(arguments)
        if args.command is None:
            parser.print_help(sys.stderr)
            return 2
        code: int = import_module(COMMANDS[args.command].module).run(args)
        return code
    except ModuleNotFoundError as error:
        if chosen not in COMMANDS or error.name is None or error.name.partition(".")[0] == "streamgen":
            raise
        extra = COMMANDS[chosen].extras.get(error.name.partition(".")[0], COMMANDS[chosen].extra)
        raise ConfigError(
            "missing_package",
            f"{chosen} needs the package {error.name}, which is not installed: "
            f"pip install '.[{extra}]' in a clone of streamgen",
        ) from None


def _build_parser(chosen: str | None) -> argparse.ArgumentParser:
    """The parser, with options for the chosen command only: no command pays for another's imports."""
    parser = _Parser(prog="streamgen", description="Live video in, stylised live video out.")
    parser.add_argument("--version", action="version", version=f"streamgen {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    for name, command in COMMANDS.items():
        text = f"{command.help[0].upper()}{command.help[1:]}."
        sub = commands.add_parser(
            name, help=command.help, description=text, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if name == chosen:
            import_module(command.module).add_arguments(sub)
    return parser


class _Parser(argparse.ArgumentParser):
    """Reports a bad command line like every other failure: one line."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError("invalid_arguments", f"{message} (see {self.prog} --help)")
