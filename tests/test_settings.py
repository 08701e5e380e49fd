"""Live settings and formats: what is accepted, and how a refusal names its culprit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from streamgen.errors import SettingsError
from streamgen.settings import StreamSettings, merge_settings, parse_format, settings_schema

GOLDEN = json.loads((Path(__file__).parent / "golden" / "protocol.json").read_text(encoding="utf-8"))["settings"]
VALID = st.fixed_dictionaries(
    {},
    optional={
        "prompt": st.text(max_size=50),
        "strength": st.floats(0, 1),
        "steps": st.integers(1, 4),
        "seed": st.integers(0, 2**32 - 1),
        "transition_ms": st.integers(0, 10_000),
        "max_fps": st.integers(1, 60),
        "quality": st.integers(30, 95),
        "alpha": st.booleans(),
        "key_colour": st.sampled_from(["", "#00b140", "#00B140"]),
    },
)


@pytest.mark.parametrize("vector", GOLDEN["invalid"], ids=lambda vector: vector["name"])
def test_golden_bad_settings_are_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(SettingsError) as caught:
        merge_settings(StreamSettings(), vector["changes"])
    assert (caught.value.code, caught.value.field) == (vector["code"], vector["field"])


@given(VALID)
def test_valid_changes_are_applied_and_fit_the_schema(changes: dict[str, Any]) -> None:
    merged = merge_settings(StreamSettings(), changes)
    assert merged.model_dump(include=set(changes)) == changes
    Draft202012Validator(settings_schema()).validate(merged.model_dump(mode="json"))


def test_what_is_not_named_stays() -> None:
    current = StreamSettings(prompt="ink", seed=7)
    assert merge_settings(current, {"steps": 2}) == StreamSettings(prompt="ink", seed=7, steps=2)


def test_a_new_prompt_ends_a_blend() -> None:
    blended = merge_settings(StreamSettings(), {"prompts_blend": [{"prompt": "ink"}, {"prompt": "oil", "weight": 3}]})
    assert blended.weighted_prompts() == (("ink", 0.25), ("oil", 0.75))
    assert merge_settings(blended, {"prompt": "pencil"}).weighted_prompts() == (("pencil", 1.0),)


@pytest.mark.parametrize(
    ("blend", "field"),
    [
        ([{"prompt": "ink", "weight": 0}], "settings"),
        ([{"prompt": "ink", "weight": -1}], "prompts_blend.0.weight"),
        ([{"prompt": "ink", "wait": 1}], "prompts_blend.0.wait"),
        ([{"prompt": "x"}] * 5, "prompts_blend"),
        ([{"prompt": "x" * 1001}], "prompts_blend.0.prompt"),
    ],
    ids=["no weight at all", "a negative weight", "an unknown field", "five prompts", "a long prompt"],
)
def test_bad_blends_are_refused(blend: list[dict[str, Any]], field: str) -> None:
    with pytest.raises(SettingsError) as caught:
        merge_settings(StreamSettings(), {"prompts_blend": blend})
    assert caught.value.field == field


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_refused(value: float) -> None:
    with pytest.raises(SettingsError):
        merge_settings(StreamSettings(), {"strength": value})


@pytest.mark.parametrize("changes", [{"steps": True}, {"steps": "2"}, {"seed": 1.5}, {"strength": "0.5"}])
def test_a_value_of_another_type_is_refused_and_not_converted(changes: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        merge_settings(StreamSettings(), changes)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"width": 100}, "width"),
        ({"width": 2048}, "width"),
        ({"height": 257}, "height"),
        ({"fit": "stretch"}, "fit"),
        ({"depth": 3}, "depth"),
        ({"upscale": 3}, "upscale"),
        ({"width": 512, "height": 224, "upscale": 2}, "upscale"),
        ({"width": 288, "height": 512, "upscale": 2}, "upscale"),
        ({"width": 576, "height": 512, "upscale": 4}, "upscale"),
        ({"width": 1024, "height": 384, "upscale": 4}, "upscale"),
    ],
)
def test_bad_formats_are_refused(values: dict[str, Any], field: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_format(values)
    assert caught.value.field == field


@pytest.mark.parametrize(("upscale", "painted"), [(1, (1024, 512)), (2, (512, 256)), (4, (256, 128))])
def test_an_upscaled_format_is_painted_smaller(upscale: int, painted: tuple[int, int]) -> None:
    format = parse_format({"width": 1024, "height": 512, "fit": "contain", "upscale": upscale})
    assert (format.painted.width, format.painted.height) == painted
    assert (format.painted.fit, format.painted.upscale) == ("contain", 1)


def test_a_refusal_shows_a_long_value_shortened() -> None:
    with pytest.raises(SettingsError) as caught:
        merge_settings(StreamSettings(), {"prompt": "x" * 5000})
    assert len(caught.value.message) < 200


def test_the_schema_has_what_the_page_makes_its_controls_of() -> None:
    schema = settings_schema()
    assert schema["properties"]["strength"]["maximum"] == 1.0
    assert schema["properties"]["steps"]["title"] == "Steps"
    assert schema["$defs"]["FrameFormat"]["properties"]["width"]["multipleOf"] == 32
