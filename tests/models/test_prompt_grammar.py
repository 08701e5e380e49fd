import time

import pytest

from streamgen.models.phrasebook import known_phrases
from streamgen.models.prompt_grammar import Segment, segments

INDEX = known_phrases()


def cut(text: str) -> list[Segment]:
    return segments(text, INDEX)


def weights(text: str) -> dict[str | None, float]:
    return {part.style: part.weight for part in cut(text)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("half comic, half van gogh", {"comic": 1.0, "van gogh": 1.0}),
        ("pencil and neon", {"pencil": 1.0, "neon": 1.0}),
        ("pencil:0.7 comic:0.3", {"pencil": 0.7, "comic": 0.3}),
        ("pencil:.5,comic:1.5", {"pencil": 0.5, "comic": 1.5}),
        ("(pencil:1.5) comic", {"pencil": 1.5, "comic": 1.0}),
        ("(pencil comic:2) neon", {"pencil": 2.0, "comic": 2.0, "neon": 1.0}),
        ("(pencil, comic):3", {"pencil": 3.0, "comic": 3.0}),
        ("70% poster 30% neon", {"poster": 0.7, "neon": 0.3}),
        ("great wave with a touch of neon", {"great wave": 1.0, "neon": 0.3}),
        ("mostly pencil, a hint of oil", {"pencil": 2.0, "oil": 0.25}),
        ("pencil + neon / ink", {"pencil": 1.0, "neon": 1.0, "ink": 1.0}),
        ("comic:0", {"comic": 0.0}),
        ("neon:99", {"neon": 10.0}),
        ("half half pencil", {"pencil": 1.0}),
    ],
)
def test_amounts_weigh_the_style_that_follows_and_numbers_the_ones_before(
    text: str, expected: dict[str, float]
) -> None:
    assert weights(text) == pytest.approx(expected)


@pytest.mark.parametrize(
    "text", ["comic, no pencil", "comic without pencil", "comic sin lapiz", "comic ohne Bleistift"]
)
def test_a_negation_holds_for_its_clause(text: str) -> None:
    assert [(part.style, part.negated) for part in cut(text)] == [("comic", False), ("pencil", True)]


def test_portuguese_in_the_style_is_no_negation() -> None:
    assert [(part.style, part.negated) for part in cut("no estilo de van gogh")] == [("van gogh", False)]


def test_clauses_without_weights_are_read_together() -> None:
    assert cut("a fox in the snow, moonlight, very quiet") == [
        Segment(("a", "fox", "in", "the", "snow", "moonlight", "very", "quiet"))
    ]


def test_known_phrases_are_cut_out_at_commas_and_connectors() -> None:
    assert [part.style for part in cut("starry night, curls of paint")] == ["van gogh", None]
    assert [part.style for part in cut("a fox in the snow and comic")] == [None, "comic"]


def test_a_known_phrase_among_other_words_is_left_to_the_encoder() -> None:
    assert [part.style for part in cut("neon fox")] == [None]


def test_numbers_that_weigh_nothing_are_words() -> None:
    assert cut("a robot of 2077") == [Segment(("a", "robot", "of", "2077"))]


@pytest.mark.parametrize("text", ["", "   ", "!!!", "a painting of me", "((((:::,,,))))", "half", "no", "70%"])
def test_what_says_nothing_is_no_segment(text: str) -> None:
    assert cut(text) == []


def test_one_letter_that_decomposes_into_many_words_costs_no_more_than_a_thousand_letters() -> None:
    assert sum(len(part.words) for part in cut("\ufdfa" * 1000)) <= 200
    assert sum(len(part.words) for part in cut("b c " * 250)) == 200


@pytest.mark.parametrize("text", ["1" * 999 + "a", "1." * 499 + "a", "1" * 1000])
def test_a_long_number_is_cut_in_time_that_grows_with_its_length(text: str) -> None:
    began_s = time.process_time()
    for _ in range(20):
        cut(text)
    assert time.process_time() - began_s < 0.2  # all ways to split it would take seconds


@pytest.mark.parametrize("text", ["(pencil" + ":10" * 331, "half " * 199 + "pencil", "(comic:0)" + ":10" * 300])
def test_weights_stay_in_bounds(text: str) -> None:
    assert all(0.0 <= part.weight <= 10.0 for part in cut(text))
