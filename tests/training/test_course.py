"""What the courses share: plans, checkpoints, and how a run ends."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import streamgen.training as training
from streamgen.cli.app import main
from streamgen.errors import ConfigError
from streamgen.training.checkpoint import claim, load_checkpoint, save_checkpoint
from streamgen.training.descent import Run, descend
from streamgen.training.files import digest, write_whole
from streamgen.training.plan import Plan
from streamgen.training.progress import complete, take_steps


@dataclass(slots=True)
class Lines(Run[torch.nn.Linear]):
    """A run of the smallest network."""

    losses: dict[str, float] = field(default_factory=dict)
    loss: float | None = None


def new_run(seed: int = 0, width: int = 2) -> Lines:
    torch.manual_seed(seed)
    network, average = torch.nn.Linear(width, 1), torch.nn.Linear(width, 1).requires_grad_(False)
    return Lines(network, average, torch.optim.Adam(network.parameters()), np.random.default_rng(seed))


def step(run: Lines) -> None:
    x = torch.from_numpy(run.random.standard_normal((4, 2), np.float32))
    loss = run.network(x).square().mean()
    descend(run, loss, 0.1, largest_norm=1.0, keep=0.9)
    run.loss = run.losses["all"] = float(loss.detach())
    run.trained_s += 0.5


# ---------------------------------------------------------------------------------------------------------- checkpoints


def test_a_resumed_run_takes_the_very_step_that_was_next(tmp_path: Path) -> None:
    first, second = new_run(0), new_run(1)
    step(first)
    save_checkpoint(first, tmp_path / "checkpoint.pt")
    load_checkpoint(second, tmp_path / "checkpoint.pt")
    for run in (first, second):
        step(run)
    assert (second.step, second.trained_s, second.loss, second.losses) == (2, 1.0, first.loss, first.losses)
    assert torch.equal(first.network.weight, second.network.weight)
    assert torch.equal(first.average.weight, second.average.weight)


def test_a_checkpoint_has_an_entry_for_every_field_of_the_run(tmp_path: Path) -> None:
    save_checkpoint(new_run(), tmp_path / "checkpoint.pt")
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert list(state) == ["network", "average", "optimizer", "random", "step", "trained_s", "losses", "loss"]


def changed(**entries: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda state: state | entries


BROKEN: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no dictionary": lambda state: [1, 2],
    "a number": lambda state: 7,
    "nothing": lambda state: {},
    "no network": changed(network={}),
    "a network that is a list": changed(network=[1]),
    "no optimiser": changed(optimizer=None),
    "an optimiser of others": changed(optimizer={"state": {}, "param_groups": []}),
    "an optimiser that is no dictionary": changed(optimizer={"state": 3, "param_groups": [3]}),
    "random text": changed(random="{"),
    "random numbers": changed(random=5),
    "another generator": changed(random=json.dumps({"bit_generator": "MT19937"})),
    "a generator without its state": changed(random=json.dumps({"bit_generator": "PCG64"})),
    "a step that is a text": changed(step="3"),
    "a step that is none": changed(step=None),
    "a step before the first": changed(step=-1),
    "half a step": changed(step=0.5),
    "a time that is no number": changed(trained_s=float("nan")),
    "endless time": changed(trained_s=float("inf")),
    "losses that are a list": changed(losses=[1.0]),
    "a loss that is a text": changed(loss="low"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_checkpoint_with_a_broken_entry_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(new_run(), path)
    torch.save(BROKEN[name](torch.load(path, weights_only=True)), path)
    with pytest.raises(ConfigError) as caught:
        load_checkpoint(new_run(), path)
    assert (caught.value.code, caught.value.field) == ("checkpoint_unusable", "resume")


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"\x80\x02", b"PK\x03\x04", bytes(64)])
def test_a_file_that_is_no_checkpoint_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_checkpoint(new_run(), tmp_path / "checkpoint.pt")
    assert caught.value.code == "checkpoint_unusable"


def test_a_checkpoint_that_is_cut_short_or_of_another_width_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(new_run(width=3), path)
    whole = path.read_bytes()
    for content in (whole, whole[: len(whole) // 2], whole[:-1]):
        path.write_bytes(content)
        with pytest.raises(ConfigError) as caught:
            load_checkpoint(new_run(), path)
        assert caught.value.code == "checkpoint_unusable"


def test_a_write_that_fails_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(b"before")

    def fail(_: object) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        write_whole(path, fail)
    assert path.read_bytes() == b"before"


def test_a_digest_is_of_what_is_in_a_file(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for path in (one, other):
        path.write_bytes(b"same")
    assert digest(one) == digest(other) and len(digest(one)) == 12
    other.write_bytes(b"else")
    assert digest(one) != digest(other)


# ----------------------------------------------------------------------------------------------------- what --out holds


def options(course: str, out: Path, *more: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    training.add_arguments(parser)
    return parser.parse_args([course, "--data", str(out / "data"), "--out", str(out), *more])


@pytest.mark.parametrize("course", ["core", "matte", "upscaler", "prompts"])
def test_a_new_run_does_not_replace_the_checkpoint_of_another(course: str, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"two nights")
    with pytest.raises(ConfigError, match=r"--resume .* another --out") as caught:
        training.run(options(course, tmp_path))
    assert (caught.value.code, caught.value.field) == ("checkpoint_exists", "out")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
    assert (tmp_path / "checkpoint.pt").read_bytes() == b"two nights"


@pytest.mark.parametrize("course", ["core", "matte", "upscaler", "prompts"])
def test_resuming_without_a_checkpoint_is_refused(course: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        training.run(options(course, tmp_path, "--resume"))
    assert (caught.value.code, caught.value.field) == ("checkpoint_missing", "resume")


def test_a_course_that_needs_a_package_of_its_own_names_its_own_extra(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    assert main(["train", "int8", "--data", str(tmp_path)]) == 2
    line = capsys.readouterr().err
    assert "needs the package nncf" in line and "pip install '.[int8]'" in line


def test_a_run_claims_its_folder(tmp_path: Path) -> None:
    assert claim(tmp_path / "runs" / "new", resume=False) == tmp_path / "runs" / "new" / "checkpoint.pt"
    assert (tmp_path / "runs" / "new").is_dir()


# ---------------------------------------------------------------------------------------------------- plans and endings


def test_the_plan_ends_by_steps_or_by_minutes() -> None:
    run, plan = new_run(), Plan(steps=1000, minutes=10.0)
    run.step, run.trained_s = 300, 540.0
    assert plan.done(run) == pytest.approx(0.9)
    run.step = 1000
    assert plan.done(run) == 1.0


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_run_keeps_what_it_learned(stop: signal.Signals) -> None:
    run, saved = new_run(), []
    before = signal.getsignal(signal.SIGTERM)

    def work() -> None:
        step(run)
        signal.raise_signal(stop)
        step(run)

    assert complete(run, work, lambda: saved.append(run.step)) == 130
    assert saved == [1]
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_run_that_fails_is_saved_and_one_without_a_step_is_not() -> None:
    run, saved = new_run(), []

    def fail() -> None:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        complete(run, fail, lambda: saved.append(run.step))
    assert not saved
    step(run)
    with pytest.raises(RuntimeError, match="out of memory"):
        complete(run, fail, lambda: saved.append(run.step))
    assert saved == [1]
    assert complete(run, lambda: step(run), lambda: saved.append(run.step)) == 0
    assert saved == [1, 2]


@dataclass(slots=True)
class Walk:
    """Steps and the clock that they move."""

    step: int = 0
    trained_s: float = 0.0
    now_s: float = 0.0
    step_s: float = 1.0
    saved: list[int] = field(default_factory=list)
    shown: list[int] = field(default_factory=list)

    def take(self) -> str:
        self.step += 1
        self.now_s += self.step_s
        return f"loss {self.step}"

    def go(self, plan: Plan, **more: Any) -> None:
        save = lambda: self.saved.append(self.step)  # noqa: E731
        take_steps(self, plan, self.take, save, clock_s=lambda: self.now_s, **more)


def test_steps_are_logged_shown_and_saved_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    walk = Walk(step_s=9.0)
    walk.go(Plan(30, 1e6), log_every=15, preview=lambda: walk.shown.append(walk.step), preview_every=10)
    assert walk.shown == [10, 20, 30]
    assert walk.saved == [14, 28]
    assert capsys.readouterr().out.splitlines() == ["  2.2 min step 15  loss 15", "  4.5 min step 30  loss 30"]


def test_a_plan_may_be_left_before_its_end() -> None:
    walk = Walk()
    walk.go(Plan(30, 1e6), log_every=100, until=4)
    assert walk.step == 4
    walk.go(Plan(30, 0.1), log_every=100)
    assert walk.trained_s == 6.0


def test_a_process_that_slept_does_not_count_the_night() -> None:
    walk = Walk(step_s=3600.0)
    walk.go(Plan(2, 1e6), log_every=100)
    assert walk.trained_s == 20.0
