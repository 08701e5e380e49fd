from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from streamgen.engine.engine import Engine, Skipped
from streamgen.errors import SessionError, SettingsError
from streamgen.frames import Frame, Output, Pixels
from streamgen.settings import BlendEntry, FrameFormat, Reading, StreamSettings
from tests.engine.toy import ToyModel, toy_engine

SMALL = FrameFormat(width=128, height=128)


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = toy_engine()
    yield engine
    engine.close_all()


def stylise(engine: Engine, session: str, pixels: Pixels, now_s: float = 0.0) -> Pixels:
    [(name, output)] = engine.step([(session, Frame(pixels))], now_s)
    assert name == session
    return output.pixels


def test_an_output_carries_the_frame_it_was_made_from_and_the_settings_that_made_it(
    engine: Engine, picture: Pixels
) -> None:
    engine.open("a", SMALL, StreamSettings(prompt="red"), rev=7)
    [(session, output)] = engine.step([("a", Frame(picture, seq=41, captured_us=1234))], 0.0)
    assert (session, output.seq, output.captured_us, output.settings_rev) == ("a", 41, 1234, 7)
    assert output.pixels.shape == (128, 128, 3)
    assert output.pixels.dtype == np.uint8


def test_strength_zero_returns_the_frame_itself(engine: Engine, picture: Pixels) -> None:
    engine.open("a", SMALL, StreamSettings(strength=0.0))
    np.testing.assert_array_equal(stylise(engine, "a", picture), picture)


def test_a_row_does_not_depend_on_its_neighbours(picture: Pixels) -> None:
    rows = {
        "one": (StreamSettings(prompt="red", steps=1, seed=1), picture),
        "two": (StreamSettings(prompt="blue", steps=3, seed=2), picture[::-1].copy()),
        "three": (StreamSettings(prompt="green", steps=4, seed=3, strength=0.5), picture[:, ::-1].copy()),
        "four": (StreamSettings(prompt="grey", strength=0.0), picture.copy()),
        "five": (StreamSettings(prompt="pink", steps=2, seed=5), 255 - picture),
    }
    engine = toy_engine(max_batch=4)
    for name, (settings, _) in rows.items():
        engine.open(name, SMALL, settings)
    alone = {name: stylise(engine, name, pixels) for name, (_, pixels) in rows.items()}
    together = engine.step([(name, Frame(pixels)) for name, (_, pixels) in rows.items()], 0.0)
    assert [name for name, _ in together] == list(rows)
    for name, output in together:
        np.testing.assert_array_equal(output.pixels, alone[name])
    engine.close_all()


def test_sessions_of_different_formats_are_served_in_one_step(engine: Engine, picture: Pixels) -> None:
    engine.open("square", SMALL, StreamSettings())
    engine.open("wide", FrameFormat(width=256, height=128), StreamSettings())
    made = engine.step([("wide", Frame(picture)), ("square", Frame(picture)), ("wide", Frame(picture))], 0.0)
    assert [(name, output.pixels.shape) for name, output in made] == [
        ("wide", (128, 256, 3)),
        ("square", (128, 128, 3)),
        ("wide", (128, 256, 3)),
    ]


def test_no_settings_change_compiles_anything(engine: Engine, picture: Pixels) -> None:
    engine.open("a", SMALL, StreamSettings())
    engine.prepare(SMALL)
    compiled = engine.compilations
    chance = random.Random(1)
    for rev in range(100):
        settings = StreamSettings(
            prompt=chance.choice(["red", "blue", ""]),
            prompts_blend=tuple(
                BlendEntry(prompt=f"p{chance.randrange(20)}", weight=chance.uniform(0.1, 3)) for _ in range(rev % 5)
            ),
            strength=chance.random(),
            steps=chance.randint(1, 4),
            seed=chance.randrange(2**32),
            transition_ms=chance.randrange(10_001),
            max_fps=chance.randint(1, 60),
            quality=chance.randint(30, 95),
        )
        engine.update("a", settings, rev, now_s=float(rev))
        stylise(engine, "a", picture, now_s=float(rev))
    assert engine.compilations == compiled == 3  # batch sizes 1, 2 and 4


def test_a_seed_decides_the_noise(engine: Engine, picture: Pixels) -> None:
    engine.open("a", SMALL, StreamSettings(seed=1))
    first = stylise(engine, "a", picture)
    engine.update("a", StreamSettings(seed=2), 1)
    second = stylise(engine, "a", picture)
    engine.update("a", StreamSettings(seed=1), 2)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, stylise(engine, "a", picture))


