"""The judging of the embedded models, on pictures made here: no figure of this file says anything of the real ones."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from streamgen.cli.app import main
from streamgen.config import ModelSpec
from streamgen.engine import build_engine
from streamgen.errors import ConfigError
from streamgen.frames import Frame, Output
from streamgen.models.tiny_unet import TinyUNet
from streamgen.models.tiny_weights import save_network
from streamgen.settings import FrameFormat, StreamSettings
from streamgen.training.core import held_out
from streamgen.training.core.evaluate import figures
from streamgen.training.core.exam import JUDGE, Exam, find_painters
from streamgen.training.core.held_out import View, held_out_clips, held_out_views, middle_frames
from streamgen.training.core.recipe import STYLES, Style
from streamgen.training.core.sampling import render
from streamgen.training.core.scores import STRENGTHS, Renderings, Score, look_at_each, score
from streamgen.training.core.steadiness import steadiness
from streamgen.training.core.temporal import Motion, Wobble, flicker, mixed, motions, sensor_noise, wobble
from streamgen.training.data import Pixels, to_pixels, to_tensor
from streamgen.training.features import JudgeFeatures
from streamgen.training.report.asked import ASKED, verdicts
from streamgen.training.report.page import page
from streamgen.training.report.parts import measure
from streamgen.training.report.sheets import encoded, grid
from streamgen.training.report.showpiece import save_showpiece
from streamgen.training.report.tables import markdown

SIDE = 64
LAYERS = {"conv1_1": 3, "conv1_2": 8, "conv2_1": 8, "conv2_2": 8, "conv3_1": 8, "conv3_2": 8, "conv3_3": 8}
HARDWARE = {"processor": "Abacus", "cores": 2, "gpu": None, "torch": "2.6"}


def judge(pictures: Tensor) -> dict[str, Tensor]:
    """Sees colours and edges."""
    edges = torch.cat([pictures, pictures.roll(1, 2) - pictures, pictures.roll(1, 3) - pictures], dim=1)
    return {"conv1_2": pictures, "conv4_1": edges}


def texture(seed: int = 0, side: int = SIDE) -> Pixels:
    """Blotches that optical flow can follow."""
    coarse = np.random.default_rng(seed).integers(0, 256, (side // 4, side // 4, 3)).astype(np.uint8)
    return np.array(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))


def panning(count: int, step: int = 2) -> list[Pixels]:
    """A camera that moves to the left over something larger."""
    wide = texture(side=SIDE + step * count)[:SIDE]
    return [np.ascontiguousarray(wide[:, step * at : step * at + SIDE]) for at in range(count)]


@pytest.fixture(scope="module")
def network() -> TinyUNet:
    torch.manual_seed(0)
    return TinyUNet(styles=2).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def weights(network: TinyUNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with two styles, one of which nobody here teaches."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_network(network, ["pencil", "ukiyo-e"], path)
    return path


@pytest.fixture
def data(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the trainings with a judge and one clip."""
    root = tmp_path / "data"
    (root / "features").mkdir(parents=True)
    (root / "clips").mkdir()
    for name in ("photos", "photos.csv", "teachers"):
        (root / name).symlink_to(folder / name)
    random, arrays = np.random.default_rng(0), {}
    for layer, into in (LAYERS | {"conv4_1": 8}).items():
        arrays[f"{layer}.weight"] = (random.standard_normal((8, into, 3, 3)) / np.sqrt(9 * into)).astype(np.float16)
        arrays[f"{layer}.bias"] = np.zeros(8, np.float16)
    np.savez(root / JUDGE, **arrays)
    write_clip(root / "clips" / held_out.CLIPS[0], panning(8))
    monkeypatch.setattr(held_out, "_SIDE", SIDE)
    return root


def write_clip(path: Path, frames: Sequence[Pixels]) -> None:
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", 25, {"crf": "0", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = SIDE, SIDE, "yuv444p"
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))


class Fake:
    """Stands in for an exam: what `core` and `teacher` draw of a frame is theirs to say."""

    judge = staticmethod(judge)

    def __init__(self, core, teacher, style: Style = STYLES[0]) -> None:
        self.core, self.teacher, self.style = core, teacher, style

    @property
    def styles(self) -> Iterator[tuple[int, Style]]:
        yield 0, self.style

    def painted(self, photos: Sequence[Pixels], row: int) -> list[Pixels]:
        return [self.core(photo) for photo in photos]

    def taught(self, photos: Sequence[Pixels], style: Style) -> list[Pixels] | None:
        return None if self.teacher is None else [self.teacher(photo) for photo in photos]


