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
from typing import Any

from streamgen.backends import BACKENDS
from streamgen.config import ServerConfig, from_environment, worker_environment
from streamgen.engine.threads import compute_threads

__all__ = ["add_engine_arguments", "at_least", "between", "config_of", "device_names", "start_compute", "terminable"]


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what is loaded and on what. The defaults stand in ``ServerConfig`` and the environment."""
    group = parser.add_argument_group("engine")
    unset = argparse.SUPPRESS
    group.add_argument(
        "--model",
        default=unset,
        help="tiny (the default), a diffusers folder, a .safetensors file or a hub id such as stabilityai/sd-turbo",
    )
    group.add_argument(
        "--weights", type=Path, default=unset, metavar="FILE", help="safetensors file instead of tiny's own"
    )
    group.add_argument("--backend", default=unset, help=f"auto or one of {', '.join(BACKENDS)} (default: auto)")
    group.add_argument("--device", type=_device, default=unset, help="auto (the default), cpu, cuda, cuda:1, mps, ...")
    group.add_argument(
        "--dtype",
        choices=["auto", "float32", "bfloat16", "float16", "int8"],
        default=unset,
        help="precision (default: auto, the fastest here)",
    )
    group.add_argument(
        "--threads", type=between(0, 1024), default=unset, help="compute threads (default: 0, all cores but one)"
    )
    group.add_argument(
        "--max-batch", type=between(0, 32), default=unset, help="rows in one network call (default: 0, by the device)"
    )
    _add_diffusion_arguments(parser)


def _add_diffusion_arguments(parser: argparse.ArgumentParser) -> None:
    """What only models out of diffusers pipelines take."""
    group = parser.add_argument_group("diffusion models")
    unset = argparse.SUPPRESS
    group.add_argument(
        "--vae", default=unset, help="auto (a tiny one if it can be had), full, or a folder or hub id (default: auto)"
    )
    group.add_argument(
        "--sampler", default=unset, help="auto (what the checkpoint names), lcm, euler, euler-ancestral or ddim"
    )
    group.add_argument(
        "--lora",
        dest="loras",
        action="extend",
        nargs="+",
        default=unset,
        metavar="[NAME=]SOURCE[@WEIGHT]",
        help="a LoRA whose weight clients may change; several are possible",
    )
    group.add_argument(
        "--fused-lora",
        dest="fused_loras",
        action="extend",
        nargs="+",
        default=unset,
        metavar="SOURCE[@WEIGHT]",
        help="a LoRA added to the weights for good, such as LCM-LoRA or Hyper-SD",
    )
    group.add_argument(
        "--embedding", dest="embeddings", action="extend", nargs="+", default=unset, help="a textual inversion"
    )
    group.add_argument(
        "--clip-skip", type=between(0, 8), default=unset, help="layers of the text encoder to leave out (default: 0)"
    )
    group.add_argument("--controlnet", default=unset, help="a ControlNet's folder or hub id")
    group.add_argument(
        "--control", default=unset, help="what the ControlNet is shown: canny, depth, or none for the frame itself"
    )
    group.add_argument(
        "--control-model", default=unset, help="the depth estimation model of --control depth: a folder or hub id"
    )
    group.add_argument(
        "--ip-adapter", default=unset, metavar="FILE", help="an IP-Adapter's safetensors file: pictures as prompts"
    )
    group.add_argument(
        "--quantise",
        choices=["none", "int8", "fp8", "int4"],
        default=unset,
        help="weights of the network's linear layers (default: none)",
    )


def config_of(args: argparse.Namespace) -> ServerConfig:
    """The configuration: options first, then ``STREAMGEN_*``, then defaults."""
    known = {entry.name for entry in fields(ServerConfig)}
    given: dict[str, Any] = {name: value for name, value in vars(args).items() if name in known}
    return from_environment(None, **{name: tuple(v) if isinstance(v, list) else v for name, v in given.items()})


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


def at_least(low: float) -> Callable[[str], float]:
    """An argument type: a number from ``low`` on."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be a number, got {text!r}") from None
        if not low <= value < float("inf"):
            raise argparse.ArgumentTypeError(f"must be {low:g} or more, got {text}")
        return value

    return parse


def device_names(text: str) -> tuple[str, ...]:
    """An argument type: names of devices with commas between them."""
    return tuple(_device(name.strip()) for name in text.split(","))


def _device(text: str) -> str:
    """An argument type: the name of a device, which may still not be there."""
    if not re.fullmatch(r"auto|cpu|mps|(cuda|xpu)(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"must be auto, cpu, cuda, cuda:1, ..., got {text!r}")
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
