"""Small training runs on a data folder made here."""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import streamgen.training as training
from streamgen.errors import ConfigError
from streamgen.models.tiny_unet import TinyUNet
from streamgen.models.tiny_weights import load_network, save_network
from streamgen.training import data, painting
from streamgen.training.checkpoint import load_checkpoint, save_checkpoint
from streamgen.training.core import examples, loop, painters
from streamgen.training.core.examples import T_MAX, Examples, draw_examples, goal_of, question
from streamgen.training.core.loop import School, rate, train_step
from streamgen.training.core.painters import Painters
from streamgen.training.core.preview import preview
from streamgen.training.core.recipe import PAINTINGS, STYLES
from streamgen.training.core.state import begin_from, new_run
from streamgen.training.core.teachers import Teachers
from streamgen.training.plan import Plan

SIZE = 64


@pytest.fixture(autouse=True)
def small_and_single_threaded(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(data, "SIZE", SIZE)
    monkeypatch.setattr(examples, "_CROPS", ((32, 0.5), (64, 0.5)))
    monkeypatch.setattr(examples, "_BANKED", 3)
    monkeypatch.setattr(painters, "_CROP", 32)
    monkeypatch.setattr(painting, "PAINTING_HEIGHT", 64)
    monkeypatch.setattr(loop, "_BATCH", 3)
    monkeypatch.setattr(loop, "_TWINS", 1)


@pytest.fixture
def school(folder: Path, tmp_path: Path) -> School:
    save_network(TinyUNet(len(PAINTINGS)), list(PAINTINGS), tmp_path / "painters.safetensors")
    return School.open(folder, tmp_path)


def options(folder: Path, out: Path, *more: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    training.add_arguments(parser)
    return parser.parse_args(["core", "--data", str(folder), "--out", str(out), "--threads", "1", *more])


def test_the_command_trains_its_own_teachers_on_the_way_and_goes_on_from_a_checkpoint(
    folder: Path, tmp_path: Path
) -> None:
    few = ("--painters-after", "1", "--painter-steps", "2")
    assert training.run(options(folder, tmp_path, "--steps", "2", *few)) == 0
    _, names = load_network(tmp_path / "tiny.safetensors")
    assert names == [style.name for style in STYLES]
    _, painted = load_network(tmp_path / "painters.safetensors")
    assert painted == list(PAINTINGS)
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
    torch.manual_seed(5)
    lesson = train_step(first, school, plan)
    second = new_run(len(STYLES), seed=4)
    load_checkpoint(second, tmp_path / "checkpoint.pt")
    torch.manual_seed(5)
    again = train_step(second, school, plan)
    assert again.losses == pytest.approx(lesson.losses, rel=1e-3)


def test_a_folder_without_photos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        training.run(options(tmp_path, tmp_path / "out"))
    assert caught.value.code == "data_missing"


def test_a_run_begins_from_weights_and_gives_new_styles_the_mean_of_the_others(tmp_path: Path) -> None:
    known = TinyUNet(2)
    save_network(known, ["neon", "comic"], tmp_path / "start.safetensors")
    run = new_run(3, seed=0)
    begin_from(run, tmp_path / "start.safetensors", ["comic", "gouache", "neon"])
    torch.testing.assert_close(run.network.styles[0], known.styles[1], atol=1e-3, rtol=0)
    torch.testing.assert_close(run.average.styles[1], known.styles.mean(0), atol=1e-3, rtol=0)
    torch.testing.assert_close(run.network.stem.weight, known.stem.weight, atol=1e-3, rtol=0)


def test_one_picture_learnt_by_heart_is_reached(school: School, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = draw_examples(school.photos, school.teachers, np.random.default_rng(1), 3, 1, 1)
    monkeypatch.setattr(loop, "draw_examples", lambda *_: drawn)
    run, plan = new_run(len(STYLES), seed=0), Plan(steps=1000, minutes=100.0)
    losses = [sum(train_step(run, school, plan).losses.values()) for _ in range(40)]
    assert losses[-1] < 0.75 * losses[0]


def test_twins_are_the_next_frame_of_the_same_video(school: School) -> None:
    e = draw_examples(school.photos, school.teachers, np.random.default_rng(5), 3, 2, 1)
    assert e.distinct == 3
    for row, shift in enumerate(e.shifts):
        assert torch.equal(e.target[3 + row], torch.roll(e.target[row], shift, dims=(1, 2)))
        assert not torch.equal(e.source[3 + row], torch.roll(e.source[row], shift, dims=(1, 2)))
    assert torch.equal(e.noise[3:5], e.noise[:2])
    assert torch.equal(e.t[3:5], e.t[:2])


def test_a_sibling_is_the_same_frame_with_another_noise(school: School) -> None:
    e = draw_examples(school.photos, school.teachers, np.random.default_rng(5), 3, 2, 1)
    assert torch.equal(e.clean[-1], e.clean[0])
    assert torch.equal(e.style[-1], e.style[0])
    assert not torch.equal(e.noise[-1], e.noise[0])


def test_grids_stay_on_the_screen_when_the_scene_moves() -> None:
    random = np.random.default_rng(0)
    assert {examples._draw_shift(random, anchored=True) for _ in range(20)} == {(0, 0)}
    assert len({examples._draw_shift(random, anchored=False) for _ in range(20)}) > 3


def test_a_style_without_a_teacher_is_not_drawn(folder: Path, tmp_path: Path) -> None:
    untaught = School.open(folder, tmp_path).teachers
    assert [style.name for style in STYLES if not untaught.known(style)] == ["ukiyo-e", "renoir", "kandinsky"]


def test_pictures_by_networks_are_kept_and_read_again(school: School, tmp_path: Path) -> None:
    style = next(style for style in STYLES if style.teacher == "multistyle")
    photo, other = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3)).astype(np.uint8)
    first = school.teachers.picture(photo, style, "one")
    assert np.array_equal(school.teachers.picture(other, style, "one"), first)
    assert not np.array_equal(school.teachers.picture(other, style), first)


def test_other_painters_do_not_find_the_pictures_of_those_before(folder: Path, school: School, tmp_path: Path) -> None:
    style = next(style for style in STYLES if style.teacher == "painter")
    photo = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
    first = school.teachers.picture(photo, style, "one")
    save_network(TinyUNet(len(PAINTINGS)), list(PAINTINGS), tmp_path / "painters.safetensors")
    others = Teachers(folder, tmp_path / "painters.safetensors", tmp_path / "bank")
    assert not np.array_equal(others.picture(photo, style, "one"), first)
    assert np.array_equal(others.picture(photo, style, "one"), others.picture(photo, style))
    assert not [*(tmp_path / "bank").rglob("*.partial")]


def levelled(school: School, strength: float, t: float, *, first: bool, own: bool = False) -> Examples:
    e = draw_examples(school.photos, school.teachers, np.random.default_rng(7), 2, 1, 1)
    return replace(
        e,
        strength=torch.full((4, 1), strength),
        t=torch.full((4,), t),
        first=torch.full((4,), first),
        own=torch.full((4,), own),
    )


def white(x_t: Tensor, *_: Tensor) -> Tensor:
    return torch.ones_like(x_t)


def test_from_pure_noise_the_goal_is_the_teachers_picture(school: School) -> None:
    e = levelled(school, 1.0, T_MAX, first=True)
    goal = goal_of(e)
    assert torch.equal(question(e, goal, white, torch.zeros(len(STYLES), 1)), e.noise)
    torch.testing.assert_close(goal, e.target)


def test_a_little_strength_asks_for_a_little_of_the_style(school: School) -> None:
    e = levelled(school, 0.5, T_MAX / 2, first=True)
    torch.testing.assert_close(goal_of(e), (e.clean + e.target) / 2, atol=1e-5, rtol=0)


def test_a_further_step_refines_what_the_network_itself_made(school: School) -> None:
    e = levelled(school, 1.0, 1e-4, first=False, own=True)
    x_t = question(e, goal_of(e), white, torch.zeros(len(STYLES), 1))
    torch.testing.assert_close(x_t, torch.ones_like(x_t), atol=1e-2, rtol=0)


def test_the_rate_falls_towards_the_end_of_the_plan() -> None:
    run = new_run(1, seed=0)
    plan = Plan(steps=1000, minutes=10.0)
    run.step = 300
    plateau = rate(run, plan)
    run.trained_s = 540.0
    assert rate(run, plan) < 0.25 * plateau


def test_painters_begin_as_a_network_that_paints_already_and_repeat_themselves(school: School, tmp_path: Path) -> None:
    one = Painters.load(tmp_path / "painters.safetensors")
    source = torch.rand(1, 3, SIZE, SIZE)
    assert torch.equal(one(source, "renoir"), one(source, "renoir"))
    assert not torch.equal(one(source, "renoir"), one(source, "kandinsky"))
    start = TinyUNet(5)
    begun = painters._beginner(start)
    assert torch.equal(begun.stem.weight, start.stem.weight)
    torch.testing.assert_close(begun.styles[0], start.styles.mean(0))


def test_the_preview_shows_the_photo_and_every_style(folder: Path, tmp_path: Path) -> None:
    preview(TinyUNet(styles=len(STYLES)).eval(), folder, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width // (1 + len(STYLES)) == sheet.height