def test_rendering_at_strength_zero_is_the_photo_and_seeds_repeat(network: TinyUNet) -> None:
    source = torch.rand(1, 3, SIDE, SIDE)
    assert torch.equal(render(network, 0, source, strength=0.0), source)
    assert torch.equal(render(network, 0, source, steps=2, seed=1), render(network, 0, source, steps=2, seed=1))
    assert not torch.equal(render(network, 0, source, seed=1), render(network, 0, source, seed=2))
    assert not torch.equal(render(network, 0, source), render(network, 0, source, steps=4))


def test_what_is_judged_is_what_a_session_shows(network: TinyUNet, tmp_path: Path) -> None:
    save_network(network, ["pencil", "other"], tmp_path / "tiny.safetensors")
    spec = ModelSpec(weights=tmp_path / "tiny.safetensors", width=128, height=128, dtype="float32")
    engine, pixels = build_engine(spec, "eager", 1), texture(side=128)
    engine.open("a", FrameFormat(width=128, height=128), StreamSettings(prompt="pencil", steps=3, seed=7))
    [(_, output)] = engine.step([("a", Frame(pixels))], 0.0)
    engine.close_all()
    assert isinstance(output, Output)
    half = TinyUNet(styles=2).eval().requires_grad_(False)
    half.load_state_dict({name: value.half().float() for name, value in network.state_dict().items()})
    rendered = to_pixels(render(half, 0, to_tensor([pixels]), steps=3, seed=7))[0]
    assert np.abs(rendered.astype(int) - output.pixels).max() <= 1


def scored(made: Tensor, source: Tensor, teacher: Tensor | None) -> Score:
    renderings = Renderings(tuple(torch.lerp(source, made, s) for s in STRENGTHS), made, made)
    return score(renderings, source, teacher, judge, look_at_each(judge, source))


def test_the_teachers_own_picture_has_the_best_score_and_the_photo_the_worst() -> None:
    source, teacher = to_tensor([texture(0), texture(1)]), to_tensor([255 - texture(2), texture(3)])
    perfect, untouched = scored(teacher, source, teacher), scored(source, source, teacher)
    assert (perfect.style_1, perfect.distance_4) == pytest.approx((0, 0), abs=1e-6)
    assert (untouched.style_4, untouched.distance_1) == pytest.approx((1, 1))
    assert untouched.structure_1 == pytest.approx(0, abs=1e-6)
    assert perfect.structure_1 == pytest.approx(perfect.structure_teacher)
    assert perfect.monotonic
    assert not untouched.monotonic


def test_a_style_without_a_teacher_is_scored_as_far_as_that_goes() -> None:
    source = to_tensor([texture()])
    alone = scored(-source, source, None)
    assert (alone.style_1, alone.structure_teacher, alone.distance_4) == (None, None, None)
    assert alone.structure_1 > 0


def test_styles_that_gain_by_four_steps_are_counted(network: TinyUNet, monkeypatch: pytest.MonkeyPatch) -> None:
    class Teachers:
        def known(self, style: Style) -> bool:
            return style.name == "pencil"

        def picture(self, photo: Pixels, style: Style) -> Pixels:
            return 255 - photo

    seen: list[tuple[str, bool]] = []
    exam = Exam(network, ["pencil", "ukiyo-e", "homemade"], Teachers(), judge)  # type: ignore[arg-type]
    made = Renderings((torch.zeros(1, 3, SIDE, SIDE),) * 4, to_tensor([255 - texture()]), torch.zeros(1, 3, SIDE, SIDE))
    monkeypatch.setattr("streamgen.training.core.evaluate.render_all", lambda *_: made)
    found = figures(
        exam, [View("face", "a.png", texture())], lambda style, taught, _: seen.append((style.name, taught is None))
    )
    assert found["better_in_4_steps"] == {"style": 1, "structure": 0, "distance": 1, "of": 1}
    assert found["without_teacher"] == ["ukiyo-e"]
    assert found["unknown"] == ["homemade"]
    assert found["mean"]["style_4"] == found["styles"]["pencil"]["style_4"]
    assert seen == [("pencil", False), ("ukiyo-e", True)]


def test_pictures_that_move_with_the_scene_are_steadier_than_those_that_boil() -> None:
    frames = panning(4)
    moved = motions(frames)
    random = np.random.default_rng(0)
    boiling = [np.clip(frame + random.normal(0, 20, frame.shape), 0, 255).astype(np.uint8) for frame in frames]
    still = [frames[0]] * 4
    assert wobble(frames, moved).mean < 0.3 * wobble(boiling, moved).mean
    assert wobble(frames, moved).mean < 0.3 * wobble(still, moved).mean
    assert wobble(boiling, moved).square > wobble(frames, moved).square


