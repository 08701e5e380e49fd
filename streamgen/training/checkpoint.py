"""The file that a training run goes on from: everything that changes while training, whatever the course.

A run is a dataclass, and its checkpoint has an entry for each of its fields: networks and optimisers by their state, a
random generator as JSON, counts and losses as they are.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import fields
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from streamgen.errors import ConfigError
from streamgen.training.files import write_whole

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["BROKEN", "claim", "load_checkpoint", "save_checkpoint"]

BROKEN = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    UnpicklingError,
    ValueError,
    struct.error,
)
"""All that torch's reader, `load_state_dict` and numpy's generator raise when they are given something else."""


def claim(out: Path, resume: bool) -> Path:
    """Make the folder of a run, and return where its checkpoint lies or will lie.

    Raises:
        ConfigError: ``checkpoint_exists`` when a run that does not resume would replace one; ``checkpoint_missing``
            when there is none to resume.
    """
    path = out / "checkpoint.pt"
    if resume:
        _require(path)
    elif path.exists():
        choices = "--resume goes on with it, another --out leaves it alone"
        raise ConfigError("checkpoint_exists", f"{path} holds an earlier run: {choices}", field="out")
    out.mkdir(parents=True, exist_ok=True)
    return path


def save_checkpoint(run: DataclassInstance, path: Path) -> None:
    """Write the run, atomically. Raises `OSError` when that cannot be done."""
    state = {field.name: _stored(getattr(run, field.name)) for field in fields(run)}
    write_whole(path, lambda file: torch.save(state, file))


def load_checkpoint(run: DataclassInstance, path: Path) -> None:
    """Continue from a checkpoint; when that fails, the run is of no use any more.

    Raises:
        ConfigError: ``checkpoint_missing``; ``checkpoint_unusable`` when it is none, or one of another network.
    """
    _require(path)
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
        for field in fields(run):
            _restore(run, field.name, state[field.name])
    except BROKEN as error:
        raise ConfigError("checkpoint_unusable", f"{path} is no checkpoint of this network", field="resume") from error


def _require(path: Path) -> None:
    if not path.is_file():
        raise ConfigError("checkpoint_missing", f"no checkpoint to resume at {path}", field="resume")


def _stored(value: Any) -> Any:
    if isinstance(value, (nn.Module, torch.optim.Optimizer)):
        return value.state_dict()
    return json.dumps(value.bit_generator.state) if isinstance(value, np.random.Generator) else value


def _restore(run: DataclassInstance, name: str, stored: Any) -> None:
    held = getattr(run, name)
    if isinstance(held, (nn.Module, torch.optim.Optimizer)):
        held.load_state_dict(stored)
    elif isinstance(held, np.random.Generator):
        held.bit_generator.state = json.loads(stored)
    elif isinstance(held, dict):
        setattr(run, name, {str(key): float(value) for key, value in stored.items()})
    elif held is None:
        setattr(run, name, None if stored is None else float(stored))
    else:
        _require_count(stored, type(held))
        setattr(run, name, stored)


def _require_count(stored: Any, kind: type[int] | type[float]) -> None:
    """Of steps or seconds."""
    if not isinstance(stored, (int, kind)) or not 0 <= stored < math.inf:
        raise ValueError(f"expected a count, got {stored!r}")
