"""Outputs larger than the model paints: whose they are, how large, and what they cost the others."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from streamgen.backends.base import Backend, Compiled
from streamgen.config import ModelSpec
from streamgen.engine import executables
from streamgen.engine.engine import Engine, Skipped
from streamgen.engine.select import BackendReport
from streamgen.engine.upscaling import enlargements
from streamgen.frames import Frame, Output, Pixels
from streamgen.models.upscaler import Upscaler, load_upscaler
from streamgen.settings import FrameFormat, StreamSettings
from tests.engine.test_batching import Capturing
from tests.engine.toy import ToyModel, toy_engine

SMALL = FrameFormat(width=128, height=128)
TWICE = FrameFormat(width=256, height=256, upscale=2)
FOUR_TIMES = FrameFormat(width=512, height=512, upscale=4)
PADDED = FrameFormat(width=256, height=256, upscale=2, fit="contain")


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = toy_engine(max_batch=4)
    yield engine
    engine.close_all()


def step(engine: Engine, *batch: tuple[str, Pixels]) -> list[Pixels]:
    made = []
    for _, output in engine.step([(session, Frame(pixels)) for session, pixels in batch], 0.0):
        assert isinstance(output, Output)
        made.append(output.pixels)
    return made


def enlarged(pixels: Pixels) -> Pixels:
    return load_upscaler()(torch.from_numpy(pixels)[None])[0].numpy()


def test_the_output_is_the_painted_picture_enlarged(engine: Engine, picture: Pixels) -> None:
    engine.open("small", SMALL, StreamSettings())
    engine.open("twice", TWICE, StreamSettings())
    engine.open("four times", FOUR_TIMES, StreamSettings())
    small, twice, four_times = step(engine, *((name, picture) for name in ("small", "twice", "four times")))
    np.testing.assert_array_equal(twice, enlarged(small))
    np.testing.assert_array_equal(four_times, enlarged(twice))


def test_strength_zero_returns_the_frame_at_the_outputs_own_size(engine: Engine, picture: Pixels) -> None:
    frame = np.kron(picture, np.ones((2, 2, 1), np.uint8)) // 2 + np.eye(256, dtype=np.uint8)[..., None] * 9
    engine.open("a", TWICE, StreamSettings(strength=0.0))
    [pixels] = step(engine, ("a", frame))
    np.testing.assert_array_equal(pixels, frame)


def test_a_row_does_not_depend_on_its_neighbours(engine: Engine, picture: Pixels) -> None:
    formats = [TWICE, SMALL, TWICE, FrameFormat(width=384, height=256, upscale=2), TWICE]
    batch = [(f"session {index}", np.roll(picture, 9 * index, axis=1)) for index in range(len(formats))]
    for (session, _), format in zip(batch, formats, strict=True):
        engine.open(session, format, StreamSettings(prompt=session))
    alone = [step(engine, one)[0] for one in batch]
    for one, format, together in zip(alone, formats, step(engine, *batch), strict=True):
        assert together.shape == (format.height, format.width, 3)
        np.testing.assert_array_equal(one, together)


def test_without_it_no_upscaler_is_loaded(monkeypatch: pytest.MonkeyPatch, picture: Pixels) -> None:
    monkeypatch.setattr(executables, "upscaler", None)
    engine = toy_engine()
    engine.open("a", SMALL, StreamSettings())
    [made] = step(engine, ("a", picture))
    assert made.shape == (SMALL.height, SMALL.width, 3)
    engine.close_all()


def test_no_settings_change_compiles_anything(engine: Engine, picture: Pixels) -> None:
    engine.open("a", FOUR_TIMES, StreamSettings())
    engine.prepare(FOUR_TIMES)
    assert engine.compilations == 9  # the model and two enlargements, at batch sizes 1, 2 and 4
    for rev in range(5):
        engine.update("a", StreamSettings(steps=1 + rev % 4, strength=rev / 5, seed=rev), rev)
        step(engine, ("a", picture))
    assert engine.compilations == 9


def test_a_session_goes_over_to_an_upscaled_format_and_back(engine: Engine, picture: Pixels) -> None:
    engine.open("a", SMALL, StreamSettings())
    [small] = step(engine, ("a", picture))
    for format in (TWICE, SMALL):
        engine.reformat("a", format, lambda: None)
        engine.prepare(format)
        engine.take_format("a")
        [pixels] = step(engine, ("a", picture))
        np.testing.assert_array_equal(pixels, small if format is SMALL else enlarged(small))


class SlowUpscaling(Backend):
    """Compiles the model at once, and the upscaler when the test allows it; that one then returns black."""

    name = "slow"

    def __init__(self) -> None:
        super().__init__("cpu", "float32", 1)
        self.allowed = threading.Event()

    @classmethod
    def unavailable(cls, device: str) -> str | None:
        return None

    def compile(self, network: nn.Module, example: tuple[Tensor, ...]) -> Compiled:
        if not isinstance(network, Upscaler):
            return torch.inference_mode()(network)
        self.allowed.wait(10)
        _, height, width, channels = example[0].shape
        return lambda pixels: torch.zeros((len(pixels), 2 * height, 2 * width, channels), dtype=torch.uint8)


def test_a_stand_in_enlarges_until_the_upscaler_is_compiled(picture: Pixels) -> None:
    backend, report = SlowUpscaling(), BackendReport("slow", "float32", "")
    engine = Engine(ToyModel(ModelSpec(family="toy")), backend, report, 1, wait_for_compilation=False)
    engine.open("a", TWICE, StreamSettings())
    [(_, early)] = engine.step([("a", Frame(picture))], 0.0)
    assert isinstance(early, Output) and early.warm_up and early.pixels.any()
    backend.allowed.set()
    engine.prepare(TWICE)
    [(_, late)] = engine.step([("a", Frame(picture))], 0.0)
    assert isinstance(late, Output) and not late.warm_up and not late.pixels.any()
    engine.close_all()


def test_a_frame_that_was_captured_whole_is_enlarged_too(engine: Engine, picture: Pixels) -> None:
    report = BackendReport("capturing", "float32", "")
    captured = Engine(ToyModel(ModelSpec(family="toy")), Capturing(), report, 1, wait_for_compilation=True)
    for each in (engine, captured):
        each.open("a", TWICE, StreamSettings())
    [wanted], [made] = step(engine, ("a", picture)), step(captured, ("a", picture))
    np.testing.assert_allclose(made.astype(int), wanted.astype(int), atol=2)
    assert captured.captured(TWICE, 1) is not None
    captured.close_all()


@pytest.mark.parametrize("height", [100, 101, 127])
@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_padding_is_transparent_and_ends_where_the_picture_does(engine: Engine, height: int, strength: float) -> None:
    engine.open("a", PADDED, StreamSettings(strength=strength, alpha=True))
    [pixels] = step(engine, ("a", np.full((height, 256, 3), 250, np.uint8)))
    solid = pixels[..., 3].min(axis=1) == 255
    assert pixels.shape == (256, 256, 4) and (solid == (pixels[..., 3].max(axis=1) > 0)).all()
    assert abs(int(solid.sum()) - height) <= 2
    if strength == 0:
        assert (pixels[solid][..., :3] == 250).all()


def test_the_key_looks_at_the_frame_at_the_outputs_own_size(engine: Engine) -> None:
    frame = np.full((256, 256, 3), (0, 200, 60), np.uint8)
    frame[:, 101:151] = (200, 40, 40)
    engine.open("a", TWICE, StreamSettings(alpha=True, key_colour="#00c83c", key_smoothness=0.0))
    [pixels] = step(engine, ("a", frame))
    assert pixels[:, 101:151, 3].min() == 255
    assert pixels[:, :101, 3].max() == pixels[:, 151:, 3].max() == 0


def test_a_pipelined_session_is_enlarged_too(engine: Engine, picture: Pixels) -> None:
    engine.open("a", TWICE, StreamSettings(steps=2, stream_batch=True, feedback=0.5))
    made = [engine.step([("a", Frame(picture, seq=seq))], 0.0)[0][1] for seq in range(3)]
    assert made[0] == Skipped(0, "pipelined")
    assert all(isinstance(output, Output) and output.pixels.shape == (256, 256, 3) for output in made[1:])


def test_a_prompt_stream_dreams_at_the_size_that_is_painted(engine: Engine) -> None:
    engine.open("a", TWICE, StreamSettings(source="prompt"))
    frame = engine.dream("a", 0, 0.0)
    assert frame.pixels.shape == (128, 128, 3)
    [pixels] = step(engine, ("a", frame.pixels))
    assert pixels.shape == (256, 256, 3)


def test_every_enlargement_starts_where_the_one_before_ended() -> None:
    assert enlargements(SMALL) == []
    assert enlargements(FrameFormat(width=1024, height=512, upscale=4)) == [(128, 256), (256, 512)]
