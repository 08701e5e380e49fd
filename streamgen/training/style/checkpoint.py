"""Going on with a run: its file is one of `streamgen.training.checkpoint`, and is trusted less."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from streamgen.errors import ConfigError
from streamgen.training.checkpoint import BROKEN
from streamgen.training.style.loop import Run, check_sound

__all__ = ["load_checkpoint"]


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
    except BROKEN as error:
        fact = "is no checkpoint of this picture with this core, --scale and --style-weight"
        raise ConfigError("checkpoint_unusable", f"{path} {fact}", field="resume") from error


def _take_up(run: Run, state: Mapping[str, Any]) -> None:
    """Raises one of ``BROKEN`` for a state that no run can have."""
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
