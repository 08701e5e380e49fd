"""Small training runs on a data folder made here: photos of noise and random networks."""

import argparse
import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import streamgen.training as training
from streamgen.errors import ConfigError
from streamgen.models.tiny import TinyUNet, load_network
from streamgen.training import data
from streamgen.training.core import examples, loop
from streamgen.training.core.checkpoint import load_checkpoint, new_run, save_checkpoint
from streamgen.training.core.evaluate import STRENGTHS, Score, render, score_style
from streamgen.training.core.examples import T_MAX, compose, draw_examples
from streamgen.training.core.loop import Plan, School, train_step
from streamgen.training.core.preview import preview
from streamgen.training.core.recipe import STYLES

SIZE = 64
SQUEEZE = {"fire2": (96, 16, 64), "fire3": (128, 16, 64), "fire4": (128, 32, 128), "fire5": (256, 32, 128)}
SQUEEZE |= {"fire6": (256, 48, 192), "fire7": (384, 48, 192)}


def random_weights(random: np.random.Generator, *shape: int) -> np.ndarray:
    return (random.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float16)


def write_features(path: Path, random: np.random.Generator) -> None:
    arrays = {"c.conv1.weight": random_weights(random, 96, 3, 7, 7), "c.conv1.bias": np.zeros(96, np.float16)}
    for name, (wide, narrow, out) in SQUEEZE.items():
        for layer, shape in {
            "conv1x1_1": (narrow, wide, 1, 1),
            "conv1x1_2": (out, narrow, 1, 1),
            "conv3x3_2": (out, narrow, 3, 3),
        }.items():
            arrays[f"c.{name}_{layer}.weight"] = random_weights(random, *shape)
            arrays[f"c.{name}_{layer}.bias"] = np.zeros(shape[0], np.float16)
    np.savez(path, **arrays)


