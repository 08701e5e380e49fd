from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from streamgen.errors import WeightsError
from streamgen.models.phrasebook import DEFAULT_STYLE, PHRASES
from streamgen.models.prompt_encoder import DEFAULT_WEIGHTS, PromptEncoder, without
from streamgen.models.text_network import TextNetwork, features, load_tensors, save_tensors
from streamgen.settings import Reading

ENCODER = PromptEncoder.load()


def strongest(reading: Reading) -> str:
    return max(reading.styles, key=lambda style: reading.styles[style])


@pytest.mark.parametrize("style", PHRASES)
def test_every_style_answers_to_its_own_name(style: str) -> None:
    assert ENCODER.read(style) == Reading(1.0, {style: 1.0})


@pytest.mark.parametrize("text", ["", "   ", "!!!", "a painting of me", "no neon", "comic:0"])
def test_a_text_that_asks_for_nothing_gets_the_default_style(text: str) -> None:
    assert ENCODER.read(text) == Reading(1.0, {DEFAULT_STYLE: 1.0})


def test_what_is_not_wanted_is_not_the_default_either() -> None:
    reading = ENCODER.read(f"no {DEFAULT_STYLE}")
    assert reading.styles == {ENCODER.nearest(DEFAULT_STYLE)[0]: 1.0}


@pytest.mark.parametrize(
    ("text", "style"),
    [
        ("A Portrait in the Style of VAN GOGH", "van gogh"),
        ("the Starry Night by Vincent", "van gogh"),
        ("北斎の波", "great wave"),
        ("dans le style de Renoir", "renoir"),
        ("comic, no pencil", "comic"),
    ],
)
def test_names_with_fillers_around_them_are_read_exactly(text: str, style: str) -> None:
    assert ENCODER.read(text) == Reading(1.0, {style: 1.0})


@pytest.mark.parametrize(
    ("text", "style"),
    [
        ("starry night, swirling brush strokes", "van gogh"),
        ("swirling brush strokes under yellow stars", "van gogh"),
        ("ocean storm", "great wave"),
        ("gothic cathedral", "stained glass"),
        ("synth nightclub", "neon"),
        ("quiet pond with lilies", "renoir"),
        ("Bleistiftzeichnung von einem Hund", "pencil"),
        ("猫の水彩画", "watercolor"),
        ("a red fox, comic book style, 4k, masterpiece", "comic"),
        ("watercolour of a fox in the snow", "watercolor"),
        ("stainedglass", "stained glass"),
        ("mosiac", "mosaic"),
    ],
)
def test_free_text_finds_the_style_that_it_calls_to_mind(text: str, style: str) -> None:
    reading = ENCODER.read(text)
    assert strongest(reading) == style
    assert reading.understood >= 0.5


@pytest.mark.parametrize("text", ["tax return form", "asdf qwer", "zqx", "quarterly sales report"])
def test_what_asks_for_no_look_is_not_understood_and_gets_the_nearest(text: str) -> None:
    reading = ENCODER.read(text)
    assert reading.understood < 0.3
    assert sum(reading.styles.values()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("text", "styles"),
    [
        ("half watercolor, half comic", {"watercolor": 0.5, "comic": 0.5}),
        ("pencil:0.7 comic:0.3", {"pencil": 0.7, "comic": 0.3}),
        ("(pencil:1.5) comic", {"pencil": 0.6, "comic": 0.4}),
        ("(pencil comic:2) neon", {"pencil": 0.4, "comic": 0.4, "neon": 0.2}),
        ("70% poster 30% neon", {"poster": 0.7, "neon": 0.3}),
    ],
)
def test_styles_blend_by_the_amounts_that_are_written(text: str, styles: dict[str, float]) -> None:
    reading = ENCODER.read(text)
    assert reading.styles == pytest.approx(styles)
    assert reading.understood == 1.0


def test_a_touch_of_a_style_is_less_than_the_style() -> None:
    styles = ENCODER.read("great wave with a touch of neon").styles
    assert 0 < styles["neon"] < styles["great wave"]


def test_words_that_are_not_understood_hardly_change_what_is() -> None:
    reading = ENCODER.read("comic, asdf qwer")
    assert reading.styles["comic"] > 0.9
    assert reading.understood > 0.9


def test_a_negative_prompt_takes_its_styles_out() -> None:
    assert ENCODER.read("pencil, comic", negative="comic").styles == {"pencil": 1.0}
    assert ENCODER.read("comic", negative="comic").styles == {ENCODER.nearest("comic")[0]: 1.0}


def test_a_negation_in_a_negative_prompt_says_once_more_what_to_leave_out() -> None:
    assert ENCODER.read("pencil, comic", negative="no comic").styles == {"pencil": 1.0}


@pytest.mark.parametrize("negative", ["", "  ", "asdf qwer", "!!", "a picture of me", "no", "no zxcvbn", "comic:0"])
@pytest.mark.parametrize("text", ["", DEFAULT_STYLE])
def test_a_negative_prompt_that_names_no_look_leaves_the_default_style(text: str, negative: str) -> None:
    assert ENCODER.read(text, negative) == Reading(1.0, {DEFAULT_STYLE: 1.0})


@pytest.mark.parametrize("negative", ["", "  ", "asdf qwer", "!!"])
def test_a_negative_prompt_that_is_not_understood_takes_nothing(negative: str) -> None:
    assert ENCODER.read("pencil", negative).styles == {"pencil": 1.0}


