"""A small network from text to a point on a sphere: hashed words and n-grams, attention pooling, one hidden layer.

Words, pairs of words and letter n-grams share one table of vectors (hashing instead of a vocabulary, as in fastText;
Bojanowski et al. 2017; every word has two rows, against collisions). A misspelt or unknown word is what its n-grams
say. numpy only: reading a prompt costs a fraction of a millisecond and needs no torch.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamgen.models.embedded_weights import Arrays, read_weights, write_weights
from streamgen.models.phrasebook import normalise, unspaced

__all__ = ["BUCKETS", "WIDTH", "Features", "Floats", "TextNetwork", "features", "load_tensors", "save_tensors", "words"]

BUCKETS = 32768
"""Rows of the table."""
WIDTH = 96
"""Length of a vector."""
_MAX_TOKENS = 64
_MAX_LETTERS = 32
_KIND = ("streamgen.prompts", "1")

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Features:
    """The rows of the table that a text is made of.

    Args:
        rows: int64 [N] rows.
        weights: float32 [N] their weights.
        tokens: int64 [N] the token that each belongs to, ascending from 0.
        count: the number of tokens.
    """

    rows: NDArray[np.int64]
    weights: Floats
    tokens: NDArray[np.int64]
    count: int


def words(text: str) -> tuple[str, ...]:
    """The normalised words and numbers of a text, at most 32 letters each."""
    plain = "".join(letter if letter.isalnum() else " " for letter in normalise(text))
    return tuple(word[:_MAX_LETTERS] for word in plain.split())


def features(text: str) -> Features:
    """The tokens of a text: its words and its pairs of neighbouring words, at most 64 in all."""
    found = words(text)[: _MAX_TOKENS // 2]
    pairs = [_pair(first, second) for first, second in pairwise(found)]
    pieces = [*map(_word, found), *pairs]
    rows = [row for token, _ in pieces for row in token]
    weights = [weight for _, token in pieces for weight in token]
    lengths = [len(token) for token, _ in pieces]
    return Features(
        np.array(rows, np.int64),
        np.array(weights, np.float32),
        np.repeat(np.arange(len(pieces)), lengths).astype(np.int64),
        len(pieces),
    )


@lru_cache(maxsize=8192)
def _word(word: str) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Rows and weights of a word: two of its own, and those of its n-grams, which share a weight of 1."""
    own = _twice(word)
    grams = _grams(word)
    rows = (*own, *(_row("#" + gram) for gram in grams))
    return rows, (0.5, 0.5, *(1.0 / len(grams) for _ in grams))


@lru_cache(maxsize=8192)
def _pair(first: str, second: str) -> tuple[tuple[int, ...], tuple[float, ...]]:
    return _twice(f"{first} {second}"), (0.5, 0.5)


def _twice(text: str) -> tuple[int, int]:
    return _row("a" + text), _row("b" + text)


def _grams(word: str) -> list[str]:
    """The 3- to 5-grams of a word with its ends marked; in scripts without spaces, its letters and pairs of letters."""
    padded, sizes = (word, (1, 2)) if unspaced(word) else (f"<{word}>", (3, 4, 5))
    grams = [padded[at : at + size] for size in sizes for at in range(len(padded) - size + 1)]
    return grams or [padded]


def _row(text: str) -> int:
    return zlib.crc32(text.encode()) % BUCKETS


class TextNetwork:
    """Text to a unit vector.

    Args:
        tensors: "table" int8 [32768, 96] with "scale" float16 [32768, 1], "query" [96], "up" [H, 96] with "up_bias"
            [H] and "down" [96, H], all float16.
    """

    def __init__(self, tensors: Arrays) -> None:
        self._table = np.asarray(tensors["table"], np.int8)
        self._scale = tensors["scale"].astype(np.float32)
        self._query, self._up, self._up_bias, self._down = (
            tensors[name].astype(np.float32) for name in ("query", "up", "up_bias", "down")
        )
        if self._table.shape != (BUCKETS, WIDTH) or self._query.shape != (WIDTH,):
            raise ValueError(f"the table is {self._table.shape}")

    def embed(self, text: str) -> Floats:
        """float32 [96] of length 1; zeros when the text has no word in it."""
        found = features(text)
        if not found.count:
            return np.zeros(WIDTH, np.float32)
        rows = self._table[found.rows] * (self._scale[found.rows] * found.weights[:, None])  # [N, 96]
        starts = np.searchsorted(found.tokens, np.arange(found.count))
        tokens: Floats = np.add.reduceat(rows, starts)  # [T, 96]
        logits = tokens @ self._query
        attention = np.exp(logits - logits.max())
        pooled = attention @ tokens / attention.sum()
        hidden = np.maximum(self._up @ pooled + self._up_bias, 0.0)
        point: Floats = pooled + self._down @ hidden
        return point / max(float(np.linalg.norm(point)), 1e-6)


def load_tensors(path: Path) -> tuple[Arrays, list[str]]:
    """Read a weights file made by `save_tensors`: its tensors, and the names of the styles that it knows.

    Raises:
        WeightsError: `weights_missing` when there is no such file, `weights_corrupt` when it is not such a file.
    """
    return read_weights(path, _KIND, lambda tensors, metadata: (tensors, _names(metadata)), framework="np")


def save_tensors(tensors: Arrays, styles: list[str], path: Path) -> None:
    """Write tensors and style names, atomically. Raises `OSError` when that cannot be done."""
    write_weights(tensors, path, _KIND, styles=json.dumps(styles))


def _names(metadata: dict[str, str]) -> list[str]:
    return [str(name) for name in json.loads(metadata["styles"])]
