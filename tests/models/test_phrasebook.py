import pytest

from streamgen.models.phrasebook import DEFAULT_STYLE, PHRASES, PhraseIndex, key, known_phrases

INDEX = known_phrases()


@pytest.mark.parametrize("style", PHRASES)
def test_every_style_answers_to_its_own_name(style: str) -> None:
    assert INDEX.get(style) == style


@pytest.mark.parametrize(
    ("text", "style"),
    [
        ("VAN GOGH", "van gogh"),
        ("Aquarellé", "watercolor"),
        ("浮世絵", "ukiyo-e"),
        ("コミック", "comic"),
        ("киберпанк", "neon"),
        ("Ван Гог", "van gogh"),
        ("Great-Wave", "great wave"),
        ("ukiyo_e", "ukiyo-e"),
        ("80s", "neon"),
        ("  pop   art ", "poster"),
        ("néon", "neon"),
    ],
)
def test_case_accents_and_hyphens_do_not_matter(text: str, style: str) -> None:
    assert INDEX.get(text) == style


def test_no_phrase_means_two_styles() -> None:
    seen: dict[str, str] = {}
    for style, phrases in PHRASES.items():
        for phrase in phrases.split(","):
            assert seen.setdefault(key(phrase), style) == style, phrase


def test_the_default_style_is_a_style() -> None:
    assert DEFAULT_STYLE in PHRASES


def test_words_that_are_phrases_and_fillers_alone_are_tiled_from_the_left_the_longest_first() -> None:
    assert INDEX.tile(("portrait", "in", "the", "style", "of", "van", "gogh")) == ("van gogh",)
    assert INDEX.tile(("stained", "glass", "and", "pencil")) == ("stained glass", "pencil")
    assert INDEX.tile(("a", "painting", "of", "me")) == ()
    assert INDEX.tile(()) == ()


def test_a_telling_word_that_is_no_phrase_is_left_to_the_encoder() -> None:
    assert INDEX.tile(("pencil", "fox")) is None


def test_phrases_are_found_in_scripts_without_spaces() -> None:
    assert INDEX.spaced("北斎の波").split() == ["北斎", "の", "波"]
    assert INDEX.spaced("水墨画のように").split() == ["水墨画", "のように"]
    assert INDEX.spaced("no such letters") == "no such letters"


def test_a_new_name_means_its_style_whatever_it_meant_before() -> None:
    index = PhraseIndex({"glow": "neon"}).with_name("Glow").with_name("my look")
    assert (index.get("glow"), index.get("MY LOOK"), index.get("neon")) == ("Glow", "my look", None)