def write_multistyle(path: Path, random: np.random.Generator) -> None:
    layers = {"contract.0": (32, 3, 9), "contract.1": (32, 32, 3), "contract.2": (32, 32, 3)}
    layers |= {f"res.{block}.{half}": (32, 32, 3) for block in range(6) for half in range(2)}
    layers |= {"expand.0": (8, 32, 3), "expand.1": (4, 8, 3), "expand.2": (3, 4, 9)}
    arrays = {}
    for name, (out, into, size) in layers.items():
        arrays[f"{name}.w"] = random_weights(random, out, into, size, size).astype(np.float32)
        arrays[f"{name}.norm.gamma"] = np.ones((26, out), np.float32)
        arrays[f"{name}.norm.beta"] = np.zeros((26, out), np.float32)
    np.savez(path, **arrays)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with four photos and both networks."""
    root, random = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for name in ("photos", "teachers", "features"):
        (root / name).mkdir()
    with (root / "photos.csv").open("w", newline="") as table:
        rows = csv.writer(table)
        rows.writerow(["file", "split"])
        for number in range(4):
            rows.writerow([f"face_{number}.png", "val" if number == 3 else "train"])
            pixels = np.kron(random.integers(0, 256, (10, 14, 3)), np.ones((9, 9, 1))).astype(np.uint8)
            Image.fromarray(pixels).save(root / "photos" / f"face_{number}.png")
    write_features(root / "features" / "squeezenet_v1_0_dc.npz", random)
    write_multistyle(root / "teachers" / "multistyle26.npz", random)
    return root


@pytest.fixture(autouse=True)
def small_and_single_threaded(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(data, "SIZE", SIZE)
    monkeypatch.setattr(loop, "_BATCH", 3)
    monkeypatch.setattr(loop, "_TWINS", 1)


@pytest.fixture(scope="module")
def school(folder: Path) -> School:
    return School.open(folder)


def options(folder: Path, out: Path, *more: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    training.add_arguments(parser)
    return parser.parse_args(["--data", str(folder), "--out", str(out), "--threads", "1", *more])


def test_the_command_leaves_weights_and_a_checkpoint_and_goes_on_from_it(folder: Path, tmp_path: Path) -> None:
    assert training.run(options(folder, tmp_path, "--steps", "2")) == 0
    _, names = load_network(tmp_path / "tiny.safetensors")
    assert names == [style.name for style in STYLES]
    assert training.run(options(folder, tmp_path, "--steps", "3", "--resume")) == 0
    run = new_run(len(STYLES), seed=0)
    load_checkpoint(run, tmp_path / "checkpoint.pt")
    assert run.step == 3
    assert run.losses


def test_a_resumed_run_takes_the_very_step_that_was_next(school: School, tmp_path: Path) -> None:
    plan = Plan(steps=10, minutes=10.0)
    first = new_run(len(STYLES), seed=3)
    train_step(first, school, plan)
    save_checkpoint(first, tmp_path / "checkpoint.pt")
    lesson = train_step(first, school, plan)
    second = new_run(len(STYLES), seed=4)
    load_checkpoint(second, tmp_path / "checkpoint.pt")
    again = train_step(second, school, plan)
    assert again.losses == pytest.approx(lesson.losses, rel=1e-3)


def test_resuming_without_a_checkpoint_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        training.run(options(folder, tmp_path, "--resume"))
    assert caught.value.code == "checkpoint_missing"


def test_a_spoilt_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"no checkpoint")
    with pytest.raises(ConfigError) as caught:
        load_checkpoint(new_run(1, seed=0), tmp_path / "checkpoint.pt")
    assert caught.value.code == "checkpoint_unusable"


def test_a_folder_without_photos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        training.run(options(tmp_path, tmp_path / "out"))
    assert caught.value.code == "data_missing"


def test_one_picture_learnt_by_heart_is_reached(school: School, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = draw_examples(school.photos, school.teachers, np.random.default_rng(1), 3, 1)
    monkeypatch.setattr(loop, "draw_examples", lambda *_: drawn)
    run, plan = new_run(len(STYLES), seed=0), Plan(steps=1000, minutes=100.0)
    losses = [sum(train_step(run, school, plan).losses.values()) for _ in range(25)]
    assert losses[-1] < 0.75 * losses[0]


def test_twins_are_the_next_frame_of_the_same_video(school: School) -> None:
    e = draw_examples(school.photos, school.teachers, np.random.default_rng(5), 3, 2)
    assert torch.equal(e.clean[-2:], torch.roll(e.clean[:2], e.shift, dims=(2, 3)))
    assert torch.equal(e.noise[-2:], e.noise[:2])
    assert torch.equal(e.t[-2:], e.t[:2])
    assert not torch.equal(e.source[-2:], torch.roll(e.source[:2], e.shift, dims=(2, 3)))


def at_level(school: School, level: float, progress: float) -> examples.Examples:
    e = draw_examples(school.photos, school.teachers, np.random.default_rng(7), 4, 0)
    return replace(e, t=torch.full((4,), level), progress=torch.full((4,), progress))


def test_from_pure_noise_the_goal_is_the_teachers_picture(school: School) -> None:
    e = at_level(school, T_MAX, 0.0)
    x_t, goal = compose(e)
    assert torch.equal(x_t, e.noise)
    torch.testing.assert_close(goal, e.target)


def test_almost_without_noise_the_source_stays_as_it_is(school: School) -> None:
    e = at_level(school, 1e-3, 0.0)
    x_t, goal = compose(e)
    torch.testing.assert_close(goal, e.clean, atol=1e-4, rtol=0)
    torch.testing.assert_close(x_t, e.clean, atol=1e-2, rtol=0)


def test_a_finished_picture_stays_finished_at_every_level(school: School) -> None:
    e = at_level(school, 0.7, 1.0)
    torch.testing.assert_close(compose(e)[1], e.target, atol=1e-5, rtol=0)


def test_the_plan_ends_by_steps_or_by_minutes_and_slows_down_before() -> None:
    run = new_run(1, seed=0)
    plan = Plan(steps=1000, minutes=10.0)
    run.step = 300
    plateau = plan.rate(run)
    run.trained_s = 540.0
    assert plan.done(run) == pytest.approx(0.9)
    assert plan.rate(run) < 0.25 * plateau
    run.step = 1000
    assert plan.done(run) == 1.0


def test_a_process_that_slept_does_not_count_the_night(school: School, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 3600.0])
    monkeypatch.setattr(loop.time, "monotonic", lambda: next(clock))
    run = new_run(len(STYLES), seed=0)
    train_step(run, school, Plan(steps=10, minutes=10.0))
    assert run.trained_s == 10.0


def test_rendering_at_strength_zero_is_the_photo_and_seeds_repeat() -> None:
    network = TinyUNet(styles=1).eval()
    source = torch.rand(1, 3, SIZE, SIZE)
    assert torch.equal(render(network, 0, source, strength=0.0), source)
    assert torch.equal(render(network, 0, source, steps=2, seed=1), render(network, 0, source, steps=2, seed=1))
    assert not torch.equal(render(network, 0, source, seed=1), render(network, 0, source, seed=2))


@pytest.mark.parametrize(("change", "monotone"), [((0.1, 0.2, 0.3, 0.4), True), ((0.1, 0.3, 0.2, 0.4), False)])
def test_a_score_says_whether_more_strength_is_more_change(change: tuple[float, ...], monotone: bool) -> None:
    assert len(STRENGTHS) == len(change)
    score = Score("pencil", 0.2, 0.2, 0.5, 0.5, change, 0.5)
    assert score.monotone is monotone


def test_a_style_is_scored_against_its_teacher() -> None:
    torch.manual_seed(0)
    network = TinyUNet(styles=1).eval().requires_grad_(False)
    source = torch.rand(2, 3, SIZE, SIZE) * 2 - 1
    score = score_style(network, 0, source, -source, lambda images: {"conv4_1": images})
    assert score.name == STYLES[0].name
    assert score.teacher_content == pytest.approx(4.0, abs=0.01)
    assert score.texture > 0
    assert len(score.change) == len(STRENGTHS)
    assert 0 <= score.flicker < 10


def test_the_preview_shows_the_photo_and_every_style(folder: Path, tmp_path: Path) -> None:
    preview(TinyUNet(styles=len(STYLES)).eval(), folder, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width // (1 + len(STYLES)) == sheet.height
