"""Prompts with weights: ``(word:1.3)`` counts more, ``[word]`` less, as users of Stable Diffusion write it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch
from torch import Tensor

__all__ = ["parse_weights", "tokenise", "weigh"]

_MORE = 1.1
_MOST, _LEAST = 2.0, 0.1
_PARTS = re.compile(r"\\[()\[\]\\]|[()\[\]]|:\s*([+-]?\d*\.?\d+)\s*\)|[^\\()\[\]:]+|.", re.DOTALL)


def parse_weights(text: str) -> list[tuple[str, float]]:
    """Split a prompt into pieces with weights, 0.1 to 2.

    ``(a)`` is 1.1 times as much, ``[a]`` that much less, ``(a:1.5)`` the weight that it says; they nest. A bracket that
    is not closed, and one behind a backslash, is a character like any other.
    """
    pieces: list[tuple[str, float]] = []
    opened: list[tuple[str, int]] = []  # bracket, and how many pieces there were
    for match in _PARTS.finditer(text):
        part, number = match.group(0), match.group(1)
        if part in ("(", "["):
            opened.append((part, len(pieces)))
        elif number is not None and opened and opened[-1][0] == "(":
            _, start = opened.pop()
            pieces[start:] = [(piece, weight * float(number)) for piece, weight in pieces[start:]]
        elif part == ")" and opened and opened[-1][0] == "(":
            _, start = opened.pop()
            pieces[start:] = [(piece, weight * _MORE) for piece, weight in pieces[start:]]
        elif part == "]" and opened and opened[-1][0] == "[":
            _, start = opened.pop()
            pieces[start:] = [(piece, weight / _MORE) for piece, weight in pieces[start:]]
        else:
            pieces.append((part[1:] if len(part) == 2 and part[0] == "\\" else part, 1.0))
    for bracket, start in reversed(opened):
        pieces.insert(start, (bracket, 1.0))
    return list(_merged(pieces))


def _merged(pieces: list[tuple[str, float]]) -> Iterator[tuple[str, float]]:
    """Neighbours of equal weight as one, so that words are not split at a bracket that means nothing."""
    held, held_weight = "", 1.0
    for piece, weight in pieces:
        weight = min(_MOST, max(_LEAST, weight))
        if held and weight != held_weight:
            yield held, held_weight
            held = ""
        held, held_weight = held + piece, weight
    if held:
        yield held, held_weight


def tokenise(tokenizer: object, pieces: list[tuple[str, float]]) -> tuple[Tensor, Tensor]:
    """Token ids [1, N] as the tokenizer itself would make them of the whole text, padded and cut to its length, and the
    weight of each [1, N]."""
    length: int = tokenizer.model_max_length  # type: ignore[attr-defined]
    ids: list[int] = []
    weights: list[float] = []
    for piece, weight in pieces:
        found: list[int] = tokenizer(piece, add_special_tokens=False).input_ids  # type: ignore[operator]
        ids += found
        weights += [weight] * len(found)
    begin, end = tokenizer.bos_token_id, tokenizer.eos_token_id  # type: ignore[attr-defined]
    ids, weights = [begin, *ids[: length - 2], end], [1.0, *weights[: length - 2], 1.0]
    missing = length - len(ids)
    ids += [tokenizer.pad_token_id] * missing  # type: ignore[attr-defined]
    return torch.tensor([ids]), torch.tensor([weights + [1.0] * missing])


def weigh(embedding: Tensor, weights: Tensor) -> Tensor:
    """Scale the tokens of an embedding [1, N, D] by their weights [1, N], and the whole back to its mean, without which
    a heavy word would also brighten or darken the picture."""
    if bool((weights == 1).all()):
        return embedding
    scaled = embedding * weights.to(embedding)[..., None]
    return scaled * (embedding.mean() / scaled.mean())
