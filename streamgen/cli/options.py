"""Options that several commands share, and how they become a configuration."""

from __future__ import annotations

import argparse
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from types import FrameType

from streamgen.config import ServerConfig, from_environment, worker_environment
from streamgen.engine.threads import compute_threads

__all__ = ["add_engine_arguments", "between", "config_of", "start_compute", "terminable"]


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what is loaded and on what. The defaults stand in ``ServerConfig`` and the environment."""
    group = parser.add_argument_group("engine")
    unset = argparse.SUPPRESS
    group.add_argument("--model", default=unset, help="model family, see `streamgen models` (default: tiny)")
    group.add_argument(
        "--weights", type=Path, default=unset, metavar="FILE", help="safetensors file instead of its own"
    )
    group.add_argument(
        "--backend", default=unset, help="auto, eager, openvino or inductor (default: auto, the fastest)"
    )
    group.add_argument("--device", type=_device, default=unset, help="cpu, cuda, cuda:1, ... (default: cpu)")
    group.add_argument(
        "--threads", type=between(0, 1024), default=unset, help="compute threads (default: 0, all cores but one)"
    )


def config_of(args: argparse.Namespace) -> ServerConfig:
    """The configuration: options first, then ``STREAMGEN_*``, then defaults."""
    known = {entry.name for entry in fields(ServerConfig)}
    return from_environment(**{name: value for name, value in vars(args).items() if name in known})


def start_compute(threads: int) -> None:
    """Set up this process for computing. Call it before anything imports torch, which reads the environment then."""
    os.environ.update(worker_environment(compute_threads(threads)))


def between(low: int, high: int) -> Callable[[str], int]:
    """An argument type: a whole number from ``low`` to ``high``."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be a whole number, got {text!r}") from None
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"must be {low} to {high}, got {value}")
        return value

    return parse


def _device(text: str) -> str:
    """An argument type: the name of a device, which may still not be there."""
    if not re.fullmatch(r"cpu|mps|(cuda|xpu)(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"must be cpu, cuda, cuda:1, ..., got {text!r}")
    return text


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM leave context managers as Ctrl-C does, so that no half-written file or process stays behind."""

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