def test_a_new_prompt_fades_in_over_the_transition(engine: Engine, picture: Pixels) -> None:
    engine.open("a", SMALL, StreamSettings(prompt="red"))
    before = stylise(engine, "a", picture, now_s=10.0)
    engine.update("a", StreamSettings(prompt="blue", transition_ms=1000), 1, now_s=10.0)
    np.testing.assert_array_equal(stylise(engine, "a", picture, now_s=10.0), before)
    halfway = stylise(engine, "a", picture, now_s=10.5).astype(int)
    after = stylise(engine, "a", picture, now_s=11.0).astype(int)
    engine.open("b", SMALL, StreamSettings(prompt="blue"))
    np.testing.assert_array_equal(after, stylise(engine, "b", picture, now_s=11.0))
    assert 0 < np.abs(halfway - after).mean() < np.abs(before.astype(int) - after).mean()


def test_a_prompt_is_encoded_once_however_many_sessions_use_it(engine: Engine) -> None:
    model = engine.model
    assert isinstance(model, ToyModel)
    engine.prepare(SMALL)
    before = model.prompts_encoded
    guided: dict[str, Any] = {"prompt": "red", "negative_prompt": "blue", "guidance": 2.0, "guidance_mode": "full"}
    for session in ("a", "b", "c"):
        engine.open(session, SMALL, StreamSettings(**guided))
    assert model.prompts_encoded - before == 2


def test_a_blend_lies_between_its_prompts(engine: Engine, picture: Pixels) -> None:
    reading = engine.open(
        "a",
        SMALL,
        StreamSettings(prompts_blend=(BlendEntry(prompt="red", weight=3), BlendEntry(prompt="blue", weight=1))),
    )
    assert reading is not None
    assert reading.styles == {"red": 0.75, "blue": 0.25}


def test_an_unknown_session_is_an_error_and_the_others_live_on(engine: Engine, picture: Pixels) -> None:
    engine.open("a", SMALL, StreamSettings())
    with pytest.raises(SessionError, match="no session 'ghost'"):
        engine.step([("a", Frame(picture)), ("ghost", Frame(picture))], 0.0)
    assert stylise(engine, "a", picture).shape == (128, 128, 3)


def test_more_steps_than_the_model_was_loaded_for_are_refused_and_nothing_changes(picture: Pixels) -> None:
    engine = toy_engine(max_steps=2)
    engine.open("a", SMALL, StreamSettings(steps=2))
    before = stylise(engine, "a", picture)
    with pytest.raises(SettingsError, match="steps must be 1 to 2, got 3"):
        engine.update("a", StreamSettings(steps=3), 1)
    np.testing.assert_array_equal(before, stylise(engine, "a", picture))
    engine.close_all()


def test_closing_a_session_forgets_it(engine: Engine, picture: Pixels) -> None:
    engine.open("a", SMALL, StreamSettings())
    engine.close("a")
    engine.close("a")
    assert engine.sessions == ()


# ------------------------------------------------------------------------------------------------------------- formats

WIDE = FrameFormat(width=256, height=128)


def reformat(engine: Engine, session: str, format: FrameFormat) -> None:
    """Ask for a format, wait until it is ready, and take it over."""
    progress = threading.Semaphore(0)
    engine.reformat(session, format, progress.release)
    while session not in engine.ready_formats:
        assert progress.acquire(timeout=30)
    engine.take_format(session)


def test_a_format_is_served_once_it_was_taken_and_the_old_one_until_then(engine: Engine, picture: Pixels) -> None:
    engine.open("a", SMALL, StreamSettings())
    engine.open("b", SMALL, StreamSettings())
    engine.reformat("a", WIDE, lambda: None)
    assert engine.formats == {SMALL, WIDE}
    assert stylise(engine, "a", picture).shape == (128, 128, 3)
    reformat(engine, "a", WIDE)
    assert stylise(engine, "a", picture).shape == (128, 256, 3)
    assert stylise(engine, "b", picture).shape == (128, 128, 3)
    assert (engine.formats, engine.ready_formats) == ({SMALL, WIDE}, ())


def test_a_newer_format_replaces_one_that_is_being_prepared(engine: Engine, picture: Pixels) -> None:
    engine.open("a", SMALL, StreamSettings())
    engine.reformat("a", WIDE, lambda: None)
    reformat(engine, "a", FrameFormat(width=128, height=256))
    assert stylise(engine, "a", picture).shape == (256, 128, 3)
    assert engine.formats == {FrameFormat(width=128, height=256)}
    engine.take_format("a")  # nothing is being prepared
    assert stylise(engine, "a", picture).shape == (256, 128, 3)


