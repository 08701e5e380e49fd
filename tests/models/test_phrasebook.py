import pytest

from streamgen.models.phrasebook import DEFAULT_STYLE, PHRASES, _tokens, match, normalise


@pytest.mark.parametrize("style", PHRASES)
def test_every_style_answers_to_its_own_name(style: str) -> None:
    found = match(style)
    assert found.weights == {style: 1.0}
    assert found.understood == 1.0


@pytest.mark.parametrize("text", ["", "   ", "!!!", "a painting of me", "no neon", "comic:0"])
def test_a_text_that_asks_for_nothing_gets_the_default_style(text: str) -> None:
    assert match(text).weights == {DEFAULT_STYLE: 1.0}


@pytest.mark.parametrize(
    ("text", "style"),
    [
        ("A Portrait in the Style of VAN GOGH", "van gogh"),
        ("the Starry Night by Vincent", "van gogh"),
        ("Aquarellé", "watercolor"),
        ("Bleistiftzeichnung", "pencil"),
        ("浮世絵", "great wave"),
        ("北斎の波", "great wave"),
        ("コミック", "comic"),
        ("киберпанк", "neon"),
        ("Ван Гог", "van gogh"),
        ("Great-Wave", "great wave"),
        ("80s", "neon"),
        ("pop art", "poster"),
    ],
)
def test_names_artists_and_media_of_several_languages_are_known(text: str, style: str) -> None:
    assert match(text).weights == {style: 1.0}


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("half comic, half van gogh", {"comic": 0.5, "van gogh": 0.5}),
        ("pencil and neon", {"pencil": 0.5, "neon": 0.5}),
        ("pencil:0.7 comic:0.3", {"pencil": 0.7, "comic": 0.3}),
        ("pencil:.5,comic:1.5", {"pencil": 0.25, "comic": 0.75}),
        ("(pencil:1.5) comic", {"pencil": 0.6, "comic": 0.4}),
        ("(pencil comic:2) neon", {"pencil": 0.4, "comic": 0.4, "neon": 0.2}),
        ("70% poster 30% neon", {"poster": 0.7, "neon": 0.3}),
        ("comic without pencil", {"comic": 1.0}),
    ],
)
def test_styles_blend_by_the_amounts_that_are_written(text: str, weights: dict[str, float]) -> None:
    found = match(text)
    assert found.weights == pytest.approx(weights)
    assert found.understood == 1.0


def test_a_touch_of_a_style_is_less_than_the_style() -> None:
    weights = match("great wave with a touch of neon").weights
    assert 0 < weights["neon"] < weights["great wave"]


def test_unknown_words_lower_what_is_understood() -> None:
    assert match("cyberpunk samurai").understood == 0.5


def test_a_misspelt_name_is_found_and_not_quite_understood() -> None:
    found = match("pencl")
    assert found.weights == {"pencil": 1.0}
    assert 0 < found.understood < 1


@pytest.mark.parametrize(
    "text", ["zqx", "qwrtz plimf", "ꙮ", "🦊 foxes", "٣٤", "a" * 1000, "((((:::,,,))))", "neon:1e9"]
)
def test_any_text_reads_the_same_twice_as_shares_that_sum_to_one(text: str) -> None:
    first, second = match(text), match(text)
    assert first == second
    assert sum(first.weights.values()) == pytest.approx(1.0)
    assert set(first.weights) <= set(PHRASES)
    assert 0.0 <= first.understood <= 1.0


def test_a_text_of_unknown_words_is_not_understood() -> None:
    assert match("zqx").understood == 0.0


def test_no_phrase_means_two_styles() -> None:
    seen: dict[str, str] = {}
    for style, phrases in PHRASES.items():
        for phrase in map(normalise, phrases.split(",")):
            key = " ".join(phrase.split())
            assert seen.setdefault(key, style) == style, key


def test_the_default_style_is_a_style() -> None:
    assert DEFAULT_STYLE in PHRASES


@pytest.mark.parametrize("text", ["(pencil" + ":10" * 331, "half " * 199 + "pencil", "(comic:0)" + ":10" * 300])
def test_shares_stay_numbers_whatever_the_weights(text: str) -> None:
    weights = match(text[:1000]).weights
    assert sum(weights.values()) == pytest.approx(1.0)


def test_one_letter_that_decomposes_into_many_words_costs_no_more_than_a_thousand_letters() -> None:
    assert len(_tokens("\ufdfa" * 1000)) <= 200
    assert len(_tokens("b c " * 250)) == 200