def test_where_no_pixel_is_seen_twice_nothing_wobbles() -> None:
    frames = panning(3)
    cut, kept = (
        Motion(motion.places, motion.seen & seen) for motion, seen in zip(motions(frames), (False, True), strict=True)
    )
    assert wobble(frames[:2], [cut]) == Wobble(0.0, 0.0)
    assert wobble(frames, [cut, kept]) == wobble(frames[1:], [kept])


def test_what_comes_into_view_is_not_counted() -> None:
    [motion] = motions(panning(2, step=6))
    assert not motion.seen[:, -3:].any()
    assert motion.seen[8:-8, 8:-12].mean() > 0.9


def test_flicker_is_the_noise_that_stays() -> None:
    noisy = sensor_noise(np.full((SIDE, SIDE, 3), 128, np.uint8), 6)
    assert flicker(noisy) == pytest.approx(0.01, rel=0.15)
    assert flicker([noisy[0]] * 3) == 0
    assert flicker(mixed([noisy[0]] * 6, noisy, 0.5)) == pytest.approx(0.5 * flicker(noisy), rel=0.1)
    assert all(np.array_equal(a, b) for a, b in zip(noisy, sensor_noise(np.full_like(noisy[0], 128), 6), strict=True))


def test_a_pale_core_gains_nothing_at_equal_style(data: Path) -> None:
    def teacher(photo: Pixels) -> Pixels:
        grain = np.random.default_rng(int(photo.sum())).integers(-60, 60, photo.shape)
        return np.clip(photo * 0.5 + (120, 20, 0) + grain, 0, 255).astype(np.uint8)

    def pale(photo: Pixels) -> Pixels:
        return mixed([photo], [teacher(photo)], 0.4)[0]

    row = steadiness(Fake(pale, teacher), data, clips=1, pairs=4, draws=3)["styles"]["pencil"]  # type: ignore[arg-type]
    assert row["warp_ratio"] < 0.7
    assert row["warp_ratio_equal"] == pytest.approx(1, abs=0.05)
    assert row["flicker_ratio_equal"] == pytest.approx(1, abs=0.05)
    assert 0.1 < row["style"] < 1


def test_steadiness_is_told_apart_for_styles_whose_grid_is_the_screens(data: Path) -> None:
    anchored = replace(STYLES[0], anchored=True)
    found = steadiness(Fake(np.copy, np.copy, anchored), data, clips=3, pairs=3, draws=2)  # type: ignore[arg-type]
    assert found["clips"] == [held_out.CLIPS[0]]
    assert found["mean_anchored"]["warp_ratio"] == pytest.approx(1)
    assert found["mean_free"] == {}
    assert found["frames_warp"] == pytest.approx(found["styles"]["pencil"]["warp"])


def test_a_style_without_a_teacher_has_its_own_unrest_alone(data: Path) -> None:
    found = steadiness(Fake(np.copy, None), data, clips=1, pairs=2, draws=2)  # type: ignore[arg-type]
    assert found["styles"]["pencil"]["warp"] > 0
    assert found["styles"]["pencil"]["warp_ratio"] is None
    assert found["mean"] == {}


def test_other_held_out_photos_stand_in_for_those_that_are_missing(data: Path) -> None:
    views = held_out_views(data, 3)
    assert [(view.kind, view.name) for view in views] == [("hands", "asl_want.mkv"), ("photo", "face_3.png")]
    assert all(view.pixels.shape == (SIDE, SIDE, 3) for view in views)


def test_frames_are_taken_from_the_middle_of_a_clip(data: Path) -> None:
    [clip] = held_out_clips(data, 3)
    wanted = panning(8)[3:5]
    for found, frame in zip(middle_frames(clip, 2), wanted, strict=True):
        assert np.abs(found.astype(int) - frame).mean() < 2


def test_a_folder_without_clips_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        held_out_clips(folder, 1)
    assert caught.value.code == "data_missing"


def test_the_painters_beside_the_weights_come_first(tmp_path: Path) -> None:
    weights = tmp_path / "tiny.safetensors"
    assert find_painters(tmp_path / "data", weights) == tmp_path / "data" / "teachers" / "painters.safetensors"
    (tmp_path / "painters.safetensors").touch()
    assert find_painters(tmp_path / "data", weights) == tmp_path / "painters.safetensors"


def test_the_judge_is_another_network_than_the_one_that_teaches(data: Path) -> None:
    taps = JudgeFeatures(data / JUDGE)(torch.zeros(1, 3, 32, 32))
    assert list(taps) == list(JudgeFeatures.taps)