def test_another_format_leaves_seed_travel_and_transition_as_they_were(engine: Engine, picture: Pixels) -> None:
    travel = StreamSettings(prompt="red", seed=5, seed_speed=1.0)
    blue = travel.model_copy(update={"prompt": "blue", "transition_ms": 1000})
    engine.open("there", WIDE, travel, since_s=10.0)
    engine.open("coming", SMALL, travel, since_s=10.0)
    for session in ("there", "coming"):
        engine.update(session, blue, 1, now_s=11.0)
    reformat(engine, "coming", WIDE)
    for now_s in (11.5, 14.25):
        np.testing.assert_array_equal(
            stylise(engine, "coming", picture, now_s), stylise(engine, "there", picture, now_s)
        )


def test_another_format_forgets_what_was_under_way_in_the_old_one(engine: Engine, picture: Pixels) -> None:
    settings = StreamSettings(steps=2, stream_batch=True, feedback=0.5, skip_similar=1.0)
    engine.open("a", SMALL, settings)
    [(_, first)] = engine.step([("a", Frame(picture, seq=0))], 0.0)
    assert first == Skipped(0, "pipelined")
    reformat(engine, "a", WIDE)
    [(_, second)] = engine.step([("a", Frame(picture, seq=1))], 0.0)  # not similar: nothing was seen yet
    assert second == Skipped(1, "pipelined")
    [(_, third)] = engine.step([("a", Frame(255 - picture, seq=2))], 0.0)
    assert isinstance(third, Output) and (third.seq, third.pixels.shape) == (1, (128, 256, 3))


def test_formats_of_unknown_sessions_are_refused(engine: Engine) -> None:
    with pytest.raises(SessionError):
        engine.reformat("ghost", WIDE, lambda: None)


# ----------------------------------------------------------------------------------------------------------- take over


def test_another_engine_takes_the_sessions_over_as_they_stand(picture: Pixels) -> None:
    former, engine = toy_engine(), toy_engine()
    travel = StreamSettings(prompt="red", seed=5, seed_speed=1.0)
    former.open("a", SMALL, travel, rev=3, since_s=10.0)
    former.open("b", WIDE, StreamSettings(prompt="blue"), rev=8)
    former.update("a", travel.model_copy(update={"prompt": "green", "transition_ms": 10}), 4, now_s=11.0)
    taken = engine.take_over(former, lambda: None)
    assert taken == [("a", 4, Reading(1.0, {"green": 1.0})), ("b", 8, Reading(1.0, {"blue": 1.0}))]
    for session in ("a", "b"):
        [(_, before)] = former.step([(session, Frame(picture))], 12.5)
        [(_, after)] = engine.step([(session, Frame(picture))], 12.5)
        assert isinstance(before, Output) and isinstance(after, Output)
        assert after.settings_rev == before.settings_rev
        np.testing.assert_array_equal(after.pixels, before.pixels)
    for one in (former, engine):
        one.close_all()


def test_what_the_new_model_cannot_do_is_fitted_when_it_takes_over(picture: Pixels) -> None:
    former, engine = toy_engine(max_steps=4), toy_engine(max_steps=2)
    former.model.loras = {"soft": 1.0, "sharp": 1.0}
    engine.model.loras = {"soft": 0.5}
    former.open("a", SMALL, StreamSettings(steps=4, loras={"soft": 0.25, "sharp": 2.0}))
    engine.take_over(former, lambda: None)
    engine.open("b", SMALL, StreamSettings(steps=2, loras={"soft": 0.25}))
    np.testing.assert_array_equal(stylise(engine, "a", picture), stylise(engine, "b", picture))
    for one in (former, engine):
        one.close_all()


def test_a_format_that_was_being_prepared_is_prepared_by_the_engine_that_takes_over(picture: Pixels) -> None:
    former, engine = toy_engine(), toy_engine()
    former.open("a", SMALL, StreamSettings())
    former.reformat("a", WIDE, lambda: None)
    progress = threading.Semaphore(0)
    engine.take_over(former, progress.release)
    while not engine.ready_formats:
        assert progress.acquire(timeout=30)
    assert stylise(engine, "a", picture).shape == (128, 128, 3)
    engine.take_format("a")
    assert stylise(engine, "a", picture).shape == (128, 256, 3)
    for one in (former, engine):
        one.close_all()


def test_two_engines_of_one_device_never_record_and_compute_at_once() -> None:
    one, other = toy_engine(), toy_engine()
    assert one._executables.exclusive is other._executables.exclusive
    for engine in (one, other):
        engine.close_all()


# ------------------------------------------------------------------------------------------------------------- dreaming


def test_a_dream_is_never_left_out_as_similar_to_the_last_one(engine: Engine) -> None:
    engine.open("a", SMALL, StreamSettings(source="prompt", skip_similar=1.0))
    for seq in range(3):
        [(_, output)] = engine.step([("a", engine.dream("a", seq, 1.0))], 1.0)
        assert isinstance(output, Output) and output.seq == seq
