"""Figures of the core on pictures that it has not learned from, against the teachers of its styles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from torch import Tensor

from streamgen.training.core.exam import Exam, means
from streamgen.training.core.held_out import View
from streamgen.training.core.recipe import Style
from streamgen.training.core.scores import STRENGTHS, Renderings, Score, look_at_each, render_all, score
from streamgen.training.data import to_tensor

__all__ = ["Shown", "figures"]

Shown = Callable[[Style, Tensor | None, Renderings], None]
"""(style, the teacher's pictures [N, 3, H, W], renderings): called with what was scored, to show it."""


def figures(exam: Exam, views: Sequence[View], shown: Shown | None = None) -> dict[str, Any]:
    """Score every style on pictures.

    Returns:
        ``photos``: their kinds; ``styles``: by name, the fields of `Score` and ``monotonic``; ``mean``: of every field,
        over the styles that have it; ``better_in_4_steps``: in how many styles four steps are better than one by
        ``style``, ``structure`` (nearer the photo) and ``distance``, ``of`` how many that have a teacher;
        ``without_teacher``: styles whose teacher was not at hand; ``unknown``: styles that the recipe does not know.
    """
    photos = [view.pixels for view in views]
    source = to_tensor(photos)
    plain = look_at_each(exam.judge, source)
    scores: dict[str, Score] = {}
    for row, style in exam.styles:
        taught = exam.taught(photos, style)
        teacher = None if taught is None else to_tensor(taught)
        made = render_all(exam.network, row, source)
        scores[style.name] = score(made, source, teacher, exam.judge, plain)
        if shown is not None:
            shown(style, teacher, made)
    return {
        "photos": [view.kind for view in views],
        "strengths": list(STRENGTHS),
        "styles": {name: asdict(one) | {"monotonic": one.monotonic} for name, one in scores.items()},
        "mean": means([asdict(one) for one in scores.values()]),
        "better_in_4_steps": _better(list(scores.values())),
        "without_teacher": [name for name, one in scores.items() if one.style_1 is None],
        "unknown": [name for name in exam.names if name not in scores],
    }


def _better(scores: Sequence[Score]) -> dict[str, int]:
    taught = [one for one in scores if one.style_1 is not None]
    pairs: dict[str, list[tuple[float | None, float | None]]] = {
        "style": [(one.style_1, one.style_4) for one in taught],
        "structure": [(one.structure_1, one.structure_4) for one in taught],
        "distance": [(one.distance_1, one.distance_4) for one in taught],
    }
    counts = {
        name: sum(once is not None and four is not None and four < once for once, four in each)
        for name, each in pairs.items()
    }
    return counts | {"of": len(taught)}
