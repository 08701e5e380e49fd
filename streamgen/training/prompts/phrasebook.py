"""The generated phrasebook: what people might type for each style, made by a small grammar from `looks` and names."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from streamgen.models.phrasebook import PHRASES
from streamgen.training.prompts.everyday import EVERYDAY, SUBJECTS
from streamgen.training.prompts.looks import MARKS, SCENES

__all__ = ["STYLES", "Example", "everyday", "fragments", "listed", "misspelt", "phrasebook", "word_salad"]

STYLES: tuple[str, ...] = tuple(PHRASES)
"""The styles in the order that labels count them."""

_WISHES = (
    "{p}", "{p}", "{p}", "{p}", "{p} style", "{p} look", "{p} please", "{p} vibes", "{p} aesthetic", "{p} filter",
    "a {p}", "like {p}", "looks like {p}", "something like {p}", "as {p}", "as if it were {p}", "with {p}",
    "in {p}", "make it {p}", "make me look like {p}", "turn me into {p}", "turn this into {p}", "i want {p}",
    "give me {p}", "can you do {p}", "in the style of {p}", "inspired by {p}", "{p} but darker", "bright {p}",
    "dark {p}", "moody {p}", "old {p}", "modern {p}", "{p} picture", "{p} artwork", "the look of {p}",
    "reminds me of {p}", "{p} everywhere", "all {p}", "{p}, masterpiece, best quality", "very {p}",
    "a bit like {p}", "more {p}", "full of {p}", "it should look like {p}", "im stil von {p}", "wie {p}",
    "so wie {p}", "als {p}", "dans le style de {p}", "comme {p}", "facon {p}", "al estilo de {p}", "como {p}",
    "estilo {p}", "nello stile di {p}", "come {p}", "no estilo de {p}", "in stijl van {p}", "w stylu {p}",
    "в стиле {p}", "как {p}", "{p}風", "{p}のように", "{p}风格", "{p} 스타일",
)  # fmt: skip
_OF_A_SUBJECT = (
    "{s}, {p}", "{p}, {s}", "{s} as {p}", "{s} in {p}", "{s} with {p}", "{p} of {s}", "{s} made of {p}",
    "{s} like {p}", "{s} drawn as {p}", "paint {s} with {p}", "{s} {p} style", "{p} with {s}", "show {s} as {p}",
)  # fmt: skip
_TOGETHER = ("{p}, {q}", "{p} and {q}", "{p} with {q}", "{q} {p}", "{p} in {q}", "{p} like {q}")
_CHATTER = (
    "{p}", "{p}", "my {p}", "the {p} please", "{p} and {q}", "{p}, {q}", "i need {p}", "where is {p}", "{p} again",
)  # fmt: skip
_SIGHTS = ("{p}", "{p} and {q}", "{p} with {q}", "{p} on {q}", "{p} in {q}", "{p}, {q}", "show {p}", "{p} near {q}")
_SHORTEST_MISSPELT = 5
_ONSETS = (*"bdfghjklmnpqrstvwxyz", "bl", "br", "dr", "fl", "gl", "gn", "gr", "kr", "pl", "qu", "sk", "str", "vl", "zw")
_RHYMES = (*"aeiouy", "ab", "ang", "arp", "eb", "elk", "ez", "ib", "imp", "ix", "ob", "onk", "ort", "ub", "ug", "unt")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Example:
    """A text to learn from.

    Args:
        text: what is typed.
        style: index into `STYLES` when it is known what is meant.
        understood: 1 when it asks for a look, 0 when it does not, None when nobody knows.
        sure: how sure the label is, 0 to 1.
    """

    text: str
    style: int | None = None
    understood: float | None = None
    sure: float = 1.0


def listed(block: str) -> list[str]:
    """The comma-separated phrases of a block."""
    return [phrase for phrase in (" ".join(part.split()) for part in block.split(",")) if phrase]


def fragments() -> Iterator[Example]:
    """Every name, mark and scene of every style as it stands; scenes are less sure than the others."""
    for label, style in enumerate(STYLES):
        for source, sure in ((PHRASES, 1.0), (MARKS, 0.95), (SCENES, 0.8)):
            for phrase in listed(source[style]):
                yield Example(phrase, label, 1.0, sure)


def phrasebook(rng: random.Random, per_style: int) -> Iterator[Example]:
    """``per_style`` made-up wishes for each style."""
    subjects = listed(SUBJECTS)
    for label, style in enumerate(STYLES):
        sources = [(listed(PHRASES[style]), 1.0), (listed(MARKS[style]), 0.95), (listed(SCENES[style]), 0.8)]
        for _ in range(per_style):
            (phrases, sure), (others, _) = rng.choices(sources, weights=(3, 5, 2), k=2)
            text = _wish(rng, rng.choice(phrases), rng.choice(others), rng.choice(subjects))
            yield Example(_mistyped(rng, text), label, 1.0, sure)


def everyday(rng: random.Random, count: int) -> Iterator[Example]:
    """``count`` texts that ask for no look: chatter, numbers and letters hit at random."""
    phrases, subjects = listed(EVERYDAY), listed(SUBJECTS)
    yield from (Example(phrase, None, 0.0) for phrase in phrases)
    for _ in range(count):
        kind = rng.random()
        if kind < 0.4:
            text = " ".join(_gibberish(rng) for _ in range(rng.randint(1, 4)))
        elif kind < 0.8:
            text = _mistyped(rng, rng.choice(_CHATTER).format(p=rng.choice(phrases), q=rng.choice(phrases)))
        else:
            text = rng.choice(_SIGHTS).format(p=rng.choice(subjects), q=rng.choice(subjects))
        yield Example(text, None, 0.0)


def misspelt(rng: random.Random, count: int) -> Iterator[Example]:
    """Every name in Latin letters ``count`` times with a letter wrong."""
    for label, style in enumerate(STYLES):
        for name in listed(PHRASES[style]):
            if name.isascii() and len(name) >= _SHORTEST_MISSPELT:
                yield from (Example(_slip(rng, name), label, 1.0) for _ in range(count))


def word_salad(rng: random.Random, vocabulary: Sequence[str], count: int) -> Iterator[Example]:
    """``count`` texts of two to four words that nobody labelled: the teacher says what they mean."""
    for _ in range(count):
        yield Example(" ".join(rng.choices(vocabulary, k=rng.choice((2, 2, 3, 4)))))


def _wish(rng: random.Random, phrase: str, other: str, subject: str) -> str:
    kind = rng.random()
    if kind < 0.25:
        return rng.choice(_TOGETHER).format(p=phrase, q=other)
    if kind < 0.5:
        return rng.choice(_OF_A_SUBJECT).format(p=phrase, s=subject)
    return rng.choice(_WISHES).format(p=phrase)


def _mistyped(rng: random.Random, text: str) -> str:
    """``text``, in one case of eight with a letter wrong."""
    return text if rng.random() > 0.125 or len(text) < 8 else _slip(rng, text)


def _slip(rng: random.Random, text: str) -> str:
    """``text`` of at least four letters with one lost, doubled or swapped with the next."""
    at = rng.randrange(1, len(text) - 2)
    return rng.choice(
        (
            text[:at] + text[at + 1 :],
            text[:at] + text[at] + text[at:],
            text[:at] + text[at + 1] + text[at] + text[at + 2 :],
        )
    )


def _gibberish(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.15:
        return str(rng.randrange(10**6))
    if kind < 0.3:
        return rng.choice(_LETTERS) * rng.randint(2, 8)
    if kind < 0.6:
        row = rng.choice(("qwertyuiop", "asdfghjkl", "zxcvbnm", "poiuytrewq", "lkjhgfdsa"))
        start = rng.randrange(len(row) - 3)
        return row[start : start + rng.randint(3, 7)]
    if kind < 0.8:
        return "".join(rng.choice(_ONSETS) + rng.choice(_RHYMES) for _ in range(rng.randint(1, 3)))
    return "".join(rng.choice(_LETTERS) for _ in range(rng.randint(3, 9)))
