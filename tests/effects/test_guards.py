"""What stands between people and the model, and that failing shows nothing."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamgen.config import GuardSpec
from streamgen.effects import guards
from streamgen.effects.guards import Guard, badged, blurred, load_guard, words_filter
from streamgen.engine.messages import Applied, Made, Refused, UpdateSession
from streamgen.errors import ConfigError, SettingsError
from streamgen.settings import BlendEntry, StreamSettings
from tests.engine.loop import Script, bench_of

PICTURE = np.random.default_rng(5).integers(0, 256, (128, 192, 3), np.uint8)
PICTURE.flags.writeable = False


def refused(guard: Guard, **settings: Any) -> str | None:
    """The field that is refused."""
    try:
        guard.check_prompts(StreamSettings(**settings))
    except SettingsError as error:
        assert error.code == "prompt_refused"
        return error.field
    return None


def fails(_: Any) -> Any:
    raise RuntimeError("a defect")


# ------------------------------------------------------------------------------------------------------------- prompts


@pytest.fixture
def words(tmp_path: Path) -> Path:
    path = tmp_path / "words.txt"
    path.write_text("# not wanted\n\nGore\nsome  phrase\nc++\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("prompt", "passes"),
    [
        ("a pencil sketch", True),
        ("gorey hills", True),
        ("", True),
        ("GORE", False),
        ("gore, of course", False),
        ("g\u200bore", False),
        ("\uff47\uff4f\uff52\uff45", False),
        ("some\nphrase", False),
        ("in c++", False),
    ],
)
def test_a_list_of_words_is_read_as_people_read(words: Path, prompt: str, passes: bool) -> None:
    assert (words_filter(words)(prompt) is None) is passes


def test_every_prompt_of_the_settings_is_asked_about(words: Path) -> None:
    guard = load_guard(GuardSpec(filters=(str(words),)))
    assert refused(guard, prompt="ink") is None
    assert refused(guard, prompt="gore") == "prompt"
    blend = (BlendEntry(prompt="ink"), BlendEntry(prompt="gore"))
    assert refused(guard, prompts_blend=blend) == "prompts_blend"


def test_a_filter_that_fails_refuses() -> None:
    assert refused(Guard([fails]), prompt="ink") == "prompt"


@pytest.mark.parametrize("text", ["", "# only\n\n", None])
def test_a_list_without_words_is_a_typed_error(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "words.txt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_guard(GuardSpec(filters=(str(path),)))
    assert caught.value.code == "bad_words"


# ------------------------------------------------------------------------------------------------------------ pictures


def test_without_guards_everything_passes_untouched() -> None:
    assert Guard().show(PICTURE) is PICTURE
    assert Guard(checks=[lambda pixels: True]).show(PICTURE) is PICTURE


@pytest.mark.parametrize("check", [lambda pixels: False, lambda pixels: None, lambda pixels: 1, fails])
def test_a_picture_that_no_check_has_passed_is_blurred(check: Any) -> None:
    shown = Guard(checks=[lambda pixels: True, check]).show(PICTURE)
    assert np.array_equal(shown, blurred(PICTURE))


@pytest.mark.parametrize("shape", [(128, 192, 3), (96, 96, 4), (7, 5, 3), (1024, 256, 4)])
def test_of_a_blurred_picture_a_few_spots_are_left(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    soft = blurred(pixels)
    assert soft.shape == pixels.shape and soft.dtype == np.uint8
    assert np.array_equal(soft[..., 3:], pixels[..., 3:])
    steps = np.abs(np.diff(soft[..., :3].astype(int), axis=1))
    if shape[1] >= 96:
        assert steps.max() <= 255 * 8 / shape[1] + 1
    flat = np.full_like(pixels, 77)
    assert np.abs(blurred(flat)[..., :3].astype(int) - 77).max() <= (0 if min(shape[:2]) >= 8 else 77)


@pytest.mark.parametrize("shape", [(128, 128, 3), (256, 128, 4), (1024, 1024, 3)])
def test_the_badge_is_white_on_dark_in_the_corner_and_nowhere_else(shape: tuple[int, ...]) -> None:
    pixels = np.full(shape, 100, np.uint8)
    marked = badged(pixels)
    changed = np.argwhere((marked != pixels).any(axis=2))
    assert changed[:, 0].min() > shape[0] * 0.85 and changed[:, 1].min() > shape[1] * 0.7
    assert marked[..., :3].max() == 255 and marked[..., :3].min() == 25
    assert (pixels == 100).all()


# ---------------------------------------------------------------------------------------------------------- where from


def test_others_bring_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    here = EntryPoint("strict", f"{__name__}:strict", "streamgen.output_checks")
    monkeypatch.setattr(EntryPoint, "load", lambda entry: strict)
    monkeypatch.setattr(guards, "entry_points", lambda group: [here] if group == here.group else [])
    guard = load_guard(GuardSpec(checks=("strict",)))
    assert np.array_equal(guard.show(PICTURE), blurred(PICTURE))
    for spec, code in (
        (GuardSpec(checks=("lax",)), "unknown_guard"),
        (GuardSpec(filters=("strict",)), "unknown_guard"),
    ):
        with pytest.raises(ConfigError) as caught:
            load_guard(spec)
        assert caught.value.code == code
    monkeypatch.setattr(EntryPoint, "load", lambda entry: lambda: 1 / 0)
    with pytest.raises(ConfigError) as caught:
        load_guard(GuardSpec(checks=("strict",)))
    assert caught.value.code == "guard_failed"


def strict() -> guards.OutputCheck:
    return lambda pixels: False


def test_the_worker_refuses_the_prompt_and_shows_no_picture_unseen() -> None:
    bench = bench_of(Script(), guard=Guard([lambda prompt: "no" if prompt == "bad" else None], [fails]))
    bench.open("a")
    bench.obey(UpdateSession("a", StreamSettings(prompt="bad"), 7))
    [report] = bench.heard()
    assert isinstance(report, Refused) and report.error.code == "prompt_refused"
    bench.obey(UpdateSession("a", StreamSettings(prompt="good"), 8))
    [report] = bench.heard()
    assert isinstance(report, Applied)
    bench.send("a", 9)
    bench.turn()
    assert bench.heard() == [Made("a")]
    shown = bench.slots["a"][1].take()
    assert shown is not None
    assert np.array_equal(shown.pixels, blurred(np.full((2, 2, 3), 9, np.uint8)))
    bench.close()
