"""A style from one picture: what is refused, what is learned, and what is written, with a tiny random core."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import streamgen.training as training
from streamgen.errors import BackendUnavailable, ConfigError, WeightsError
from streamgen.frames import Pixels
from streamgen.models.tiny_unet import TinyUNet
from streamgen.models.tiny_weights import save_network
from streamgen.models.user_styles import core_identity, load_style
from streamgen.training import data
from streamgen.training.features import PACKAGED, Features
from streamgen.training.losses import grams
from streamgen.training.painting import painting_grams, painting_loss
from streamgen.training.plan import Plan
from streamgen.training.style import command, loop, painting_file, scenes, sources
from streamgen.training.style.loop import Lesson, new_run, train_step
from streamgen.training.style.scenes import scene
from streamgen.training.style.sources import Scenes
from streamgen.training.style.start import find_start

SIZE = 64


@pytest.fixture(autouse=True)
def small_and_single_threaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    monkeypatch.setenv("STREAMGEN_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(data, "SIZE", SIZE)
    monkeypatch.setattr(scenes, "SIZE", SIZE)
    monkeypatch.setattr(sources, "SIZE", SIZE)
    monkeypatch.setattr(painting_file, "PAINTING_HEIGHT", 96)
    monkeypatch.setattr(loop, "_CROP", 32)
    monkeypatch.setattr(loop, "_BATCH", 1)
    monkeypatch.setattr(command, "_PREVIEWED", 2)


@pytest.fixture
def core(tmp_path: Path) -> Path:
    path = tmp_path / "core.safetensors"
    save_network(TinyUNet(3), ["pencil", "neon", "oil"], path)
    return path


def stripes(height: int = 160, width: int = 200) -> Pixels:
    """Yellow and blue diagonals, uint8 [H, W, 3]."""
    rows, columns = np.mgrid[:height, :width]
    return np.where(((rows + columns) // 6 % 2 == 0)[..., None], (240, 200, 40), (20, 40, 120)).astype(np.uint8)


@pytest.fixture
def painting(tmp_path: Path) -> Path:
    path = tmp_path / "stripes.png"
    Image.fromarray(stripes()).save(path)
    return path


def options(*given: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    training.add_arguments(parser)
    return parser.parse_args(["style", *map(str, given)])


def train(painting: Path, core: Path, *more: object) -> int:
    chosen = ("--threads", 1, "--device", "cpu", "--weights", core)
    return training.run(options(painting, "--name", "my aunt", *chosen, *more))


# ------------------------------------------------------------------------------------------------------------- command


def test_the_command_makes_a_style_with_its_preview(
    painting: Path, core: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(painting, core, "--steps", 2, "--prompt", "stripes,  diagonal") == 0
    styles = tmp_path / "data" / "styles"
    assert sorted(path.name for path in styles.iterdir()) == ["my aunt.png", "my aunt.safetensors"]
    style = load_style(styles / "my aunt.safetensors")
    assert (style.name, style.prompt) == ("my aunt", "stripes, diagonal")
    with Image.open(styles / "my aunt.png") as preview:
        assert preview.size == (3 * SIZE, 2 * SIZE)
    assert "beginning from" in capsys.readouterr().out


def test_previews_are_written_on_the_way_and_their_paths_are_said(
    painting: Path, core: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "_PREVIEW_EVERY", 2)
    assert train(painting, core, "--steps", 3, "--out", tmp_path / "out") == 0
    assert f"preview: {tmp_path / 'out' / 'preview-000002.png'}" in capsys.readouterr().out.replace("\n", "")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["checkpoint.pt", "preview-000002.png"]


def test_a_run_that_was_interrupted_goes_on_as_if_it_had_not_been(
    painting: Path, core: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train(painting, core, "--steps", 4) == 0
    file = tmp_path / "data" / "styles" / "my aunt.safetensors"
    whole = load_style(file).vector

    def stop_after_two(run: loop.Run, lesson: Lesson, plan: Plan) -> None:
        if run.step == 2:
            raise KeyboardInterrupt
        train_step(run, lesson, plan)

    with monkeypatch.context() as patch:
        patch.setattr(command, "train_step", stop_after_two)
        assert train(painting, core, "--steps", 4, "--replace") == 130
    assert not torch.equal(load_style(file).vector, whole)
    assert train(painting, core, "--steps", 4, "--resume") == 0
    torch.testing.assert_close(load_style(file).vector, whole)


def written(tmp_path: Path) -> dict[str, bytes]:
    """Everything in the data folder, by its path there."""
    folder = tmp_path / "data"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("again", ["--replace", "--resume"])
def test_a_run_that_is_interrupted_before_its_first_step_overwrites_nothing(
    painting: Path, core: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: str
) -> None:
    def stop(run: loop.Run, lesson: Lesson, plan: Plan) -> None:
        raise KeyboardInterrupt

    train(painting, core, "--steps", 1)
    before = written(tmp_path)
    monkeypatch.setattr(command, "train_step", stop)
    assert train(painting, core, "--steps", 3, again) == 130
    assert written(tmp_path) == before


@pytest.mark.parametrize("level", [float("nan"), 1000.0])
def test_a_run_that_diverges_stops_and_leaves_what_was_good(
    painting: Path, core: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: float
) -> None:
    train(painting, core, "--steps", 1)
    before = written(tmp_path)

    def judge(lesson: Lesson, picture: torch.Tensor, clean: torch.Tensor, shift: tuple[int, int]) -> torch.Tensor:
        return picture.mean() * level

    if level > 100:
        monkeypatch.setattr(loop, "_PEAK_RATE", 1e5)
    monkeypatch.setattr(loop, "_judge", judge)
    with pytest.raises(ConfigError, match="diverged at step 2") as caught:
        train(painting, core, "--steps", 4, "--resume")
    assert caught.value.code == "training_diverged"
    assert written(tmp_path) == before


def test_an_interruption_amid_a_step_that_diverged_saves_nothing(
    painting: Path, core: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(painting, core, "--steps", 1)
    before = written(tmp_path)

    def stop_amid(run: loop.Run, lesson: Lesson, plan: Plan) -> None:
        run.average.value.data.fill_(float("nan"))
        run.step += 1
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "train_step", stop_amid)
    with pytest.raises(ConfigError) as caught:
        train(painting, core, "--steps", 4, "--replace")
    assert caught.value.code == "training_diverged"
    assert written(tmp_path) == before


def test_a_style_that_is_gone_on_with_keeps_its_prompt_unless_another_is_given(
    painting: Path, core: Path, tmp_path: Path
) -> None:
    file = tmp_path / "data" / "styles" / "my aunt.safetensors"
    train(painting, core, "--steps", 1, "--prompt", "stripes")
    train(painting, core, "--steps", 2, "--resume")
    assert load_style(file).prompt == "stripes"
    train(painting, core, "--steps", 2, "--resume", "--prompt", "diagonals")
    assert load_style(file).prompt == "diagonals"
    train(painting, core, "--steps", 3, "--resume", "--prompt", "")
    assert load_style(file).prompt == ""


def test_a_style_is_its_name_whatever_its_file_is_called(painting: Path, core: Path, tmp_path: Path) -> None:
    styles = tmp_path / "data" / "styles"
    train(painting, core, "--steps", 1)
    (styles / "my aunt.safetensors").rename(styles / "zz.safetensors")
    with pytest.raises(ConfigError) as caught:
        train(painting, core, "--steps", 1, "--name", "My-Aunt")
    assert caught.value.code == "name_taken"
    for again in ("--replace", "--resume"):
        assert train(painting, core, "--steps", 1, "--name", "My-Aunt", again) == 0
        assert [path.name for path in styles.glob("*.safetensors")] == ["zz.safetensors"]
        assert load_style(styles / "zz.safetensors").name == "my aunt"
    assert training.run(options("--remove", "my_aunt")) == 0
    assert [path.name for path in styles.iterdir()] == ["my aunt.png"]
    assert not (tmp_path / "data" / "training" / "my aunt").exists()


def test_a_broken_file_does_not_hide_the_style_that_another_file_holds(
    painting: Path, core: Path, tmp_path: Path
) -> None:
    styles = tmp_path / "data" / "styles"
    train(painting, core, "--steps", 1, "--prompt", "stripes")
    (styles / "my aunt.safetensors").rename(styles / "zz.safetensors")
    (styles / "my aunt.safetensors").write_bytes(b"broken")
    train(painting, core, "--steps", 2, "--resume")
    assert load_style(styles / "zz.safetensors").prompt == "stripes"
    training.run(options("--remove", "my aunt"))
    assert not list(styles.glob("*.safetensors"))


def test_a_file_that_holds_another_style_is_not_overwritten(painting: Path, core: Path, tmp_path: Path) -> None:
    styles = tmp_path / "data" / "styles"
    train(painting, core, "--steps", 1)
    (styles / "my aunt.safetensors").rename(styles / "other.safetensors")
    with pytest.raises(ConfigError, match="holds no style 'other': move it away") as caught:
        train(painting, core, "--steps", 1, "--name", "other", "--replace")
    assert caught.value.code == "name_taken"


def test_a_checkpoint_of_another_task_is_not_resumed(painting: Path, core: Path, tmp_path: Path) -> None:
    train(painting, core, "--steps", 1)
    with pytest.raises(ConfigError) as caught:
        train(painting, core, "--resume", "--scale", 2)
    assert (caught.value.code, caught.value.field) == ("checkpoint_unusable", "resume")
    (tmp_path / "data" / "training" / "my aunt" / "checkpoint.pt").unlink()
    with pytest.raises(ConfigError) as caught:
        train(painting, core, "--resume")
    assert caught.value.code == "checkpoint_missing"


def test_a_name_that_is_in_use_is_not_overwritten_by_accident(painting: Path, core: Path) -> None:
    train(painting, core, "--steps", 1)
    with pytest.raises(ConfigError, match="--resume goes on with it, --replace begins it anew") as caught:
        train(painting, core, "--steps", 1)
    assert (caught.value.code, caught.value.field) == ("name_taken", "name")
    assert train(painting, core, "--steps", 1, "--replace") == 0


def test_a_style_is_removed_with_all_that_belongs_to_it(painting: Path, core: Path, tmp_path: Path) -> None:
    train(painting, core, "--steps", 1)
    assert training.run(options("--remove", "My Aunt")) == 0
    assert not [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    with pytest.raises(WeightsError) as caught:
        training.run(options("--remove", "my aunt"))
    assert caught.value.code == "style_missing"


@pytest.mark.parametrize(
    ("given", "code", "field"),
    [
        (["--name", "pencil"], "name_taken", "name"),
        (["--name", "a/b"], "invalid_name", "name"),
        (["--name", ""], "invalid_arguments", "name"),
        (["--scale", "9"], "invalid_arguments", "scale"),
        (["--style-weight", "0"], "invalid_arguments", "style_weight"),
        (["--minutes", "nan"], "invalid_arguments", "minutes"),
        (["--steps", "0"], "invalid_arguments", "steps"),
        (["--seed", "-1"], "invalid_arguments", "seed"),
        (["--threads", "-1"], "invalid_arguments", "threads"),
        (["--prompt", "a" * 501], "invalid_arguments", "prompt"),
        (["--photos", "nowhere"], "photos_missing", "photos"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_trained(
    painting: Path, core: Path, tmp_path: Path, given: list[str], code: str, field: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        train(painting, core, *given)
    assert (caught.value.code, caught.value.field) == (code, field)
    assert not (tmp_path / "data").exists()


def test_a_device_that_is_not_there_is_named(painting: Path, core: Path) -> None:
    with pytest.raises(BackendUnavailable, match="cuda:63 cannot be used"):
        train(painting, core, "--device", "cuda:63")


# ------------------------------------------------------------------------------------------------------------ learning


def test_made_pictures_are_all_different_and_the_same_for_the_same_seed() -> None:
    first = scene(np.random.default_rng(1))
    assert (first.shape, first.dtype) == ((SIZE, SIZE, 3), np.uint8)
    assert np.array_equal(first, scene(np.random.default_rng(1)))
    assert np.abs(first.astype(int) - scene(np.random.default_rng(2))).mean() > 10
    assert first.std() > 15


def test_the_packaged_features_hold_what_the_loss_needs_and_little_more() -> None:
    taps = Features()(torch.zeros(1, 3, 64, 64))
    assert taps["fire6"].shape == (1, 384, 7, 7)
    assert PACKAGED.stat().st_size < 1_000_000


def test_a_new_style_begins_at_the_one_whose_pictures_are_nearest() -> None:
    network, features = TinyUNet(3).eval(), Features()
    source, noise = torch.rand(1, 3, 64, 64) * 2 - 1, torch.randn(1, 3, 64, 64)
    names = ["a", "b", "c"]
    with torch.no_grad():
        mixed = loop.paint(network, network.styles[[0, 2]].mean(0), source, noise)
        wanted = grams(features(mixed))
    start = find_start(network, names, features, source, noise, wanted)
    assert set(start.names) == {"a", "c"}
    assert start.distance < 1e-6


def test_a_vector_comes_nearer_to_the_painting_and_the_core_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "ramp_and_cool", lambda step, done: 4.0)
    network, features = TinyUNet(1).eval().requires_grad_(False), Features()
    before = core_identity(network)
    wanted = painting_grams(features, stripes(), 96)
    lesson = Lesson(network, features, wanted, Scenes())
    run = new_run("a task", network.styles[0], seed=0)
    source = torch.from_numpy(scene(np.random.default_rng(9))).permute(2, 0, 1)[None].float() / 127.5 - 1

    def loss(vector: torch.Tensor) -> float:
        with torch.no_grad():
            picture = loop.paint(network, vector, source, torch.randn(source.shape, generator=torch.manual_seed(0)))
            return float(painting_loss(features, picture, source, wanted).mean())

    for _ in range(8):
        train_step(run, lesson, Plan(8, 10.0))
    assert run.step == 8
    assert loss(run.vector) < 0.98 * loss(network.styles[0])
    assert core_identity(network) == before
