"""Continuous batching: rows of one call are (session, step) pairs, and none depends on its neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from streamgen.backends.base import Backend, Compiled, Function
from streamgen.config import ModelSpec
from streamgen.engine.engine import Engine, Skipped
from streamgen.engine.select import BackendReport
from streamgen.frames import Frame, Output, Pixels
from streamgen.settings import FrameFormat, StreamSettings
from tests.engine.toy import ToyModel, toy_engine

SMALL = FrameFormat(width=128, height=128)


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = toy_engine(max_batch=8)
    yield engine
    engine.close_all()


def moved(picture: Pixels, by: int) -> Pixels:
    return np.roll(picture, 8 * by, axis=1)


def run(engine: Engine, session: str, picture: Pixels, count: int) -> list[Output | Skipped]:
    """``count`` moving frames of one session, numbered from 0."""
    return [engine.step([(session, Frame(moved(picture, seq), seq))], float(seq))[0][1] for seq in range(count)]


def pixels_of(made: Output | Skipped) -> Pixels:
    assert isinstance(made, Output)
    return made.pixels


MIXTURE: dict[str, dict[str, Any]] = {
    "plain": {"prompt": "red"},
    "two steps": {"prompt": "blue", "steps": 2, "seed": 3},
    "pipelined": {"prompt": "green", "steps": 3, "stream_batch": True, "seed": 4},
    "guided": {"prompt": "pink", "steps": 2, "guidance": 2.0, "guidance_mode": "full", "negative_prompt": "grey"},
    "guided once": {"prompt": "pink", "steps": 3, "guidance": 1.5, "guidance_mode": "onetime", "strength": 0.6},
    "guided by itself": {"prompt": "cyan", "guidance": 3.0, "strength": 0.4},
    "held still": {"prompt": "brown", "feedback": 0.5},
    "untouched": {"strength": 0.0},
}


def test_a_session_gets_the_same_pictures_alone_and_in_any_company(picture: Pixels) -> None:
    alone, together = toy_engine(max_batch=8), toy_engine(max_batch=8)
    for engine in (alone, together):
        for name, settings in MIXTURE.items():
            engine.open(name, SMALL, StreamSettings(**settings))
    apart = {name: run(alone, name, picture, 4) for name in MIXTURE}
    for seq in range(4):
        step = together.step([(name, Frame(moved(picture, seq), seq)) for name in MIXTURE], float(seq))
        for name, made in step:
            by_itself = apart[name][seq]
            assert type(made) is type(by_itself)
            if isinstance(made, Output) and isinstance(by_itself, Output):
                assert made.seq == by_itself.seq
                difference = np.abs(made.pixels.astype(int) - by_itself.pixels.astype(int))
                assert difference.max() <= 1, name
    alone.close_all()
    together.close_all()


def test_a_pipelined_session_makes_the_pictures_of_a_sequential_one_some_frames_later(
    engine: Engine, picture: Pixels
) -> None:
    settings = {"prompt": "red", "steps": 3, "seed": 5}
    engine.open("sequential", SMALL, StreamSettings(**settings))
    engine.open("pipelined", SMALL, StreamSettings(**settings, stream_batch=True))
    sequential, pipelined = (run(engine, name, picture, 6) for name in ("sequential", "pipelined"))
    assert pipelined[:2] == [Skipped(0, "pipelined"), Skipped(1, "pipelined")]
    for late, wanted in zip(pipelined[2:], sequential, strict=False):
        assert isinstance(late, Output) and isinstance(wanted, Output)
        assert late.seq == wanted.seq
        np.testing.assert_array_equal(late.pixels, wanted.pixels)


def test_changing_the_steps_of_a_pipelined_session_starts_its_pipeline_anew(engine: Engine, picture: Pixels) -> None:
    engine.open("a", SMALL, StreamSettings(steps=2, stream_batch=True))
    run(engine, "a", picture, 2)
    engine.update("a", StreamSettings(steps=3, stream_batch=True), 1)
    made = run(engine, "a", picture, 3)
    assert [type(one) for one in made] == [Skipped, Skipped, Output]


@pytest.mark.parametrize("mode", ["onetime", "full"])
def test_a_pipelined_session_is_guided_as_a_sequential_one(engine: Engine, picture: Pixels, mode: str) -> None:
    settings = {
        "prompt": "red", "negative_prompt": "blue", "guidance": 1.8, "guidance_mode": mode, "steps": 2, "strength": 0.7
    }  # fmt: skip
    engine.open("sequential", SMALL, StreamSettings.model_validate(settings))
    engine.open("pipelined", SMALL, StreamSettings.model_validate(settings | {"stream_batch": True}))
    sequential, pipelined = (run(engine, name, picture, 3) for name in ("sequential", "pipelined"))
    np.testing.assert_array_equal(pixels_of(pipelined[1]), pixels_of(sequential[0]))


def test_guidance_of_one_is_none(engine: Engine, picture: Pixels) -> None:
    engine.open("plain", SMALL, StreamSettings(prompt="red"))
    engine.open("one", SMALL, StreamSettings(prompt="red", guidance=1.0, guidance_mode="full", negative_prompt="blue"))
    plain, one = (pixels_of(run(engine, name, picture, 1)[0]) for name in ("plain", "one"))
    np.testing.assert_array_equal(plain, one)


def test_feedback_calms_noise_and_lets_go_of_what_moves(engine: Engine, picture: Pixels) -> None:
    chance = np.random.default_rng(0)
    noisy = [np.clip(picture + chance.normal(0, 3, picture.shape), 0, 255).astype(np.uint8) for _ in range(6)]
    engine.open("bare", SMALL, StreamSettings(prompt="red"))
    engine.open("calm", SMALL, StreamSettings(prompt="red", feedback=0.8))
    made = {
        name: np.stack([pixels_of(engine.step([(name, Frame(frame))], 0.0)[0][1]) for frame in noisy]).astype(float)
        for name in ("bare", "calm")
    }
    flicker = {name: np.abs(np.diff(pictures[1:], axis=0)).mean() for name, pictures in made.items()}
    assert flicker["calm"] < 0.6 * flicker["bare"]
    inverted = Frame(255 - picture)
    bare, calm = (pixels_of(engine.step([(name, inverted)], 0.0)[0][1]).astype(int) for name in ("bare", "calm"))
    assert np.abs(bare - calm).mean() < 1.0


def test_frames_that_show_nothing_new_are_skipped_until_something_happens(engine: Engine, picture: Pixels) -> None:
    engine.open("a", SMALL, StreamSettings(skip_similar=0.02))
    first, again = (engine.step([("a", Frame(picture, seq))], 0.0)[0][1] for seq in range(2))
    assert isinstance(first, Output)
    assert again == Skipped(1, "similar")
    assert isinstance(engine.step([("a", Frame(255 - picture, 2))], 0.0)[0][1], Output)
    engine.update("a", StreamSettings(prompt="new look", skip_similar=0.02), 1)
    assert isinstance(engine.step([("a", Frame(255 - picture, 3))], 0.0)[0][1], Output)


def test_a_still_scene_sees_a_new_prompt_through_to_its_end(engine: Engine, picture: Pixels) -> None:
    engine.open("a", SMALL, StreamSettings(prompt="red", skip_similar=0.05))
    engine.open("wanted", SMALL, StreamSettings(prompt="blue"))
    engine.step([("a", Frame(picture))], 0.0)
    engine.update("a", StreamSettings(prompt="blue", transition_ms=1000, skip_similar=0.05), 1, now_s=1.0)
    made = [engine.step([("a", Frame(picture, seq))], 1.0 + seq / 10)[0][1] for seq in range(20)]
    assert [type(one) for one in made] == [Output] * 11 + [Skipped] * 9
    np.testing.assert_array_equal(pixels_of(made[10]), pixels_of(run(engine, "wanted", picture, 1)[0]))


def test_motion_that_ends_is_shown_to_its_end_by_a_pipelined_session(engine: Engine, picture: Pixels) -> None:
    engine.open("a", SMALL, StreamSettings(steps=4, stream_batch=True, skip_similar=0.02))
    shown = []
    for seq in range(20):
        [(_, made)] = engine.step([("a", Frame(moved(picture, min(seq, 6)), seq))], float(seq))
        shown += [made.seq] if isinstance(made, Output) else []
    assert shown == [0, 1, 2, 3, 4, 5, 6]


def test_a_frame_that_failed_does_not_make_the_next_one_old_news(
    engine: Engine, picture: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.open("a", SMALL, StreamSettings(skip_similar=0.05))

    def fail(*_: object) -> None:
        raise RuntimeError("out of luck")

    with monkeypatch.context() as broken:
        broken.setattr(engine._stylist, "stylise", fail)
        with pytest.raises(RuntimeError, match="out of luck"):
            engine.step([("a", Frame(picture))], 0.0)
    assert isinstance(engine.step([("a", Frame(picture, 1))], 0.0)[0][1], Output)


def test_nothing_old_comes_back_when_a_session_is_pipelined_again(engine: Engine, picture: Pixels) -> None:
    pipelined = StreamSettings(steps=4, stream_batch=True)
    engine.open("a", SMALL, pipelined)
    run(engine, "a", picture, 5)
    for rev, between in enumerate((StreamSettings(strength=0.0), StreamSettings(steps=4)), 1):
        engine.update("a", between, 2 * rev)
        engine.step([("a", Frame(picture, 50))], 0.0)
        engine.update("a", pipelined, 2 * rev + 1)
        made = [engine.step([("a", Frame(picture, 100 + seq))], 0.0)[0][1] for seq in range(4)]
        assert [type(one) for one in made] == [Skipped] * 3 + [Output]
        assert made[3].seq == 100


def test_seeds_that_travel_pass_through_the_seeds_on_their_way(engine: Engine, picture: Pixels) -> None:
    for seed in (7, 8):
        engine.open(f"seed {seed}", SMALL, StreamSettings(seed=seed))
    engine.open("travels", SMALL, StreamSettings(seed=7, seed_speed=0.5))
    frame = Frame(picture)
    start, middle, end = (pixels_of(engine.step([("travels", frame)], now)[0][1]) for now in (0.0, 1.0, 2.0))
    np.testing.assert_array_equal(start, pixels_of(engine.step([("seed 7", frame)], 0.0)[0][1]))
    np.testing.assert_array_equal(end, pixels_of(engine.step([("seed 8", frame)], 0.0)[0][1]))
    assert not np.array_equal(middle, start) and not np.array_equal(middle, end)


class Capturing(Backend):
    """Captures frames by keeping the function; says how often it was asked."""

    name = "capturing"
    captures_frames = True

    def __init__(self) -> None:
        super().__init__("cpu", "float32", 1)
        self.replays = 0

    @classmethod
    def unavailable(cls, device: str) -> str | None:
        return None

    def compile(self, network: nn.Module, example: tuple[Tensor, ...]) -> Compiled:
        return torch.inference_mode()(network)

    def capture(self, function: Function, example: tuple[Tensor, ...], exclusive: Any) -> Function:
        shapes = [(tensor.shape, tensor.dtype) for tensor in example]
        with exclusive:
            function(*example)

        def replay(*inputs: Tensor) -> tuple[Tensor, ...]:
            assert [(tensor.shape, tensor.dtype) for tensor in inputs] == shapes
            self.replays += 1
            return function(*inputs)

        return replay


def test_a_frame_that_was_captured_whole_is_the_picture_of_the_parts(engine: Engine, picture: Pixels) -> None:
    model = ToyModel(ModelSpec(family="toy"))
    backend = Capturing()
    captured = Engine(model, backend, BackendReport("capturing", "float32", ""), 8, wait_for_compilation=True)
    plain = ("plain", "two steps", "guided by itself")
    for each in (engine, captured):
        for name, settings in MIXTURE.items():
            each.open(name, SMALL, StreamSettings(**settings))
    captured.prepare(SMALL)
    assert captured.compilations == 4 + 4 * 4  # the network in four batch sizes, and frames of one to four steps
    for seq in range(3):
        for name in MIXTURE:
            before = backend.replays
            [(_, made)] = captured.step([(name, Frame(moved(picture, seq), seq))], 0.0)
            [(_, wanted)] = engine.step([(name, Frame(moved(picture, seq), seq))], 0.0)
            assert backend.replays - before == (name in plain)
            assert type(made) is type(wanted)
            if isinstance(made, Output) and isinstance(wanted, Output):
                np.testing.assert_allclose(made.pixels.astype(int), wanted.pixels.astype(int), atol=1)
    assert captured.compilations == 20
    captured.close_all()
