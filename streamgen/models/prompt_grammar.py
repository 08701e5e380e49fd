"""The little grammar of prompts: amounts, weights and negations cut a text into weighted segments.

`half comic, half neon`, `pencil:0.7 comic:0.3`, `(pencil:1.2) comic`, `70% poster`, `great wave with a touch of neon`,
`comic, no pencil`. Pure functions of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby

from streamgen.models.phrasebook import PhraseIndex, normalise
from streamgen.settings import MAX_PROMPT_CHARACTERS

__all__ = ["Segment", "segments"]

_AMOUNTS = {"half": 1.0, "quarter": 0.5, "third": 0.67, "mostly": 2.0, "mainly": 2.0}
_AMOUNTS_OF = {"touch": 0.3, "hint": 0.25, "dash": 0.25, "pinch": 0.25, "bit": 0.4, "little": 0.4, "lot": 1.5}
"""Amounts when "of" follows."""
_AMOUNTS_FIRST = {"slightly": 0.4, "some": 0.5}
"""Amounts at the start of a clause."""
_NEGATIONS = frozenset(
    ["no", "not", "without", "minus", "kein", "keine", "ohne", "sans", "sin", "senza", "sem", "zonder", "bez", "без"]
)
_CONNECTORS = frozenset(["and", "with", "plus", "meets", "und", "mit", "et", "avec", "y", "con", "и", "と", "和"])
_DIGITS = r"(?:\d+(?:\.\d+)?|\.\d+)%?"
"""Every digit can be matched in one way only: of a long run that ends in a letter not all splits are tried."""
_TOKEN = re.compile(rf"{_DIGITS}(?![^\W_])|[^\W_]+|[():,;|.+&/!?\n]")
_NUMBER = re.compile(_DIGITS)
_MAX_WEIGHT = 10.0
_MAX_WORDS = 200


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a prompt that is read as one.

    Args:
        words: normalised; never empty.
        style: what the words mean exactly; None when that is for the encoder to say.
        weight: 0 to 10, as written; 1 when nothing is.
        weighted: whether the weight is written.
        negated: whether it is not wanted.
    """

    words: tuple[str, ...]
    style: str | None = None
    weight: float = 1.0
    weighted: bool = False
    negated: bool = False


def segments(text: str, index: PhraseIndex) -> list[Segment]:
    """Cut a prompt of any length.

    What neighbouring clauses without weights say is one segment, apart from known phrases; fillers alone are none.
    """
    # Decomposing can make eighteen letters of one.
    tokens = _TOKEN.findall(index.spaced(normalise(text)[:MAX_PROMPT_CHARACTERS]))[:_MAX_WORDS]
    clauses = _Clauses()
    for at, token in enumerate(tokens):
        clauses.feed(token, tokens[at + 1] if at + 1 < len(tokens) else "")
    cut = [part for clause in clauses.close() for part in _at_known_phrases(clause, index)]
    return list(_joined(cut))


class _Clauses:
    """Takes tokens one by one and gathers clauses.

    An amount or a negation waits for the words that follow; "(", ")" and ":" weigh the clauses just read.
    """

    def __init__(self) -> None:
        self._clauses: list[Segment] = []
        self._words: list[str] = []
        self._amount: float | None = None
        self._negated = False
        self._after_colon = False
        self._group = 0
        self._depth = 0

    def feed(self, token: str, following: str) -> None:
        """Take the next token: a word, a number or a mark; ``following`` is the one after it."""
        if _NUMBER.fullmatch(token) and (self._after_colon or token.endswith("%")):
            self._number(token)
        elif token in "():,;|.+&/!?\n":
            self._mark(token)
        elif token in _NEGATIONS and following != "estilo":  # Portuguese: in the style
            self._settle()
            self._negated = True
        elif (amount := self._named_amount(token, following)) is not None:
            self._settle(keep=True)
            self._amount = amount * (1.0 if self._amount is None else self._amount)
        else:
            if not self._words and not self._depth:
                self._group = len(self._clauses)
            self._words.append(token)

    def close(self) -> list[Segment]:
        """All clauses; call once after the last token."""
        self._settle()
        return self._clauses

    def _named_amount(self, word: str, following: str) -> float | None:
        if following == "of" and word in _AMOUNTS_OF:
            return _AMOUNTS_OF[word]
        if not self._words and word in _AMOUNTS_FIRST:
            return _AMOUNTS_FIRST[word]
        return _AMOUNTS.get(word)

    def _number(self, token: str) -> None:
        value = min(float(token.rstrip("%")) / (100 if token.endswith("%") else 1), _MAX_WEIGHT)
        if not self._after_colon:
            self._settle()
            self._amount = value
            return
        self._after_colon = False
        self._clauses[self._group :] = [
            replace(clause, weight=min(clause.weight * value, _MAX_WEIGHT), weighted=True)
            for clause in self._clauses[self._group :]
        ]

    def _mark(self, mark: str) -> None:
        self._settle()
        self._after_colon = mark == ":"
        if mark == "(":
            self._depth += 1
            self._group = len(self._clauses)
        elif mark == ")":
            self._depth = max(0, self._depth - 1)

    def _settle(self, keep: bool = False) -> None:
        """End the clause. An amount and a negation end with it; with ``keep``, not while they wait for their words."""
        if self._words:
            amount = 1.0 if self._amount is None else min(self._amount, _MAX_WEIGHT)
            self._clauses.append(Segment(tuple(self._words), None, amount, self._amount is not None, self._negated))
        if self._words or not keep:
            self._amount, self._negated = None, False
        self._words = []
        self._after_colon = False


def _at_known_phrases(clause: Segment, index: PhraseIndex) -> Iterator[Segment]:
    """The clause, or its parts where a part between "and", "with" and the like is made of known phrases alone."""
    whole = index.tile(clause.words)
    if whole is not None:
        yield from (replace(clause, style=style) for style in whole)
        return
    parts = [tuple(words) for joins, words in groupby(clause.words, _CONNECTORS.__contains__) if not joins]
    tiles = [index.tile(part) for part in parts]
    if not any(tiles):
        yield clause
        return
    for part, tile in zip(parts, tiles, strict=True):
        if tile is None:
            yield replace(clause, words=part)
        else:
            yield from (replace(clause, words=part, style=style) for style in tile)


def _joined(parts: Iterable[Segment]) -> Iterator[Segment]:
    """Put neighbours together that are alike in all but their words, and leave out what says nothing."""

    def kind(part: Segment) -> tuple[bool, bool, bool]:
        return part.style is not None, part.weighted, part.negated

    for (known, weighted, _), run in groupby(parts, kind):
        if known or weighted:
            yield from run
        else:
            alike = list(run)
            yield replace(alike[0], words=tuple(word for part in alike for word in part.words))
