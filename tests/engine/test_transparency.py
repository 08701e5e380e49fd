"""Outputs with alpha: who gets it, of which frame it is, and what it costs the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from streamgen.engine.engine import Engine
from streamgen.frames import Frame, Output, Pixels
from streamgen.settings import FrameFormat, StreamSettings
from tests.engine.toy import toy_engine

SMALL = FrameFormat(width=128, height=128)
PADDED = FrameFormat(width=128, height=128, fit="contain")
GREEN, RED = (0, 200, 60), (200, 40, 40)
KEYED: dict[str, Any] = {"alpha": True, "key_colour": "#00c83c"}


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = toy_engine(max_batch=8)
    yield engine
    engine.close_all()


def screen(left: int = 40, height: int = 128, width: int = 128) -> Pixels:
    """A red bar, 40 pixels wide, before a green screen."""
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[:] = GREEN
    pixels[:, left : left + 40] = RED
    return pixels


def step(engine: Engine, *batch: tuple[str, Pixels]) -> list[Pixels | None]:
    made = engine.step([(session, Frame(pixels)) for session, pixels in batch], 0.0)
    return [output.pixels if isinstance(output, Output) else None for _, output in made]


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_without_the_setting_outputs_are_as_they_were(engine: Engine, strength: float) -> None:
    engine.open("plain", SMALL, StreamSettings(strength=strength))
    engine.open("off", SMALL, StreamSettings(strength=strength, **{**KEYED, "alpha": False}))
    plain, off = step(engine, ("plain", screen()), ("off", screen()))
    assert plain is not None and off is not None and plain.shape == (128, 128, 3)
    np.testing.assert_array_equal(plain, off)


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_with_nothing_to_take_away_every_pixel_is_solid_and_as_it_was(engine: Engine, strength: float) -> None:
    engine.open("plain", SMALL, StreamSettings(strength=strength))
    engine.open("clear", SMALL, StreamSettings(strength=strength, alpha=True))
    plain, clear = step(engine, ("plain", screen()), ("clear", screen()))
    assert plain is not None and clear is not None and clear.shape == (128, 128, 4) and clear.flags.c_contiguous
    np.testing.assert_array_equal(clear[..., :3], plain)
    assert clear[..., 3].min() == 255


@pytest.mark.parametrize("strength", [0.0, 0.6, 1.0])
def test_the_key_looks_at_the_frame_whatever_the_picture_looks_like(engine: Engine, strength: float) -> None:
    engine.open("a", SMALL, StreamSettings(strength=strength, prompt="green", **KEYED))
    [pixels] = step(engine, ("a", screen()))
    assert pixels is not None
    assert pixels[:, 42:78, 3].min() == 255
    assert pixels[:, :38, 3].max() == pixels[:, 82:, 3].max() == 0


def test_padding_is_transparent_and_has_the_colours_of_the_picture(engine: Engine) -> None:
    engine.open("a", PADDED, StreamSettings(strength=0.0, alpha=True))
    [pixels] = step(engine, ("a", np.full((64, 128, 3), 200, np.uint8)))
    assert pixels is not None
    assert pixels[32:96, :, 3].min() == 255
    assert pixels[:32, :, 3].max() == pixels[96:, :, 3].max() == 0
    assert (pixels[..., :3] == 200).all()


def test_what_one_source_of_transparency_takes_away_no_other_brings_back(engine: Engine) -> None:
    engine.open("a", PADDED, StreamSettings(strength=0.0, **KEYED))
    [pixels] = step(engine, ("a", screen(height=64)))
    assert pixels is not None
    assert pixels[34:94, 42:78, 3].min() == 255
    pixels[32:96, 38:82] = 0  # an edge is a little soft
    assert pixels[..., 3].max() == 0


def test_sessions_with_and_without_alpha_share_a_batch_and_none_influences_another(engine: Engine) -> None:
    sessions = {
        "plain": StreamSettings(prompt="red"),
        "keyed": StreamSettings(prompt="blue", **KEYED),
        "clear": StreamSettings(prompt="pink", alpha=True),
        "blue screen": StreamSettings(prompt="grey", alpha=True, key_colour="#0047bb"),
        "pipelined": StreamSettings(prompt="cyan", steps=2, stream_batch=True, **KEYED),
        "plain again": StreamSettings(prompt="brown", strength=0.5),
    }
    frames = {name: screen(left=8 * index) for index, name in enumerate(sessions)}
    alone = toy_engine(max_batch=8)
    for one in (alone, engine):
        for name, settings in sessions.items():
            one.open(name, SMALL, settings)
    for _ in range(2):
        expected = [step(alone, (name, frames[name]))[0] for name in sessions]
        made = step(engine, *frames.items())
    alone.close_all()
    assert [None if pixels is None else pixels.shape[2] for pixels in made] == [3, 4, 4, 4, 4, 3]
    for pixels, same in zip(made, expected, strict=True):
        assert pixels is not None and same is not None
        np.testing.assert_array_equal(pixels, same)


def test_a_frame_that_comes_out_of_a_pipeline_has_its_own_alpha(engine: Engine) -> None:
    engine.open("a", SMALL, StreamSettings(steps=2, stream_batch=True, **KEYED))
    assert step(engine, ("a", screen(left=10))) == [None]
    [pixels] = step(engine, ("a", screen(left=80)))
    assert pixels is not None
    assert pixels[:, 12:48, 3].min() == 255 and pixels[:, 82:118, 3].max() == 0


def test_a_frame_of_another_size_is_keyed_as_it_is_fitted(engine: Engine) -> None:
    engine.open("a", SMALL, StreamSettings(**KEYED))
    [pixels] = step(engine, ("a", screen(left=80, height=256, width=256)))
    assert pixels is not None
    assert pixels[:, 43:57, 3].min() == 255 and pixels[:, 63:, 3].max() == 0


def test_a_prompt_stream_has_no_screen_to_key(engine: Engine) -> None:
    engine.open("a", SMALL, StreamSettings(source="prompt", alpha=True, key_colour="#000000"))
    [(_, output)] = engine.step([("a", engine.dream("a", 0, 0.0))], 0.0)
    assert isinstance(output, Output) and output.pixels[..., 3].min() == 255


def test_transparency_is_changed_between_two_frames_and_compiles_nothing(engine: Engine) -> None:
    engine.open("a", SMALL, StreamSettings())
    engine.prepare(SMALL)
    compiled = engine.compilations
    shapes = []
    for rev, changes in enumerate(
        ({}, {"alpha": True}, KEYED, {**KEYED, "key_colour": "#ff0000", "key_similarity": 0.9}, {"key_smoothness": 0.0})
    ):
        engine.update("a", StreamSettings(**changes), rev)
        [pixels] = step(engine, ("a", screen()))
        assert pixels is not None
        shapes.append(pixels.shape[2])
    assert shapes == [3, 4, 4, 4, 3]
    assert engine.compilations == compiled
