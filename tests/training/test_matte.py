"""How the matte is taught: the bank, the augmentation, the loss, the run and its figures."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from streamgen.errors import ConfigError
from streamgen.training.checkpoint import load_checkpoint, save_checkpoint
from streamgen.training.data import Pixels
from streamgen.training.matte.bank import Bank, composite, make_bank, open_bank
from streamgen.training.matte.evaluate import figures, overlap, preview, restlessness
from streamgen.training.matte.examples import augment, draw_batch
from streamgen.training.matte.footage import HELD_OUT, clips, empty_photos, face_photos, frames
from streamgen.training.matte.loop import matte_loss, new_run, train_step
from streamgen.training.matte.teacher import Teacher, squeezed
from streamgen.training.plan import Plan

SIDE = 256


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def person(random: np.random.Generator, height: int = SIDE, width: int = SIDE) -> Pixels:
    """Noise, and before it a red figure that stands on the lower edge."""
    pixels = random.integers(0, 90, (height, width, 3), np.uint8)
    pixels[height // 3 :, width // 3 : -width // 3] = (230, 30, 30)
    return pixels


def red(picture: Pixels) -> Pixels:
    """A teacher that takes what is red for a person: uint8 [H, W, 3] to uint8 [H, W]."""
    return np.where(picture[..., 0] > 140, 255, 0).astype(np.uint8)


def small_bank(count: int = 8) -> Bank:
    random = np.random.default_rng(0)
    pictures = np.stack([person(random) for _ in range(count)])
    return Bank(pictures, np.stack([red(picture) for picture in pictures]))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder: two faces to train on and one to judge by, two pictures of nobody, two clips."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    (folder / "photos").mkdir()
    (folder / "clips").mkdir()
    rows = ["file,split"]
    for name, split in (("face_0", "train"), ("face_1", "train"), ("face_2", "val"), ("bud_0", "train")):
        pixels = person(random, 120, 160) if name.startswith("face") else random.integers(0, 90, (90, 90, 3), np.uint8)
        cv2.imwrite(str(folder / "photos" / f"{name}.png"), pixels[..., ::-1])
        rows.append(f"{name}.png,{split}")
    cv2.imwrite(str(folder / "photos" / "c101_umbrella_0.png"), person(random, 80, 80)[..., ::-1])
    rows.append("c101_umbrella_0.png,train")
    (folder / "photos.csv").write_text("\n".join(rows), encoding="utf-8")
    for stem in ("wave", HELD_OUT[0]):
        writer = cv2.VideoWriter(str(folder / "clips" / f"{stem}.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (160, 120))
        for _ in range(3):
            writer.write(np.ascontiguousarray(person(random, 120, 160)[..., ::-1]))
        writer.release()
    return folder


def test_what_is_held_out_is_never_trained_on(data: Path) -> None:
    assert [clip.stem for clip in clips(data, held_out=False)] == ["wave"]
    assert [clip.stem for clip in clips(data, held_out=True)] == [HELD_OUT[0]]
    assert [path.name for path in face_photos(data, "train")] == ["face_0.png", "face_1.png"]
    assert [path.name for path in face_photos(data, "val")] == ["face_2.png"]


def test_a_picture_that_may_hold_somebody_is_none_of_nobody(data: Path) -> None:
    assert [path.name for path in empty_photos(data)] == ["bud_0.png"]


def test_a_clip_is_read_frame_by_frame_in_rgb(data: Path) -> None:
    every = list(frames(data / "clips" / "wave.avi"))
    assert len(every) == 3 and every[0].shape == (120, 160, 3)
    assert every[0][80, 80, 0] > 180 > every[0][80, 80, 2]


def test_a_folder_without_clips_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no clips"):
        clips(tmp_path, held_out=False)


def test_the_bank_has_photos_clips_nobody_and_composites(data: Path) -> None:
    examples = list(make_bank(data, red, np.random.default_rng(0), composites=3))
    assert all(picture.shape == (SIDE, SIDE, 3) and matte.shape == (SIDE, SIDE) for picture, matte in examples)
    nobody = [index for index, (_, matte) in enumerate(examples) if matte.max() == 0]
    assert nobody and nobody[-1] < len(examples) - 3
    for picture, matte in examples[-3:]:
        assert overlap(red(picture), matte) > 0.85


def test_the_bank_is_made_once_for_each_seed(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def teacher(path: Path) -> object:
        asked.append(path)
        return red

    monkeypatch.setattr("streamgen.training.matte.bank.Teacher", teacher)
    first, again = (open_bank(data, tmp_path / "bank", composites=1) for _ in range(2))
    assert len(asked) == 1
    np.testing.assert_array_equal(first.pictures, again.pictures)
    open_bank(data, tmp_path / "bank", seed=1, composites=1)
    assert len(asked) == 2


def test_somebody_who_is_set_before_another_background_stands_on_its_lower_edge() -> None:
    random = np.random.default_rng(2)
    somebody = person(random)
    for _ in range(8):
        picture, matte = composite((somebody, red(somebody)), np.zeros((SIDE, SIDE, 3), np.uint8), random)
        assert matte[-1].max() == 255
        assert picture[matte == 0].max() == 0 and picture[matte == 255, 0].min() > 120


def test_augmentation_moves_picture_and_matte_alike() -> None:
    random = np.random.default_rng(3)
    somebody = person(random)
    for _ in range(12):
        picture, matte = augment((somebody, red(somebody)), random)
        inside, outside = (picture[where].mean() for where in (matte > 250, matte < 5))
        assert inside > outside


def test_the_same_seed_draws_the_same_batch() -> None:
    first, second = (draw_batch(small_bank(), np.random.default_rng(5), 2) for _ in range(2))
    assert first[0].shape == (2, 3, SIDE, SIDE) and first[1].shape == (2, 1, SIDE, SIDE)
    assert first[0].abs().max() <= 1 and first[1].min() >= 0 and first[1].max() <= 1
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)


def test_the_loss_is_least_for_the_matte_itself() -> None:
    wanted = torch.zeros(1, 1, 16, 16)
    wanted[..., :8] = 1
    right, wrong = (wanted * 2 - 1) * 12, (1 - wanted * 2) * 12
    assert (
        matte_loss(right, wanted) < 0.01 < 1 < matte_loss(torch.zeros_like(wanted), wanted) < matte_loss(wrong, wanted)
    )


def test_a_run_goes_on_from_its_checkpoint_as_if_it_had_never_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamgen.training.matte.loop._BATCH", 2)
    bank, plan = small_bank(2), Plan(1000, 1e6)
    run = new_run(0)
    train_step(run, bank, plan)
    save_checkpoint(run, tmp_path / "checkpoint.pt")
    resumed = new_run(1)
    load_checkpoint(resumed, tmp_path / "checkpoint.pt")
    for one in (run, resumed):
        train_step(one, bank, plan)
    assert run.step == resumed.step == 2
    for mine, theirs in zip(run.average.state_dict().values(), resumed.average.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)


def test_a_missing_teacher_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no .*segmentation"):
        Teacher(tmp_path / "segmentation.tflite")


def test_overlap_is_of_what_is_more_than_half_a_person() -> None:
    left = np.zeros((4, 4), np.uint8)
    left[:, :2] = 200
    wide = np.zeros((4, 4), np.uint8)
    wide[:, :3] = 130
    assert overlap(left, wide) == pytest.approx(2 / 3)
    assert overlap(left * 0, wide * 0) == 1 and overlap(left, left) == 1


def test_restlessness_counts_changes_only_where_the_picture_stands_still() -> None:
    still = np.full((32, 32, 3), 80, np.uint8)
    moved = still.copy()
    moved[:, 16:] = 200
    quiet, restless = np.zeros((32, 32), np.uint8), np.full((32, 32), 10, np.uint8)
    assert restlessness([still, still], [quiet, restless]) == 10
    changed = quiet.copy()
    changed[:, 24:] = 255
    assert restlessness([still, moved], [quiet, changed]) == 0


class RedIsAPerson(torch.nn.Module):
    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return (pictures[:, :1] > 0.1).float()


def test_a_matte_that_agrees_with_its_teacher_has_figures_that_say_so(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamgen.training.matte.evaluate.Teacher", lambda path: red)
    found = figures(data, RedIsAPerson())
    assert found[f"iou {HELD_OUT[0]}"] == found["iou clips"] > 0.99
    assert found["iou photos"] > 0.99 and found["error clips"] < 0.01
    assert found["still clips steadied"] <= found["still clips"]
    preview(RedIsAPerson(), data, tmp_path / "preview.png")
    assert (tmp_path / "preview.png").stat().st_size > 0


def test_a_picture_of_any_shape_is_squeezed_whole() -> None:
    assert squeezed(np.zeros((90, 300, 3), np.uint8)).shape == (SIDE, SIDE, 3)
