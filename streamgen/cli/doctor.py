"""``streamgen doctor``: what works on this machine, and why the rest does not."""

from __future__ import annotations

import argparse
import errno
import platform
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from streamgen import __version__
from streamgen.cli.options import add_engine_arguments, between, config_of, start_compute
from streamgen.config import ServerConfig, worker_environment
from streamgen.errors import StreamgenError

__all__ = ["CHECKS", "Finding", "State", "add_arguments", "run"]


class State(Enum):
    """What a finding means for the user."""

    GOOD = "ok"
    ABSENT = "--"
    """Not there, and nothing that serving needs."""
    BROKEN = "!!"
    """Serving will fail until this is put right."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    state: State
    subject: str
    fact: str


Check = Callable[[ServerConfig], Iterator[Finding]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``streamgen doctor``."""
    parser.add_argument(
        "--port", type=between(0, 65535), default=argparse.SUPPRESS, help="the port to look at (default: 8188)"
    )
    add_engine_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print every finding; 1 when something keeps the server from running."""
    config = config_of(args)
    start_compute(config.threads)
    broken = 0
    for check in CHECKS:
        for finding in check(config):
            broken += finding.state is State.BROKEN
            print(f"{finding.state.value}  {finding.subject:20s} {finding.fact}", flush=True)
    print()
    print(f"{broken} to put right before `streamgen serve` works" if broken else "streamgen serve will work here")
    return 1 if broken else 0


def check_machine(config: ServerConfig) -> Iterator[Finding]:
    """The interpreter and the hardware."""
    from streamgen.bench.hardware import hardware

    here = hardware()
    yield Finding(State.GOOD, "streamgen", f"{__version__} at {Path(__file__).parents[1]}")
    yield Finding(State.GOOD, "python", f"{platform.python_version()} at {sys.executable}")
    yield Finding(State.GOOD, "processor", f"{here['processor']}, {here['cores']} cores usable")
    if here["memory_gb"] is not None:
        yield Finding(State.GOOD, "memory", f"{here['memory_gb']} GB")
    if here["gpu"] is None:
        yield Finding(State.ABSENT, "NVIDIA GPU", "torch finds none; the embedded model needs none")
    else:
        yield Finding(State.GOOD, "NVIDIA GPU", here["gpu"])


def check_packages(config: ServerConfig) -> Iterator[Finding]:
    """What the extras install."""
    needed = ("torch", "safetensors", "uvicorn", "fastapi", "av", "simplejpeg", "psutil", "rich")
    for name in needed:
        found = _version(name)
        if found is None:
            yield Finding(State.BROKEN, name, "not installed: pip install '.[server]' in a clone of streamgen")
    found_all = [f"{name} {_version(name)}" for name in needed if _version(name)]
    yield Finding(State.GOOD, "packages", ", ".join(found_all))
    missing = [name for name in ("diffusers", "transformers", "accelerate", "peft") if _version(name) is None]
    if missing:
        fact = f"not installed: {', '.join(missing)}; for SD-Turbo and its kin: pip install '.[diffusers]' in a clone"
        yield Finding(State.ABSENT, "diffusion models", fact)
    else:
        yield Finding(State.GOOD, "diffusion models", f"diffusers {_version('diffusers')} can load them")
    if _version("uvloop") is None and sys.platform != "win32":
        yield Finding(State.ABSENT, "uvloop", "not installed; the event loop is a little slower without it")


def check_torch(config: ServerConfig) -> Iterator[Finding]:
    """Threads, the OpenMP policy, and whether bf16 is worth it."""
    if _version("torch") is None:
        return
    import torch

    from streamgen.devices import convolution_ms
    from streamgen.engine.threads import compute_threads, use_threads

    threads = compute_threads(config.threads)
    use_threads(threads)
    yield Finding(State.GOOD, "torch threads", f"{threads}, as --threads {config.threads} asks")
    policy = worker_environment(threads)["OMP_WAIT_POLICY"]
    if policy.upper() == "PASSIVE":
        yield Finding(State.GOOD, "OpenMP", "waiting threads sleep (OMP_WAIT_POLICY=PASSIVE)")
    else:
        yield Finding(
            State.ABSENT, "OpenMP", f"OMP_WAIT_POLICY={policy}: waiting threads spin, very slow beside other work"
        )
    float32, bfloat16 = (convolution_ms(dtype) for dtype in (torch.float32, torch.bfloat16))
    fact = f"{bfloat16:.1f} ms for a convolution that takes {float32:.1f} ms in float32"
    yield Finding(State.GOOD if bfloat16 < float32 else State.ABSENT, "bfloat16", fact)


def check_backends(config: ServerConfig) -> Iterator[Finding]:
    """Every backend, and why one cannot run."""
    if _version("torch") is None:
        return
    from streamgen.backends import BACKENDS, load_backend
    from streamgen.devices import choose

    asked, device = config.backend, choose(config.device)
    if asked not in ("auto", *BACKENDS):
        yield Finding(State.BROKEN, "backend", f"must be auto or one of {sorted(BACKENDS)}, got {asked!r}")
    for name in BACKENDS:
        reason = load_backend(name).unavailable(device)
        state = State.GOOD if reason is None else State.BROKEN if name == asked else State.ABSENT
        yield Finding(state, f"backend {name}", reason or f"can run on {device}")


def check_model(config: ServerConfig) -> Iterator[Finding]:
    """Whether the model loads, and which styles it has."""
    if _version("torch") is None or _version("safetensors") is None:
        return
    from streamgen.devices import choose, unavailable
    from streamgen.models import load_model

    device = choose(config.device)
    no_device = unavailable(device)
    if no_device is not None:
        yield Finding(State.BROKEN, f"device {device}", no_device)
        return
    try:
        model = load_model(replace(config.spec, device=device))
    except StreamgenError as error:
        yield Finding(State.BROKEN, f"model {config.model}", error.message)
    else:
        yield Finding(State.GOOD, f"model {config.model}", f"{len(model.styles)} styles: {', '.join(model.styles)}")


def check_codecs(config: ServerConfig) -> Iterator[Finding]:
    """What ``streamgen render`` can write."""
    if _version("av") is None:
        return
    import av

    for name, use in (("libx264", ".mp4, .mov, .mkv"), ("libvpx-vp9", ".webm"), ("libwebp", ".webp")):
        try:
            av.Codec(name, "w")
        except ValueError:
            yield Finding(State.ABSENT, f"codec {name}", f"render cannot write {use}")
        else:
            yield Finding(State.GOOD, f"codec {name}", f"render can write {use}")


def check_webrtc(config: ServerConfig) -> Iterator[Finding]:
    """Whether pages can connect by WebRTC, and what encodes its video."""
    if _version("aiortc") is None:
        return
    from streamgen.server.webrtc.aiortc_shim import check_version
    from streamgen.server.webrtc.encoders import hardware_h264

    try:
        check_version()
    except StreamgenError as error:
        yield Finding(State.ABSENT, "WebRTC", f"{error.message}; pages take the WebSocket")
    else:
        encoder = hardware_h264() or "x264, as no hardware encoder opens"
        yield Finding(State.GOOD, "WebRTC", f"aiortc {_version('aiortc')}; H264 by {encoder}")


def check_pages(config: ServerConfig) -> Iterator[Finding]:
    """Whether the web pages came along."""
    if _version("fastapi") is None:
        return
    from streamgen.server.pages import web_root

    try:
        yield Finding(State.GOOD, "web pages", str(web_root()))
    except StreamgenError as error:
        yield Finding(State.BROKEN, "web pages", error.message)


def check_port(config: ServerConfig) -> Iterator[Finding]:
    """Whether the server can listen."""
    address = f"{config.host}:{config.port}"
    with socket.socket(socket.AF_INET6 if ":" in config.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((config.host, config.port))
        except OSError as error:
            fact = "in use; choose another with --port" if error.errno == errno.EADDRINUSE else str(error.strerror)
            yield Finding(State.BROKEN, f"port {address}", fact)
        else:
            yield Finding(State.GOOD, f"port {address}", "free")


CHECKS: tuple[Check, ...] = (
    check_machine,
    check_packages,
    check_torch,
    check_backends,
    check_model,
    check_codecs,
    check_webrtc,
    check_pages,
    check_port,
)
"""Run in this order."""


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
