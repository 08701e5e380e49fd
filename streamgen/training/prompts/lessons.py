"""What is learned from: texts with what the teacher and the phrasebook say of them, and their hashed features."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from streamgen.models.text_network import WIDTH, Floats, features
from streamgen.training.prompts.phrasebook import STYLES, Example, everyday, fragments, misspelt, phrasebook, word_salad
from streamgen.training.prompts.teacher import Teacher, embed_once

__all__ = ["Batch", "Lessons", "make_lessons"]

_PER_STYLE = 2000
_ASKED = 8
"""One of so many made-up texts is put to the teachers; of the others the label alone is known."""
_EVERYDAY = 8000
_SLIPS = 6
_SALADS = 12_000
_COMMON = 12_000
_TEMPERATURE = 0.7


@dataclass(frozen=True, slots=True)
class Batch:
    """Texts as the network takes them, B of them with T tokens of N rows.

    Args:
        rows: int64 [N] rows of the table.
        weights: float32 [N] their weights.
        starts: int64 [T] where each token's rows begin.
        texts: int64 [T] the text that each token belongs to.
        points: float32 [B, 96] where the teacher puts each text, of length 1.
        trust: float32 [B] how much that counts.
        styles: float32 [B, S] the styles' shares.
        sure: float32 [B] how much those count; 0 for texts that ask for no look.
        understood: float32 [B] whether it asks for a look, 0 to 1.
    """

    rows: Tensor
    weights: Tensor
    starts: Tensor
    texts: Tensor
    points: Tensor
    trust: Tensor
    styles: Tensor
    sure: Tensor
    understood: Tensor


@dataclass(frozen=True)
class Lessons:
    """All texts; the arrays are those of `Batch`, for all of them."""

    texts: list[str]
    points: Floats
    trust: Floats
    styles: Floats
    sure: Floats
    understood: Floats

    def batch(self, picked: NDArray[np.int64]) -> Batch:
        """The texts at ``picked``."""
        rows, weights, row_ends, lengths, token_ends = self._features
        here, tokens = _ranges(row_ends, picked), _ranges(token_ends, picked)
        lengths = lengths[tokens]
        arrays = (
            rows[here],
            weights[here],
            np.cumsum(lengths) - lengths,
            np.repeat(np.arange(len(picked)), token_ends[picked + 1] - token_ends[picked]),
            *(getattr(self, name)[picked] for name in ("points", "trust", "styles", "sure", "understood")),
        )
        return Batch(*(torch.from_numpy(array) for array in arrays))

    @cached_property
    def _features(self) -> tuple[NDArray[np.int64], Floats, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Rows and weights of all texts, where each text's rows end, rows of each token, and where tokens end."""
        found = [features(text) for text in self.texts]
        return (
            np.concatenate([one.rows for one in found]),
            np.concatenate([one.weights for one in found]),
            np.cumsum([0, *(len(one.rows) for one in found)]),
            np.concatenate([np.bincount(one.tokens, minlength=one.count) for one in found]),
            np.cumsum([0, *(one.count for one in found)]),
        )


def _ranges(ends: NDArray[np.int64], picked: NDArray[np.int64]) -> NDArray[np.int64]:
    """The places from ``ends[at]`` to before ``ends[at + 1]`` for every ``at`` of ``picked``, one after the other."""
    counts = ends[picked + 1] - ends[picked]
    first = ends[picked] - (np.cumsum(counts) - counts)
    places: NDArray[np.int64] = np.arange(counts.sum()) + np.repeat(first, counts)
    return places


