"""What a run needs to go on, in a file."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from torch import Tensor

from streamgen.errors import ConfigError
from streamgen.training.style.loop import Run, check_sound

__all__ = ["load_checkpoint", "save_checkpoint"]

# What torch, pickle, json and numpy say of bytes or values that are not what they were written as.
_BROKEN = (
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


def save_checkpoint(run: Run, path: Path) -> None:
    """Write the run, atomically. Raises `OSError` when that cannot be done."""
    partial = path.with_suffix(".partial")
    state = {
        "task": run.task,
        "learning": run.learning.state_dict(),
        "average": run.average.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "random": json.dumps(run.random.bit_generator.state),
        "step": run.step,
        "trained_s": run.trained_s,
        "loss": run.loss,
    }
    torch.save(state, partial)
    partial.replace(path)


def load_checkpoint(run: Run, path: Path) -> None:
    """Continue from a checkpoint.

    Raises:
        ConfigError: ``checkpoint_missing``; ``checkpoint_unusable`` when it is none or broken, or one of another
            picture, core, scale or weight. Then the run may be half of it: begin another one.
    """
    try:
        if not path.is_file():
            raise ConfigError("checkpoint_missing", f"no checkpoint to resume at {path}", field="resume")
        _take_up(run, torch.load(path, weights_only=True, map_location=run.learning.value.device))
    except _BROKEN as error:
        fact = "is no checkpoint of this picture with this core, --scale and --style-weight"
        raise ConfigError("checkpoint_unusable", f"{path} {fact}", field="resume") from error


def _take_up(run: Run, state: Mapping[str, Any]) -> None:
    """Raises one of ``_BROKEN`` for a state that no run can have."""
    if state["task"] != run.task:
        raise ValueError("another task")
    run.learning.load_state_dict(state["learning"])
    run.average.load_state_dict(state["average"])
    # Rates and moments' decay are the program's to say, not the file's.
    groups = run.optimizer.state_dict()["param_groups"]
    moments = dict(state["optimizer"]["state"])
    for name in ("exp_avg", "exp_avg_sq"):
        _check_moment(moments[0][name], run.learning.value)
    _check_number(float(moments[0]["step"]))
    run.optimizer.load_state_dict({"state": {0: dict(moments[0])}, "param_groups": groups})
    run.random = np.random.default_rng()
    run.random.bit_generator.state = json.loads(state["random"])
    run.step, run.trained_s = int(state["step"]), float(state["trained_s"])
    run.loss = float(state["loss"])
    _check_number(run.step - 1)
    _check_number(run.trained_s)
    try:
        check_sound(run)
    except ConfigError as error:
        raise ValueError(error.message) from error


def _check_moment(moment: Tensor, value: Tensor) -> None:
    if moment.shape != value.shape or not moment.isfinite().all():
        raise ValueError(f"a moment of shape {tuple(moment.shape)}, or not finite")


def _check_number(value: float) -> None:
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{value} is not 0 or more")
