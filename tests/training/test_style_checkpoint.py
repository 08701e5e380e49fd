"""What a run of `streamgen train style` goes on from: it comes back whole, and nothing broken is taken for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from streamgen.errors import ConfigError
from streamgen.training.checkpoint import save_checkpoint
from streamgen.training.style.checkpoint import load_checkpoint
from streamgen.training.style.loop import Run, new_run


def trained_run() -> Run:
    run = new_run("a task", torch.zeros(5), seed=0)
    run.learning.value.grad = torch.ones(5)
    run.optimizer.step()
    run.step, run.trained_s, run.loss = 1, 0.5, 2.0
    return run


def test_a_checkpoint_brings_everything_back(tmp_path: Path) -> None:
    run, other = trained_run(), new_run("a task", torch.ones(5), seed=7)
    run.random.random(3)
    save_checkpoint(run, tmp_path / "checkpoint.pt")
    load_checkpoint(other, tmp_path / "checkpoint.pt")
    assert torch.equal(other.learning.value, run.learning.value)
    assert torch.equal(other.vector, run.vector)
    assert (other.step, other.trained_s, other.loss) == (1, 0.5, 2.0)
    assert other.random.random() == run.random.random()
    assert torch.equal(other.optimizer.state_dict()["state"][0]["exp_avg"], torch.full((5,), 0.1))


def moments(**changed: object) -> dict[str, Any]:
    zeros = torch.zeros(5)
    return {"state": {0: {"step": torch.ones(()), "exp_avg": zeros, "exp_avg_sq": zeros, **changed}}}


GENERATOR = np.random.default_rng(0).bit_generator.state


@pytest.mark.parametrize(
    "changed",
    [
        {"learning": 3},
        {"learning": {"value": torch.zeros(4)}},
        {"learning": {"value": "zeros"}},
        {"average": {"value": torch.full((5,), float("nan"))}},
        {"optimizer": 5},
        {"optimizer": {"state": {}}},
        {"optimizer": moments(exp_avg=torch.zeros(4))},
        {"optimizer": moments(exp_avg=3)},
        {"optimizer": moments(exp_avg_sq=torch.full((5,), float("inf")))},
        {"optimizer": moments(step="one")},
        {"random": 5},
        {"random": "{"},
        {"random": "[]"},
        {"random": json.dumps({**GENERATOR, "bit_generator": "MT19937"})},
        {"random": json.dumps({**GENERATOR, "state": {"state": -1, "inc": 1}})},
        {"random": json.dumps({**GENERATOR, "state": {"state": "one", "inc": 1}})},
        {"step": None},
        {"step": -1},
        {"step": float("nan")},
        {"trained_s": "long"},
        {"trained_s": float("inf")},
        {"loss": None},
        {"loss": float("nan")},
    ],
)
def test_a_checkpoint_with_anything_broken_in_it_is_unusable(tmp_path: Path, changed: dict[str, object]) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(trained_run(), path)
    torch.save({**torch.load(path, weights_only=True), **changed}, path)
    assert unusable(path) == "checkpoint_unusable"


def without_its_end(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-50])


def text(path: Path) -> None:
    path.write_text("not a checkpoint")


def nothing(path: Path) -> None:
    path.write_bytes(b"")


def a_list(path: Path) -> None:
    torch.save([1, 2], path)


def a_network(path: Path) -> None:
    torch.save(torch.nn.Linear(1, 1), path)


@pytest.mark.parametrize("spoil", [without_its_end, text, nothing, a_list, a_network])
def test_a_file_that_is_no_checkpoint_is_unusable(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(trained_run(), path)
    spoil(path)
    assert unusable(path) == "checkpoint_unusable"


def unusable(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_checkpoint(new_run("a task", torch.zeros(5), seed=0), path)
    assert caught.value.field == "resume"
    return caught.value.code