def make_lessons(data: Path, seed: int, out: Path) -> Lessons:
    """Generate the phrasebook of ``seed`` and ask the teachers in ``data`` about it; ``out`` keeps their answers.

    Raises `ConfigError` when the teachers are not there.
    """
    teacher = Teacher(data)
    english = teacher.english()
    plain = list(fragments())
    chatter = list(everyday(random.Random(f"everyday {seed}"), _EVERYDAY))
    far = chatter[::_ASKED]
    wishes = list(phrasebook(random.Random(f"wishes {seed}"), _PER_STYLE))
    salads = word_salad(random.Random(f"salads {seed}"), english[:_COMMON], _SALADS)
    asked = [*plain, *far, *wishes[::_ASKED], *salads, *map(Example, english)]
    raw = embed_once(teacher.embed, [example.text for example in asked], out / "teacher.npz")
    styles, understood = _judge(raw, raw[: len(plain)], plain, raw[len(plain) : len(plain) + len(far)])
    foreign = teacher.translated(english, out / "multilingual.npz")
    source = [*range(len(asked)), *(len(asked) - len(english) + place for _, place in foreign)]
    known = _mark(
        [*asked, *(Example(word) for word, _ in foreign)], _project(raw)[source], styles[source], understood[source]
    )
    unasked = [example for made_up in (wishes, chatter) for at, example in enumerate(made_up) if at % _ASKED]
    return _with_unasked(known, [*unasked, *misspelt(random.Random(f"slips {seed}"), _SLIPS)])


def _project(raw: Floats) -> Floats:
    """The teacher's points, along the 96 directions in which they differ most, at length 1."""
    centred = raw - raw.mean(0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    points: Floats = centred @ directions[:, ::-1][:, :WIDTH]
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points


def _judge(raw: Floats, plain: Floats, examples: Sequence[Example], chatter: Floats) -> tuple[Floats, Floats]:
    """Which style each text is near to, and whether it asks for a look, as far as the teacher can tell.

    Returns:
        float32 [N, S] shares and float32 [N], both from regressions on the teacher's points.
    """
    points, near, far = (torch.from_numpy(array) for array in (raw, plain, chatter))
    wanted = F.one_hot(torch.tensor([example.style for example in examples]), len(STYLES)).float()
    style = _regression(near, wanted, True)
    asked = torch.cat([torch.ones(len(near)), torch.zeros(len(far))])[:, None]
    look = _regression(torch.cat([near, far]), asked, False)
    with torch.no_grad():
        shares = F.softmax(style(points) / _TEMPERATURE, dim=1)
        return shares.numpy(), torch.sigmoid(look(points))[:, 0].numpy()


def _regression(points: Tensor, wanted: Tensor, one_of_many: bool) -> torch.nn.Linear:
    layer = torch.nn.Linear(points.shape[1], wanted.shape[1])
    adam = torch.optim.Adam(layer.parameters(), lr=0.05, weight_decay=1e-5)
    for _ in range(200):
        told = layer(points)
        loss = F.cross_entropy(told, wanted) if one_of_many else F.binary_cross_entropy_with_logits(told, wanted)
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
    return layer


def _mark(examples: Sequence[Example], points: Floats, styles: Floats, understood: Floats) -> Lessons:
    """Put what is known in the place of what the teacher guesses."""
    styles, understood = styles.copy(), understood.copy()
    trust, sure = np.ones(len(examples), np.float32), np.zeros(len(examples), np.float32)
    for at, example in enumerate(examples):
        if example.style is not None:
            styles[at] *= 1.0 - example.sure
            styles[at, example.style] += example.sure
            sure[at], trust[at] = 1.0, 0.4
        elif example.understood is None:
            sure[at] = 0.3 * understood[at]
        if example.understood is not None:
            understood[at] = example.understood
    return Lessons([example.text for example in examples], points, trust, styles, sure, understood)


def _with_unasked(lessons: Lessons, examples: Sequence[Example]) -> Lessons:
    """``lessons`` with examples of which the label alone is known."""
    count = len(examples)
    labels = np.array([example.style is not None for example in examples], np.float32)
    styles = np.zeros((count, len(STYLES)), np.float32)
    styles[np.arange(count), [example.style or 0 for example in examples]] = labels
    return Lessons(
        [*lessons.texts, *(example.text for example in examples)],
        np.concatenate([lessons.points, np.zeros((count, WIDTH), np.float32)]),
        np.concatenate([lessons.trust, np.zeros(count, np.float32)]),
        np.concatenate([lessons.styles, styles]),
        np.concatenate([lessons.sure, labels]),
        np.concatenate([lessons.understood, labels]),
    )
