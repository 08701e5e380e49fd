"""Which part of a frame is stylised, and that nobody's matte is anybody else's."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from streamgen.backends.base import Backend, Compiled
from streamgen.engine import matting
from streamgen.engine.engine import Engine, Skipped
from streamgen.errors import WeightsError
from streamgen.frames import Frame, Pixels
from streamgen.settings import FrameFormat, StreamSettings
from tests.engine.toy import toy_engine

SMALL = FrameFormat(width=128, height=128)
TALL = FrameFormat(width=128, height=192)
PADDED = FrameFormat(width=128, height=128, fit="contain")
LARGER = FrameFormat(width=256, height=256, upscale=2)
BLUE, RED = (20, 40, 160), (220, 40, 40)


class RedIsAPerson(nn.Module):
    """Says that what is red is a person."""

    def __init__(self) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.zeros(1))

    def forward(self, pictures: Tensor) -> Tensor:
        return (pictures[:, :1] > self.level).to(pictures.dtype)


@pytest.fixture(autouse=True)
def loads(monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """Every network that was loaded."""
    loaded: list[nn.Module] = []

    def load() -> nn.Module:
        loaded.append(RedIsAPerson())
        return loaded[-1]

    monkeypatch.setattr(matting, "load_matte", load)
    return loaded


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = toy_engine(max_batch=8)
    yield engine
    engine.close_all()


def person(left: int = 40, height: int = 128, width: int = 128) -> Pixels:
    """Somebody red, 40 pixels wide, before a blue wall."""
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[:] = BLUE
    pixels[:, left : left + 40] = RED
    return pixels


def step(engine: Engine, *batch: tuple[str, Pixels]) -> list[Pixels]:
    made = engine.step([(session, Frame(pixels)) for session, pixels in batch], 0.0)
    return [np.empty(0, np.uint8) if isinstance(output, Skipped) else output.pixels for _, output in made]


def both(engine: Engine, frame: Pixels, format: FrameFormat = SMALL, **settings: Any) -> tuple[Pixels, Pixels]:
    """The frame stylised as a whole, and as the settings say."""
    shared = {key: value for key, value in settings.items() if key not in ("matte", "alpha")}
    engine.open("whole", format, StreamSettings(**shared))
    engine.open("part", format, StreamSettings(**settings))
    whole, part = step(engine, ("whole", frame), ("part", frame))
    return whole, part


@pytest.mark.parametrize("strength", [0.4, 1.0])
def test_the_person_alone_is_stylised_before_the_plain_wall(engine: Engine, strength: float) -> None:
    whole, part = both(engine, person(), matte="person", strength=strength)
    np.testing.assert_array_equal(part[:, 46:74], whole[:, 46:74])
    np.testing.assert_array_equal(part[:, :34], person()[:, :34])
    np.testing.assert_array_equal(part[:, 86:], person()[:, 86:])


def test_the_background_alone_is_stylised_around_the_plain_person(engine: Engine) -> None:
    whole, part = both(engine, person(), matte="background")
    np.testing.assert_array_equal(part[:, 46:74], person()[:, 46:74])
    np.testing.assert_array_equal(part[:, :34], whole[:, :34])


@pytest.mark.parametrize("strength", [0.0, 1.0])
@pytest.mark.parametrize(("matte", "wall"), [("person", 0), ("background", 255)])
def test_with_alpha_the_rest_is_transparent(engine: Engine, strength: float, matte: str, wall: int) -> None:
    whole, part = both(engine, person(), matte=matte, alpha=True, strength=strength)
    assert part.shape == (128, 128, 4)
    assert (part[:, :34, 3] == wall).all() and (part[:, 46:74, 3] == 255 - wall).all()
    solid = slice(52, 68) if matte == "person" else slice(0, 26)  # away from edges, which are painted over
    np.testing.assert_array_equal(part[:, solid, :3], whole[:, solid])


def test_at_strength_0_without_alpha_the_frame_stays_as_it_is(engine: Engine) -> None:
    engine.open("a", SMALL, StreamSettings(strength=0.0, matte="person"))
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    np.testing.assert_array_equal(step(engine, ("a", noise))[0], noise)


def test_what_the_key_or_the_padding_takes_away_no_matte_brings_back(engine: Engine) -> None:
    settings = StreamSettings(strength=0.0, alpha=True, matte="person", key_colour="#dc2828", key_similarity=0.3)
    engine.open("keyed", PADDED, settings)
    engine.open("padded", PADDED, settings.model_copy(update={"key_colour": ""}))
    keyed, padded = step(engine, *((name, person(height=64)) for name in ("keyed", "padded")))
    assert keyed[:, 46:74, 3].max() == keyed[:, :34, 3].max() == 0  # one is keyed, the other is not the person
    assert padded[40:88, 46:74, 3].min() == 255
    assert padded[:32, :, 3].max() == padded[96:, :, 3].max() == 0


@pytest.mark.parametrize("format", [TALL, PADDED, LARGER], ids=["tall", "padded", "upscaled"])
def test_a_frame_of_another_shape_has_its_matte_where_its_person_is(engine: Engine, format: FrameFormat) -> None:
    engine.open("a", format, StreamSettings(strength=0.0, alpha=True, matte="person"))
    frame = person(left=100, height=120, width=240)
    engine.open("plain", format, StreamSettings(strength=0.0))
    made, plain = step(engine, ("a", frame), ("plain", frame))
    red, blue = (np.abs(plain.astype(int) - colour).sum(-1) < 8 for colour in (RED, BLUE))
    assert made[..., 3][red].mean() > 245 and made[..., 3][blue].mean() < 8


def test_sessions_with_every_choice_share_a_batch_and_none_influences_another(engine: Engine) -> None:
    sessions = {
        "plain": StreamSettings(prompt="red"),
        "person": StreamSettings(prompt="blue", matte="person"),
        "background": StreamSettings(prompt="pink", matte="background"),
        "cut out": StreamSettings(prompt="grey", matte="person", alpha=True),
        "clear": StreamSettings(prompt="brown", alpha=True),
        "still plain": StreamSettings(strength=0.0, matte="person"),
        "pipelined": StreamSettings(prompt="cyan", steps=2, stream_batch=True, matte="background", alpha=True),
    }
    alone = toy_engine(max_batch=8)
    for one in (alone, engine):
        for name, settings in sessions.items():
            one.open(name, SMALL, settings)
    for round in range(3):
        frames = {name: person(left=(11 * index + 3 * round) % 88) for index, name in enumerate(sessions)}
        expected = [step(alone, (name, frames[name]))[0] for name in sessions]
        made = step(engine, *frames.items())
        for pixels, same in zip(made, expected, strict=True):
            np.testing.assert_array_equal(pixels, same)
    alone.close_all()


def test_a_frame_that_comes_out_of_a_pipeline_has_its_own_matte(engine: Engine) -> None:
    engine.open("a", SMALL, StreamSettings(steps=2, stream_batch=True, alpha=True, matte="person"))
    assert step(engine, ("a", person(left=10)))[0].size == 0
    [pixels] = step(engine, ("a", person(left=80)))
    assert pixels[:, 16:44, 3].min() == 255 and pixels[:, 86:, 3].max() == 0


def test_nothing_lags_behind_a_person_who_moves(engine: Engine) -> None:
    engine.open("a", SMALL, StreamSettings(strength=0.0, alpha=True, matte="person"))
    step(engine, ("a", person(left=10)))
    [pixels] = step(engine, ("a", person(left=80)))
    assert pixels[:, 86:114, 3].min() > 250 and pixels[:, 16:44, 3].max() < 5


def test_a_new_format_begins_without_the_former_matte(engine: Engine) -> None:
    engine.open("a", SMALL, StreamSettings(alpha=True, matte="person"))
    step(engine, ("a", person()))
    assert engine.entry("a").state.seen is not None
    engine.reformat("a", TALL, lambda: None)
    engine.prepare(TALL)
    engine.take_format("a")
    assert engine.entry("a").state.seen is None
    step(engine, ("a", person()))
    engine.update("a", StreamSettings(), 1)
    step(engine, ("a", person()))
    assert engine.entry("a").state.seen is None


def test_a_prompt_stream_shows_nobody(engine: Engine) -> None:
    engine.open("a", SMALL, StreamSettings(source="prompt", alpha=True, matte="person"))
    [(_, output)] = engine.step([("a", engine.dream("a", 0, 0.0))], 0.0)
    assert not isinstance(output, Skipped) and output.pixels[..., 3].min() == 255


def test_the_network_is_loaded_when_somebody_first_asks_and_then_kept(
    engine: Engine, loads: list[nn.Module], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "streamgen")
    engine.open("a", SMALL, StreamSettings())
    engine.prepare(SMALL)
    compiled = engine.compilations
    step(engine, ("a", person()))
    assert loads == []
    for rev, matte in enumerate(("person", "background", "none", "person")):
        engine.update("a", StreamSettings(matte=matte), rev)
        step(engine, ("a", person()))
    assert len(loads) == 1
    assert "the person matte is loaded" in caplog.text
    assert engine.compilations == compiled


def test_settings_that_need_missing_weights_are_refused_and_the_former_ones_stay(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load() -> nn.Module:
        raise WeightsError("weights_missing", "no weights file at nowhere", field="weights")

    monkeypatch.setattr(matting, "load_matte", load)
    engine.open("a", SMALL, StreamSettings())
    before = step(engine, ("a", person()))
    with pytest.raises(WeightsError):
        engine.update("a", StreamSettings(matte="person"), 1)
    np.testing.assert_array_equal(step(engine, ("a", person()))[0], before[0])


class Broken(Backend):
    """Compiles nothing."""

    name = "broken"

    @classmethod
    def unavailable(cls, device: str) -> str | None:
        return None

    def compile(self, network: nn.Module, example: tuple[Tensor, ...]) -> Compiled:
        raise RuntimeError("it cannot be compiled")


def test_the_eager_network_serves_where_the_fast_one_cannot_be_compiled(engine: Engine) -> None:
    slow = Engine(engine.model, Broken("cpu", "float32", 1), engine.report, 2, wait_for_compilation=False)
    slow.open("a", SMALL, StreamSettings(strength=0.0, alpha=True, matte="person"))
    [pixels] = step(slow, ("a", person()))
    slow.close_all()
    assert pixels[:, 46:74, 3].min() == 255 and pixels[:, :34, 3].max() == 0
