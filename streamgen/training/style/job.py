"""What is asked for, checked before anything is trained."""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch

from streamgen import devices
from streamgen.config import from_environment
from streamgen.errors import BackendUnavailable, ConfigError
from streamgen.models.tiny import TinyModel
from streamgen.models.tiny_weights import load_network
from streamgen.models.user_styles import UserStyle, check_name, core_identity, style_file
from streamgen.training.data import Pixels
from streamgen.training.features import Features
from streamgen.training.painting import painting_grams
from streamgen.training.style.loop import Lesson
from streamgen.training.style.painting_file import height_for, read_painting
from streamgen.training.style.sources import Folder, Scenes

__all__ = ["Job", "Places", "open_job", "places"]

_PROMPT_MAX = 500
_RANGES = {"scale": (0.5, 2.0), "style_weight": (0.1, 10.0), "steps": (1, 1_000_000), "minutes": (0.01, 10_000.0)}


@dataclass(frozen=True, slots=True)
class Places:
    """Where a style and what belongs to it is kept.

    Args:
        style: the file that a server reads.
        sheet: a preview beside it.
        kept: folder of checkpoint and previews.
    """

    style: Path
    sheet: Path
    kept: Path

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


def places(name: str, out: Path | None = None) -> Places:
    """Where the style ``name`` is, in the user's data folder; ``out`` is for checkpoint and previews."""
    data = from_environment().data
    assert data is not None  # the environment always names one
    style = style_file(data / "styles", name)
    return Places(style, style.with_suffix(".png"), out or data / "training" / name)


def open_job(args: argparse.Namespace) -> Job:
    """Read and check everything that the options name.

    Raises:
        ConfigError: an option, the name or the folder of photos cannot be used.
        BackendUnavailable: ``device_unavailable``.
        MediaError: see ``read_painting``.
        WeightsError: the core cannot be read.
    """
    _check_options(args)
    painting = read_painting(args.painting)
    network, names = load_network(args.weights or from_environment().weights or TinyModel.default_weights)
    name = check_name(args.name, names)
    where = places(name, args.out)
    if not (args.resume or args.replace) and where.style.exists():
        fact = f"there is a style {name!r} already: --resume goes on with it, --replace begins it anew"
        raise ConfigError("name_taken", fact, field="name")
    sources = Scenes() if args.photos is None else Folder(args.photos)
    device, features, core = _device(args.device), Features(), core_identity(network)
    seen = painting_grams(features, painting, height_for(painting, args.scale))
    wanted = {tap: gram.to(device) for tap, gram in seen.items()}
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    lesson = Lesson(network, features.to(device), wanted, sources, args.style_weight)
    style = UserStyle(name, " ".join(args.prompt.split()), core, network.styles[0])
    digest = hashlib.sha256(painting.tobytes()).hexdigest()[:16]
    task = f"{digest} {core} {args.scale:g} {args.style_weight:g}"
    return Job(painting, lesson, tuple(names), style, where, task)


def _check_options(args: argparse.Namespace) -> None:
    if args.painting is None or not args.name:
        raise ConfigError("invalid_arguments", "a style needs a PAINTING and a --name", field="name")
    if len(args.prompt) > _PROMPT_MAX:
        raise ConfigError("invalid_arguments", f"--prompt has at most {_PROMPT_MAX} characters", field="prompt")
    for field, (low, high) in _RANGES.items():
        value = getattr(args, field)
        if not low <= value <= high:
            option = field.replace("_", "-")
            raise ConfigError(
                "invalid_arguments", f"--{option} must be {low:g} to {high:g}, got {value:g}", field=field
            )


def _device(wanted: str) -> str:
    device = devices.choose(wanted)
    if reason := devices.unavailable(device):
        raise BackendUnavailable("device_unavailable", f"device {device} cannot be used: {reason}", field="device")
    return device
