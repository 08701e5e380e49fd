"""A small course of the upscaler, on photos of noise made here and a painter that paints nothing new."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import streamgen.training as training
from streamgen.errors import ConfigError
from streamgen.frames import Pixels
from streamgen.models.upscaler import Upscaler, load_upscaler, save_upscaler
from streamgen.training.checkpoint import load_checkpoint, save_checkpoint
from streamgen.training.plan import Plan
from streamgen.training.upscaler import command, evaluate, loop, pictures
from streamgen.training.upscaler.loop import enlarging_loss, new_run, plain, rate, train_step
from streamgen.training.upscaler.pictures import Gallery, Painter, halve

SIDE = 32


class Copyist:
    """Paints every photo as it is."""

    styles = ("plain",)

    @classmethod
    def embedded(cls) -> Copyist:
        return cls()

    def paint(self, photo: Pixels, style: str, seed: int) -> Pixels:
        return photo


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with three photos to learn from, one to judge by, and a painting."""
    root, random = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for name in ("photos", "paintings"):
        (root / name).mkdir()
    with (root / "photos.csv").open("w", newline="") as table:
        rows = csv.writer(table)
        rows.writerow(["file", "split"])
        for number in range(4):
            rows.writerow([f"face_{number}.png", "val" if number == 3 else "train"])
            pixels = np.kron(random.integers(0, 256, (10, 14, 3)), np.ones((5, 5, 1))).astype(np.uint8)
            Image.fromarray(pixels).save(root / "photos" / f"face_{number}.png")
    Image.fromarray(random.integers(0, 256, (40, 50, 3)).astype(np.uint8)).save(root / "paintings" / "one.webp")
    return root


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_BATCH", 2)
    monkeypatch.setattr(command, "SIDE", SIDE)
    for module in (command, evaluate):
        monkeypatch.setattr(module, "Painter", Copyist)
    for module in (pictures, evaluate):
        monkeypatch.setattr(module, "CLASSICAL", {"negative": lambda pixels: 255 - pixels})
    monkeypatch.setattr(evaluate, "_PAINTED_SIDE", 64)


def gallery(folder: Path, random: np.random.Generator) -> Gallery:
    return Gallery(folder, Copyist(), SIDE, random, held=6)  # type: ignore[arg-type]


def options(folder: Path, out: Path, *more: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    training.add_arguments(parser)
    return parser.parse_args(["upscaler", "--data", str(folder), "--out", str(out), "--threads", "1", *more])


def test_a_pair_is_a_picture_and_the_same_at_half_the_size(folder: Path) -> None:
    random = np.random.default_rng(0)
    low, high = gallery(folder, random).draw(random, 5)
    assert low.shape == (5, 3, SIDE // 2, SIDE // 2) and high.shape == (5, 3, SIDE, SIDE)
    torch.testing.assert_close(low, halve(high))
    levels = low * 255
    assert torch.equal(levels.round() / 255, low) and 0 <= float(low.min()) <= float(low.max()) <= 1


def test_the_same_seed_draws_the_same_pairs(folder: Path) -> None:
    first, second = (np.random.default_rng(3) for _ in range(2))
    torch.testing.assert_close(gallery(folder, first).draw(first, 4), gallery(folder, second).draw(second, 4))


def test_a_folder_without_photos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        gallery(tmp_path, np.random.default_rng(0))


def test_the_core_paints_at_the_size_of_the_photo(picture: Pixels) -> None:
    painter = Painter.embedded()
    first, again, other = (painter.paint(picture, painter.styles[0], seed) for seed in (1, 1, 2))
    assert first.shape == picture.shape and first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other) and not np.array_equal(first, picture)


def test_what_is_shipped_is_what_was_trained(folder: Path) -> None:
    run = new_run(0)
    shown = gallery(folder, run.random)
    for _ in range(3):
        train_step(run, shown, Plan(10, 10.0))
    pictures = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(plain(run.average).enlarge(pictures), run.average.enlarge(pictures), atol=1e-5, rtol=0)
    assert not torch.equal(plain(run.network).last.weight, Upscaler().last.weight)


class OnePair:
    """A gallery of one picture."""

    def __init__(self) -> None:
        from skimage.data import astronaut

        large = torch.from_numpy(astronaut()[100:164, 200:264]).permute(2, 0, 1)[None].float().div(255)
        self.pair = halve(large), large

    def draw(self, random: np.random.Generator, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.pair


def test_training_comes_closer_to_the_large_picture() -> None:
    run, shown = new_run(0), OnePair()
    losses = [train_step(run, shown, Plan(10_000, 100.0)) for _ in range(60)]  # type: ignore[arg-type]
    assert losses[-1] < 0.9 * losses[0]


def test_the_loss_is_least_at_the_picture_itself_and_sees_blur() -> None:
    picture = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    blurred = F.avg_pool2d(picture, 3, stride=1, padding=1)
    exact = float(enlarging_loss(picture, picture))
    assert exact < 0.01 < float(enlarging_loss(blurred, picture))


def test_a_run_goes_on_from_its_checkpoint_as_if_nothing_had_happened(folder: Path, tmp_path: Path) -> None:
    run = new_run(0)
    shown = gallery(folder, run.random)
    train_step(run, shown, Plan(10, 10.0))
    save_checkpoint(run, tmp_path / "checkpoint.pt")
    other = new_run(1)
    load_checkpoint(other, tmp_path / "checkpoint.pt")
    assert (other.step, other.loss) == (1, run.loss)
    assert other.random.integers(2**32) == run.random.integers(2**32)
    torch.testing.assert_close(plain(other.average).state_dict(), plain(run.average).state_dict())


def test_the_rate_rises_stays_and_falls() -> None:
    run, plan = new_run(0), Plan(1000, 10.0)
    rates = []
    for run.step in (0, 100, 200, 700, 999):
        rates.append(rate(run, plan))
    assert rates[0] < rates[1] == rates[2] > rates[3] > rates[4] > 0


def test_the_command_trains_and_resumes(folder: Path, tmp_path: Path) -> None:
    assert training.run(options(folder, tmp_path, "--steps", "2")) == 0
    assert training.run(options(folder, tmp_path, "--steps", "3", "--resume")) == 0
    run = new_run(0)
    load_checkpoint(run, tmp_path / "checkpoint.pt")
    assert run.step == 3
    torch.testing.assert_close(
        load_upscaler(tmp_path / "upscaler.safetensors").first.weight, plain(run.average).first.weight.half().float()
    )


def test_the_figures_are_those_of_bicubic_interpolation_where_nothing_was_learned(folder: Path, tmp_path: Path) -> None:
    save_upscaler(Upscaler(), tmp_path / "untrained.safetensors")
    figures = evaluate.figures(folder, tmp_path / "untrained.safetensors")
    gains = {name: value for name, value in figures.items() if name.endswith("_gain_db")}
    assert set(gains) == {f"{kind}_gain_db" for kind in ("photos", "photos_x4", "drawn", "painted")}
    assert max(abs(gain) for gain in gains.values()) < 0.05
    assert 5 < figures["photos_bicubic_psnr_db"] < 60
