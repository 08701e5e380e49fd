"""A style from one picture: what is refused, what is learned, and what is written, with a tiny random core."""

from __future__ import annotations

import argparse
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import streamgen.training as training
from streamgen.errors import BackendUnavailable, ConfigError, MediaError, WeightsError
from streamgen.frames import Pixels
from streamgen.models.tiny_unet import TinyUNet
from streamgen.models.tiny_weights import save_network
from streamgen.models.user_styles import core_identity, load_style
from streamgen.training import data
from streamgen.training.features import PACKAGED, Features
from streamgen.training.losses import grams
from streamgen.training.painting import looked_at, painting_grams, painting_loss
from streamgen.training.style import command, loop, painting_file, scenes, sources
from streamgen.training.style.loop import Lesson, Plan, new_run, train_step
from streamgen.training.style.painting_file import height_for, read_painting
from streamgen.training.style.scenes import scene
from streamgen.training.style.sources import Folder, Scenes
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


# ------------------------------------------------------------------------------------------------------------ painting


def refused(path: Path) -> tuple[str, str | None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(MediaError) as caught:
            read_painting(path)
    assert "\n" not in caught.value.message
    return caught.value.code, caught.value.field


def test_a_picture_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.jpg") == ("picture_missing", "painting")
    assert refused(tmp_path) == ("picture_missing", "painting")


@pytest.mark.parametrize(
    "content",
    [b"", b"not a picture", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 500 500\n", b"<svg/>", b"\x89PNG\r\n"],
)
def test_what_is_no_picture_is_unreadable(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(content)
    assert refused(path) == ("picture_unreadable", "painting")


def test_a_truncated_picture_is_unreadable(painting: Path) -> None:
    painting.write_bytes(painting.read_bytes()[:-200])
    assert refused(painting) == ("picture_unreadable", "painting")


@pytest.mark.parametrize(
    ("size", "code"),
    [
        ((127, 400), "picture_too_small"),
        ((128, 900), "picture_too_long"),
        ((11_000, 10_000), "picture_too_large"),
        ((20_000, 20_000), "picture_too_large"),  # more than Pillow itself opens
    ],
)
def test_a_picture_of_no_useful_size_is_refused_before_it_is_decoded(
    tmp_path: Path, size: tuple[int, int], code: str
) -> None:
    path = tmp_path / "x.png"
    header = b"IHDR" + struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0)
    chunks = (header, b"IDAT" + zlib.compress(b""), b"IEND")
    parts = (struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    assert refused(path) == (code, "painting")


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
def test_a_picture_of_one_colour_is_refused(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "x.png"
    Image.new(mode, (200, 200)).save(path)
    assert refused(path) == ("picture_flat", "painting")


def test_a_picture_comes_upright_on_white_and_no_larger_than_is_of_use(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    seen = Image.fromarray(stripes(300, 150)).convert("RGBA")
    seen.paste((0, 0, 0, 0), (0, 0, 150, 20))
    exif = Image.Exif()
    exif[0x0112] = 6
    seen.save(path, exif=exif)
    picture = read_painting(path)
    assert picture.shape == (150, 300, 3)
    assert (picture[:, -20:] == 255).all()
    Image.fromarray(stripes(300, 2500)).resize((2500, 2100)).save(tmp_path / "large.png")
    assert read_painting(tmp_path / "large.png").shape == (2048, 2438, 3)


def test_strokes_of_tall_and_wide_pictures_come_out_alike() -> None:
    wide, tall = stripes(300, 400), stripes(400, 300)
    assert height_for(wide, 1.0) == 96
    assert height_for(tall, 1.0) == 128
    assert height_for(wide, 2.0) == 192
    assert looked_at(tall, 128).shape == (1, 3, 128, 96)


# ------------------------------------------------------------------------------------------------------------ learning


def test_made_pictures_are_all_different_and_the_same_for_the_same_seed() -> None:
    first = scene(np.random.default_rng(1))
    assert (first.shape, first.dtype) == ((SIZE, SIZE, 3), np.uint8)
    assert np.array_equal(first, scene(np.random.default_rng(1)))
    assert np.abs(first.astype(int) - scene(np.random.default_rng(2))).mean() > 10
    assert first.std() > 15


def test_a_folder_of_pictures_is_searched_through_and_what_is_none_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    Image.fromarray(stripes()).save(tmp_path / "deep" / "a.JPG")
    Image.fromarray(stripes(40, 40)).save(tmp_path / "icon.png")
    (tmp_path / "broken.png").write_bytes(b"no")
    folder = Folder(tmp_path)
    assert len(folder.shown(4)) == 1
    assert folder.shown(4)[0].shape == (SIZE, SIZE, 3)
    assert folder.draw(np.random.default_rng(0)).dtype == np.uint8
    with pytest.raises(ConfigError) as caught:
        Folder(tmp_path / "nowhere")
    assert caught.value.code == "photos_missing"


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