def test_what_was_asked_is_met_or_not_or_not_known() -> None:
    results = {
        "prompts": {"accuracy_test": 0.9},
        "matte": {"iou clips": 0.9},
        "upscaler": {"missing": "no photos"},
        "speed": {"best": {"core 256x256": {"ms": 5.0, "psnr_db": None}}},
    }
    found = {line.figure: line for line in verdicts(results)}
    assert len(found) == len(ASKED)
    assert found["held-out paraphrases on the right style"].met is True
    assert found["matte, overlap with the teacher on clips"].met is False
    assert found["upscaler over bicubic, photos"].met is None
    assert "no photos" in found["upscaler over bicubic, photos"].found
    assert found["core, 256 px, one step, best backend"].found == "5.0 ms"
    assert found["fidelity of the best backend, 256 px"].found == "not measured"
    assert found["styles"].found == "not measured"


def test_a_part_that_cannot_be_measured_says_why() -> None:
    def without_data() -> dict[str, float]:
        raise ConfigError("data_missing", "no photos here")

    def without_package() -> dict[str, float]:
        raise ModuleNotFoundError("No module named 'openvino'", name="openvino")

    def without_file() -> dict[str, float]:
        Path("/nowhere/features.npz").read_bytes()
        return {}

    assert measure(without_data) == {"missing": "no photos here"}
    assert measure(without_package) == {"missing": "the package openvino is not installed"}
    assert measure(without_file) == {"missing": "no /nowhere/features.npz"}


def test_the_page_shows_reasons_and_nothing_that_is_not_escaped() -> None:
    results = {"matte": {"missing": "no <clip>"}, "prompts": {"accuracy_test": 0.5}}
    shown = page({"streamgen": "0", "measured": "now", "hardware": HARDWARE, "results": results})
    assert "no &lt;clip&gt;" in shown
    assert "<clip>" not in shown
    assert '<td class="no">no</td>' in shown
    assert "| accuracy_test | 0.500 |" in markdown(results, HARDWARE)


def test_a_sheet_has_a_caption_to_every_picture_and_keeps_to_its_size() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    sheet = grid([("one", noise), ("two", noise), ("three", noise)], columns=2)
    assert 2 * SIDE <= sheet.width < 2.5 * SIDE
    assert sheet.height > 2 * SIDE
    best, small = encoded(sheet, 10**9), encoded(sheet, len(encoded(sheet, 10**9)) - 1)
    assert len(small) < len(best)


def test_the_sheet_for_the_documentation_shows_every_style(weights: Path, tmp_path: Path) -> None:
    save_showpiece(weights, tmp_path / "docs" / "styles.jpg")
    with Image.open(tmp_path / "docs" / "styles.jpg") as sheet:
        assert sheet.width > sheet.height
    assert (tmp_path / "docs" / "styles.jpg").stat().st_size <= 600_000


@pytest.fixture
def few_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command sets up the process that it runs in."""
    monkeypatch.setattr("streamgen.cli.evaluate.start_compute", lambda threads: None)


@pytest.mark.usefixtures("few_threads")
def test_the_command_writes_a_report_with_its_sheets(data: Path, weights: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "report"
    asked = ["evaluate", "--data", str(data), "--out", str(out), "--weights", str(weights), "--threads", "1", "--quick"]
    assert main([*asked, "--parts", "core,temporal,weights"]) == 0
    results = json.loads((out / "report.json").read_text())["results"]
    assert set(results["core"]["styles"]) == {"pencil", "ukiyo-e"}
    assert results["core"]["without_teacher"] == ["ukiyo-e"]
    assert results["temporal"]["styles"]["pencil"]["warp_ratio"] > 0
    shown = (out / "index.html").read_text()
    links = re.findall(r'src="([^"]+)"', shown)
    assert len(links) == 4
    assert all((out / link).is_file() for link in links)
    assert "all weights" in capsys.readouterr().out


@pytest.mark.usefixtures("few_threads")
def test_parts_without_data_are_missing_in_the_report_and_in_the_exit_code(
    folder: Path, weights: Path, tmp_path: Path, capsys
) -> None:
    asked = ["evaluate", "--data", str(folder), "--out", str(tmp_path), "--weights", str(weights), "--threads", "1"]
    assert main([*asked, "--parts", "core,matte", "--markdown"]) == 1
    results = json.loads((tmp_path / "report.json").read_text())["results"]
    assert "vgg16" in results["core"]["missing"]
    assert "missing" in results["matte"]
    assert "### Styles\n\nMissing: no " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "--data is needed"),
        (["--data", "x", "--parts", "soul"], "--parts must be some of core"),
        (["--data", "x", "--weights", "/nowhere/tiny.safetensors"], "no weights file at /nowhere"),
    ],
)
def test_what_cannot_be_judged_is_refused_at_once(options: list[str], message: str, capsys) -> None:
    assert main(["evaluate", *options]) == 2
    assert message in capsys.readouterr().err
