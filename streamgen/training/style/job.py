"""What is asked for, checked before anything is trained."""

from __future__ import annotations

import argparse
import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from streamgen import devices
from streamgen.config import from_environment
from streamgen.errors import BackendUnavailable, ConfigError
from streamgen.models.tiny import TinyModel
from streamgen.models.tiny_weights import load_network
from streamgen.models.user_styles import PROMPT_MAX, UserStyle, check_name, core_identity, files_of, style_file
from streamgen.training.data import Pixels
from streamgen.training.features import Features
from streamgen.training.painting import painting_grams
from streamgen.training.style.loop import Lesson
from streamgen.training.style.painting_file import height_for, read_painting
from streamgen.training.style.sources import Folder, Scenes

__all__ = ["Job", "Places", "check_options", "open_job", "training_folder", "users_folder"]

_RANGES = {
    "scale": (0.5, 2.0),
    "style_weight": (0.1, 10.0),
    "steps": (1, 1_000_000),
    "minutes": (0.01, 10_000.0),
    "seed": (0, 2**32 - 1),
    "threads": (0, 1024),
}


@dataclass(frozen=True, slots=True)
class Places:
    """Where a style and what belongs to it is kept.

    Args:
        style: the file that a server reads.
        kept: folder of checkpoint and previews.
    """

    style: Path
    kept: Path

    @property
    def sheet(self) -> Path:
        """A preview beside the style."""
        return self.style.with_suffix(".png")

    @property
    def checkpoint(self) -> Path:
        """What ``--resume`` goes on from."""
        return self.kept / "checkpoint.pt"


@dataclass(frozen=True, slots=True)
class Job:
    """What is made of what.

    Args:
        painting: uint8 [H, W, 3].
        lesson: what the vector learns from.
        built_in: names of the core's styles.
        style: name, prompt and core; its vector is the first of the core's.
        places: where it goes.
        task: the same for the same painting, core, scale and weight.
    """

    painting: Pixels
    lesson: Lesson
    built_in: tuple[str, ...]
    style: UserStyle
    places: Places
    task: str


def users_folder() -> Path:
    """Where the files of the user's styles are."""
    folder = from_environment().styles
    assert folder is not None  # the environment always names one
    return folder


def training_folder(name: str) -> Path:
    """Where what is needed to go on with the style ``name`` is kept unless ``--out`` says otherwise."""
    return users_folder().parent / "training" / name


def open_job(args: argparse.Namespace) -> Job:
    """Read and check everything that the options name, when ``check_options`` has found nothing wrong.

    Raises:
        ConfigError: an option, the name or the folder of photos cannot be used.
        BackendUnavailable: ``device_unavailable``.
        MediaError: see ``read_painting``.
        WeightsError: the core cannot be read.
    """
    painting = read_painting(args.painting)
    network, names = load_network(args.weights or from_environment().weights or TinyModel.default_weights)
    file, named = _named(args, names)
    where = Places(file, args.out or training_folder(named.name))
    sources = Scenes() if args.photos is None else Folder(args.photos)
    device, features, core = _device(args.device), Features(), core_identity(network)
    seen = painting_grams(features, painting, height_for(painting, args.scale))
    wanted = {tap: gram.to(device) for tap, gram in seen.items()}
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    lesson = Lesson(network, features.to(device), wanted, sources, args.style_weight)
    style = replace(named, core=core, vector=network.styles[0])
    digest = hashlib.sha256(painting.tobytes()).hexdigest()[:16]
    task = f"{digest} {core} {args.scale:g} {args.style_weight:g}"
    return Job(painting, lesson, tuple(names), style, where, task)


def _named(args: argparse.Namespace, taken: list[str]) -> tuple[Path, UserStyle]:
    """The file that the style goes into, and its name and prompt.

    A style that is there keeps its file and its spelling, and its prompt when the run goes on without another.
    """
    name, prompt = check_name(args.name, taken), " ".join((args.prompt or "").split())
    there = files_of(users_folder(), name)
    if there and not (args.resume or args.replace):
        fact = f"there is a style {name!r} already: --resume goes on with it, --replace begins it anew"
        raise ConfigError("name_taken", fact, field="name")
    # Of several, a server takes the first that holds the style.
    holding = (path for path, style in there.items() if style is not None)
    file = next(holding, next(iter(there), style_file(users_folder(), name)))
    if not there and os.path.lexists(file):
        raise ConfigError("name_taken", f"{file} holds no style {name!r}: move it away", field="name")
    held = there.get(file)
    if held is None:
        return file, UserStyle(name, prompt, "", torch.empty(0))
    return file, replace(held, prompt=held.prompt if args.resume and args.prompt is None else prompt)


def check_options(args: argparse.Namespace) -> None:
    """Raises `ConfigError` ``invalid_arguments`` when an option is missing or out of range."""
    if args.painting is None or not args.name:
        raise ConfigError("invalid_arguments", "a style needs a PAINTING and a --name", field="name")
    if len(args.prompt or "") > PROMPT_MAX:
        raise ConfigError("invalid_arguments", f"--prompt has at most {PROMPT_MAX} characters", field="prompt")
    for field, (low, high) in _RANGES.items():
        value = getattr(args, field)
        if not low <= value <= high:
            option = field.replace("_", "-")
            fact = f"--{option} must be {low:,.15g} to {high:,.15g}, got {value:,.15g}"
            raise ConfigError("invalid_arguments", fact, field=field)


def _device(wanted: str) -> str:
    device = devices.choose(wanted)
    if reason := devices.unavailable(device):
        raise BackendUnavailable("device_unavailable", f"device {device} cannot be used: {reason}", field="device")
    return device
