"""The command line: what each command prints, and the one line and exit code that bad input gets."""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch
from PIL import Image

import streamgen
from streamgen.backends import BACKENDS
from streamgen.cli import doctor
from streamgen.cli.app import COMMANDS, main
from streamgen.cli.doctor import Finding, State
from streamgen.cli.options import add_engine_arguments, config_of
from streamgen.cli.render import fitting_size
from streamgen.config import LoraSpec, ModelSpec, ServerConfig, from_environment
from streamgen.errors import StreamgenError
from streamgen.frames import Frame, Output
from streamgen.settings import FrameFormat, StreamSettings, parse_format


@dataclass
class InvertingEngine:
    """Stands in for the engine: every output is the negative of the picture's middle colour."""

    report: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(chosen="inverting"))
    seen: list[Frame] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    format: FrameFormat = field(default_factory=FrameFormat)
    settings: StreamSettings = field(default_factory=StreamSettings)
    fail_at: int | None = None

    def prepare(self, format: FrameFormat) -> None:
        pass

    def open(self, session: str, format: FrameFormat, settings: StreamSettings, rev: int = 0) -> None:
        self.format, self.settings = format, settings

    def step(self, batch: Sequence[tuple[str, Frame]], now_s: float) -> list[tuple[str, Output]]:
        if self.fail_at == len(self.seen):
            raise KeyboardInterrupt
        [(session, frame)] = batch
        self.seen.append(frame)
        self.times.append(now_s)
        colour = 255 - frame.pixels[frame.pixels.shape[0] // 2, frame.pixels.shape[1] // 2]
        return [(session, Output(np.full((self.format.height, self.format.width, 3), colour, np.uint8), frame.seq))]

    def close_all(self) -> None:
        pass


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> InvertingEngine:
    """Replaces the real engine in ``streamgen render``."""
    stand_in = InvertingEngine()

    def build(spec: ModelSpec, backend: str = "auto", threads: int = 0) -> InvertingEngine:
        return stand_in

    monkeypatch.setattr("streamgen.engine.build_engine", build)
    return stand_in


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Ten dark frames of 320x180 at 10 fps, with a second of silence as sound."""
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        video, sound = container.add_stream("libx264", 10), container.add_stream("aac", 48_000)
        video.width, video.height, video.pix_fmt = 320, 180, "yuv420p"
        for _ in range(10):
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.full((180, 320, 3), 30, np.uint8), "rgb24")))
        container.mux(video.encode(None))
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 48_000), np.float32), "fltp", "stereo")
        frame.sample_rate = 48_000
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return path


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(np.full((120, 160, 3), (200, 30, 30), np.uint8)).save(path)
    return path


def failure(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """Run a command that must fail, and return its one line."""
    assert main([str(argument) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("streamgen: ")
    assert error.count("\n") == 1, error
    return error


def test_without_a_command_the_help_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    text = capsys.readouterr().err
    assert all(name in text for name in COMMANDS)


def test_the_version_is_the_package_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"streamgen {streamgen.__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_its_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([name, "--help"])
    assert caught.value.code == 0
    assert f"usage: streamgen {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        (["paint"], "invalid choice: 'paint'"),
        (["serve", "--port", "many"], "must be a whole number, got 'many'"),
        (["serve", "--port", "70000"], "must be 0 to 65535, got 70000"),
        (["serve", "--threads", "-1"], "must be 0 to 1024, got -1"),
        (["serve", "--max-sessions", "0"], "must be 1 to 10000, got 0"),
        (["serve", "--device", "toaster"], "must be auto, cpu, cuda, cuda:1, ..., got 'toaster'"),
        (["serve", "--colour", "red"], "unrecognized arguments: --colour red"),
        (["render"], "INPUT, OUTPUT"),
    ],
)
def test_a_bad_command_line_gets_one_line(arguments: list[str], fact: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert fact in failure(capsys, *arguments)


@pytest.mark.parametrize(
    ("options", "fact"),
    [
        (["--strength", "1.5"], "strength: input should be less than or equal to 1, got 1.5"),
        (["--strength", "nan"], "strength: input should be"),
        (["--steps", "9"], "steps: input should be less than or equal to 4, got 9"),
        (["--seed", "-1"], "seed: input should be greater than or equal to 0, got -1"),
        (["--prompt", "x" * 1001], "prompt: string should have at most 1000 characters"),
        (["--width", "100"], "width: input should be"),
        (["--height", "2048"], "height: input should be less than or equal to 1024, got 2048"),
        (["--blend", "pencil:heavy"], "--blend must look like 'pencil:0.5', got 'pencil:heavy'"),
        (["--blend", "a:0"], "prompts_blend needs at least one weight above 0"),
        (["--blend", "a", "--prompt", "b"], "give --prompt or --blend, not both"),
        (["--model", "huge"], "model must be tiny, a diffusers folder"),
        (["--backend", "quantum"], "backend must be auto or one of"),
        (["--weights", "none.safetensors"], "no weights file at none.safetensors"),
    ],
)
def test_a_bad_render_option_gets_one_line_and_leaves_no_file(
    options: list[str], fact: str, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fact in failure(capsys, "render", photo, tmp_path / "out.png", *options)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


def test_corrupt_weights_get_one_line(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"\x10\0\0\0\0\0\0\0 not a header at all")
    assert "w.safetensors" in failure(capsys, "render", photo, tmp_path / "out.png", "--weights", weights)


def test_a_video_that_is_no_video_gets_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "in.mp4"
    path.write_text("this is no video")
    assert "it is no video or picture" in failure(capsys, "render", path, tmp_path / "out.mp4")


def test_a_missing_input_gets_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no such file" in failure(capsys, "render", tmp_path / "none.mp4", tmp_path / "out.mp4")


def test_an_output_that_cannot_be_written_gets_one_line(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = failure(capsys, "render", photo, tmp_path / "nowhere" / "out.png")
    assert "cannot write" in line
    assert "no such file or directory" in line


def test_a_port_in_use_gets_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("streamgen.server.run")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert str(port) in failure(capsys, "serve", "--port", str(port))


def test_a_bad_environment_variable_gets_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMGEN_PORT", "many")
    assert "STREAMGEN_PORT must be int, got 'many'" in failure(capsys, "doctor")


def test_a_missing_package_is_named_with_its_extra(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, photo: Path, engine: InvertingEngine
) -> None:
    def build(*_: object) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr("streamgen.engine.build_engine", build)
    line = failure(capsys, "render", photo, photo.with_name("out.png"))
    assert "render needs the package torch" in line
    assert "pip install '.[server]'" in line


def test_a_video_is_rendered_frame_by_frame_with_its_sound(
    clip: Path, tmp_path: Path, engine: InvertingEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.mp4"
    assert main(["render", str(clip), str(output), "--prompt", "pencil", "--seed", "7"]) == 0
    with av.open(str(output)) as container:
        video = container.streams.video[0]
        frames = list(container.decode(video))
        assert (video.width, video.height, video.average_rate) == (engine.format.width, engine.format.height, 10)
        assert container.streams.audio[0].codec_context.name == "aac"
    assert len(frames) == 10
    assert abs(int(frames[5].to_ndarray(format="rgb24").mean()) - 225) < 5
    assert [frame.seq for frame in engine.seen] == list(range(10))
    assert engine.times == pytest.approx([i / 10 for i in range(10)])
    assert (engine.settings.prompt, engine.settings.seed) == ("pencil", 7)
    assert "10 frames" in capsys.readouterr().out


def test_a_picture_is_rendered_at_the_size_asked_for(photo: Path, tmp_path: Path, engine: InvertingEngine) -> None:
    output = tmp_path / "out.png"
    assert main(["render", str(photo), str(output), "--width", "256", "--height", "128", "--fit", "contain"]) == 0
    with Image.open(output) as made:
        assert made.size == (256, 128)
        assert made.getpixel((5, 5)) == (55, 225, 225)
    assert engine.format.fit == "contain"


def test_a_picture_is_rendered_with_the_upscaler(photo: Path, tmp_path: Path, engine: InvertingEngine) -> None:
    assert main(["render", str(photo), str(tmp_path / "out.png"), "--width", "512", "--upscale", "2"]) == 0
    assert (engine.format.width, engine.format.upscale) == (512, 2)


def test_a_blend_takes_prompts_with_colons_and_without_weights(
    photo: Path, tmp_path: Path, engine: InvertingEngine
) -> None:
    assert main(["render", str(photo), str(tmp_path / "out.png"), "--blend", "ink: fine:3", "--blend", "neon"]) == 0
    assert engine.settings.weighted_prompts() == (("ink: fine", 0.75), ("neon", 0.25))


def test_an_interrupted_rendering_exits_with_130_and_leaves_no_file(
    clip: Path, tmp_path: Path, engine: InvertingEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.fail_at = 4
    assert main(["render", str(clip), str(tmp_path / "out.mp4")]) == 130
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]
    assert "Traceback" not in capsys.readouterr().err


def test_the_real_engine_renders_a_picture(photo: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.png"
    arguments = ["--prompt", "pencil", "--backend", "eager", "--threads", "1", "--width", "128", "--height", "128"]
    assert main(["render", str(photo), str(output), *arguments]) == 0
    with Image.open(output) as made:
        assert made.size == (128, 128)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1920, 1080), (672, 384)),
        ((1080, 1920), (384, 672)),
        ((640, 480), (640, 480)),
        ((512, 512), (512, 512)),
        ((100, 100), (128, 128)),
        ((4000, 100), (1024, 128)),
    ],
)
def test_the_output_size_follows_the_aspect_of_the_input(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert fitting_size(*size, None, None) == expected


def test_one_side_asked_for_gives_the_other() -> None:
    assert fitting_size(1920, 1080, 1024, None) == (1024, 576)
    assert fitting_size(1080, 1920, None, 640) == (352, 640)
    assert fitting_size(1080, 1920, 256, 128) == (256, 128)


@pytest.mark.parametrize(
    ("size", "upscale", "expected"),
    [
        ((512, 512), 2, (1024, 1024)),
        ((640, 480), 2, (1024, 768)),
        ((200, 200), 4, (768, 768)),
        ((1920, 1080), 4, (896, 512)),
    ],
)
def test_an_upscaled_output_is_larger_than_the_input(
    size: tuple[int, int], upscale: int, expected: tuple[int, int]
) -> None:
    width, height = fitting_size(*size, None, None, upscale)
    assert (width, height) == expected
    parse_format({"width": width, "height": height, "upscale": upscale})


def test_models_lists_styles_licence_and_size(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    text = capsys.readouterr().out
    assert "tiny" in text
    assert "pencil" in text
    assert "Apache-2.0" in text
    assert "million parameters" in text


def test_models_speaks_json(capsys: pytest.CaptureFixture[str]) -> None:
    import json

    assert main(["models", "--json"]) == 0
    [row, *_] = json.loads(capsys.readouterr().out)
    assert row["name"] == "tiny"
    assert row["problem"] is None
    assert len(row["styles"]) >= 6


def test_models_says_what_the_families_without_weights_take(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    assert "sdxl\n  takes    --model with a diffusers folder" in capsys.readouterr().out


def test_what_a_diffusion_model_is_given_is_read_from_options_and_the_environment() -> None:
    parser = argparse.ArgumentParser()
    add_engine_arguments(parser)
    options = (
        "--model some/model --lora ink=a.safetensors@0.5 b --fused-lora lcm --vae full --sampler lcm --dtype float32"
    )
    config = config_of(parser.parse_args(options.split()))
    assert config.spec.loras == (
        LoraSpec("lcm", "lcm", fused=True),
        LoraSpec("ink", "a.safetensors", 0.5),
        LoraSpec("b", "b"),
    )
    assert (config.spec.family, config.spec.vae, config.spec.sampler) == ("some/model", "full", "lcm")
    environ = {"STREAMGEN_LORAS": "ink=a, b@2", "STREAMGEN_ALSO_MODELS": "tiny,some/other"}
    read = from_environment(environ, model="some/model")
    assert [lora.weight for lora in read.spec.loras] == [1.0, 2.0]
    assert list(read.specs) == ["some/model", "tiny", "some/other"]


def findings(check: doctor.Check, **config: object) -> dict[str, Finding]:
    return {finding.subject: finding for finding in check(ServerConfig(**config))}  # type: ignore[arg-type]


def test_doctor_reports_every_backend() -> None:
    found = findings(doctor.check_backends)
    assert found["backend eager"].state is State.GOOD
    assert set(found) == {f"backend {name}" for name in BACKENDS}
    assert found["backend cuda-graph"].state is State.ABSENT


def test_doctor_says_why_an_asked_backend_cannot_run() -> None:
    found = findings(doctor.check_backends, backend="openvino", device="cuda")
    assert found["backend openvino"].state is State.BROKEN
    assert "cuda" in found["backend openvino"].fact


def test_doctor_says_whether_webrtc_works(monkeypatch: pytest.MonkeyPatch) -> None:
    assert findings(doctor.check_webrtc)["WebRTC"].state is State.GOOD
    monkeypatch.setattr("aiortc.__version__", "9.0.0")
    found = findings(doctor.check_webrtc)["WebRTC"]
    assert found.state is State.ABSENT and "found 9.0.0" in found.fact


def test_doctor_names_the_style_list_and_a_missing_weights_file() -> None:
    assert "pencil" in findings(doctor.check_model)["model tiny"].fact
    missing = findings(doctor.check_model, weights=Path("none.safetensors"))["model tiny"]
    assert missing == Finding(State.BROKEN, "model tiny", "no weights file at none.safetensors")


def test_doctor_says_that_a_device_is_missing() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    found = findings(doctor.check_model, device="cuda")
    assert found == {"device cuda": Finding(State.BROKEN, "device cuda", "torch finds no CUDA device")}


def test_doctor_sees_that_a_port_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        [finding] = findings(doctor.check_port, port=taken.getsockname()[1]).values()
    assert finding.state is State.BROKEN
    assert "in use" in finding.fact


def test_doctor_exits_with_1_when_something_is_broken(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(doctor, "CHECKS", (doctor.check_port,))
        assert main(["doctor", "--port", str(taken.getsockname()[1])]) == 1
    assert "1 to put right" in capsys.readouterr().out


def test_the_module_runs_as_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "streamgen", "render", "none.mp4", "out.mp4"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "streamgen: cannot read none.mp4: no such file or directory\n"


def test_reported_failures_carry_a_code(photo: Path) -> None:
    with pytest.raises(StreamgenError) as caught:
        from streamgen.media import MediaSource, open_sink

        with MediaSource(photo) as source:
            open_sink(photo, source, 128, 128)
    assert caught.value.code == "same_file"