@pytest.mark.parametrize(
    "text", ["zqx", "qwrtz plimf", "ꙮ", "🦊 foxes", "٣٤", "a" * 1000, "((((:::,,,))))", "neon:1e9", "x " * 500]
)
def test_any_text_reads_the_same_twice_as_shares_that_sum_to_one(text: str) -> None:
    first, second = ENCODER.read(text), ENCODER.read(text)
    assert first == second
    assert sum(first.styles.values()) == pytest.approx(1.0)
    assert set(first.styles) <= set(PHRASES)
    assert 0.0 <= first.understood <= 1.0


# ------------------------------------------------------------------------------------------------ the styles of a model


def test_a_style_that_the_model_lacks_goes_to_the_nearest_that_it_has_and_is_not_quite_understood() -> None:
    encoder = ENCODER.for_styles(["neon", "pencil", "great wave"])
    reading = encoder.read("charcoal")
    assert reading.styles == {"pencil": 1.0}
    assert reading.understood < 0.5
    assert encoder.read("ukiyo-e").styles == {"great wave": 1.0}


def test_a_reading_names_the_styles_of_the_model_alone() -> None:
    encoder = ENCODER.for_styles(["oil", "comic"])
    for text in ("", "half neon, half mosaic", "gothic cathedral", "zqx", "no oil"):
        assert set(encoder.read(text).styles) <= {"oil", "comic"}


def test_a_model_with_one_style_always_reads_that() -> None:
    encoder = ENCODER.for_styles(["pencil"])
    for text in ("", "neon", "no pencil", "ocean storm"):
        assert encoder.read(text, negative="pencil").styles == {"pencil": 1.0}


def test_a_style_of_the_model_that_was_not_trained_is_known_by_its_name() -> None:
    assert ENCODER.for_styles(["pencil", "felt tip"]).read("Felt Tip") == Reading(1.0, {"felt tip": 1.0})


# -------------------------------------------------------------------------------------------------- make your own style


def test_a_new_style_is_found_by_its_name_and_by_what_is_like_its_texts() -> None:
    encoder = ENCODER.with_style("my-dunes", ["burnt orange desert dunes at dusk", "camels in the sand"])
    assert encoder.styles == (*ENCODER.styles, "my-dunes")
    assert encoder.read("my-dunes") == Reading(1.0, {"my-dunes": 1.0})
    assert encoder.read("half My Dunes, half neon").styles == {"my-dunes": 0.5, "neon": 0.5}
    reading = encoder.read("a caravan of camels in the orange desert")
    assert strongest(reading) == "my-dunes"
    assert reading.understood > 0.5


@pytest.mark.parametrize("name", ["neon lights", "comic", "half pencil, half ink", "no (brackets): 2", "星空"])
def test_the_name_of_a_new_style_always_wins(name: str) -> None:
    assert ENCODER.with_style(name).read(name) == Reading(1.0, {name: 1.0})


def test_a_new_style_leaves_the_others_and_the_encoder_it_came_from_alone() -> None:
    encoder = ENCODER.with_style("my-dunes", ["burnt orange desert dunes"])
    assert strongest(encoder.read("synth nightclub")) == "neon"
    assert "my-dunes" not in ENCODER.styles


# ------------------------------------------------------------------------------------------------------- without styles


@pytest.mark.parametrize(
    ("weights", "unwanted", "left"),
    [
        ({"a": 0.5, "b": 0.5}, {"b": 1.0}, {"a": 1.0}),
        ({"a": 0.6, "b": 0.4}, {"b": 0.2}, {"a": 0.75, "b": 0.25}),
        ({"a": 1.0}, {"c": 1.0}, {"a": 1.0}),
        ({"a": 1.0}, {"a": 1.0}, {"b": 1.0}),
        ({"a": 1.0}, {"a": 1.0, "b": 0.1}, {"c": 1.0}),
        ({"a": 1.0}, {"a": 1.0, "b": 1.0, "c": 1.0}, {"a": 1.0}),
        ({"a": 1.0}, {}, {"a": 1.0}),
    ],
)
def test_unwanted_styles_are_taken_from_a_mix(
    weights: dict[str, float], unwanted: dict[str, float], left: dict[str, float]
) -> None:
    assert without(weights, unwanted, ["b", "c"]) == pytest.approx(left)


# ---------------------------------------------------------------------------------------------------------- the network


def test_points_are_of_length_one_and_texts_without_words_have_none() -> None:
    network = TextNetwork(load_tensors(DEFAULT_WEIGHTS)[0])
    assert float(np.linalg.norm(network.embed("a fox"))) == pytest.approx(1.0, abs=1e-5)
    assert not network.embed("!!").any()


def test_a_text_is_its_words_and_its_pairs_of_neighbours() -> None:
    assert features("one two three").count == 5
    assert features("word " * 500).count == 63
    assert features("").count == 0


def test_the_weights_weigh_at_most_four_megabytes() -> None:
    assert DEFAULT_WEIGHTS.stat().st_size <= 4_000_000


def test_weights_that_are_missing_or_no_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as missing:
        PromptEncoder.load(tmp_path / "none.safetensors")
    assert missing.value.code == "weights_missing"
    (tmp_path / "text.safetensors").write_text("no weights")
    save_file({"table": np.zeros(3, np.int8)}, tmp_path / "other.safetensors")
    save_tensors({"table": np.zeros((2, 3), np.int8)}, ["pencil"], tmp_path / "short.safetensors")
    for name in ("text", "other", "short"):
        with pytest.raises(WeightsError) as corrupt:
            PromptEncoder.load(tmp_path / f"{name}.safetensors")
        assert corrupt.value.code == "weights_corrupt"
