"""How steady the core's styles are on clips, beside their teachers frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from streamgen.training.core.exam import Exam, means
from streamgen.training.core.held_out import held_out_clips, middle_frames
from streamgen.training.core.recipe import Style
from streamgen.training.core.scores import Judge, look, mean, style_score
from streamgen.training.core.temporal import Motion, flicker, mixed, motions, sensor_noise, wobble
from streamgen.training.data import Pixels, to_tensor
from streamgen.training.losses import Taps

__all__ = ["steadiness"]

_MIX_SHARES = (0.8, 0.4)

_COMPARED = (
    "style",
    *("warp_teacher", "warp_equal", "warp_ratio", "warp_ratio_equal", "warp_ratio_squared"),
    *("flicker_teacher", "flicker_equal", "flicker_ratio", "flicker_ratio_equal"),
)


def steadiness(exam: Exam, data: Path, clips: int, pairs: int, draws: int) -> dict[str, Any]:
    """How steady every style is on clips, beside its teacher frame by frame.

    At equal style it is compared with the teacher's pictures mixed with the plain frames until their style score is the
    core's, so that a core which is steady because it is pale gains nothing by it.

    Args:
        exam: the core and its teachers.
        data: folder with `clips/`.
        clips: how many.
        pairs: of frames, of each.
        draws: of sensor noise, of one frame of each, for the flicker of a still scene.

    Returns:
        ``clips``: their names; ``frames_warp``: the wobble of the plain frames, which is what the optical flow misses;
        ``frames_flicker``: what the sensor does to them; ``styles``: by name, ``anchored``, ``style`` (see
        `Score.style_1`; on the clips), ``warp``, the teacher's ``warp_teacher`` and, at equal style, ``warp_equal``,
        the ratios to them ``warp_ratio``, ``warp_ratio_equal`` and, of the squares, ``warp_ratio_squared``, and
        likewise ``flicker``, ``flicker_teacher``, ``flicker_equal``, ``flicker_ratio``, ``flicker_ratio_equal``;
        ``mean``: of those, over the styles that have a teacher; ``mean_free`` and ``mean_anchored``: likewise, of
        those that move with the scene and of the others.

    Raises:
        ConfigError: ``data_missing`` when there is no clip.
    """
    paths = held_out_clips(data, clips)
    scenes = [_Scene.of(middle_frames(path, pairs + 1), draws, exam.judge) for path in paths]
    rows = {style.name: _steadiness_of(exam, row, style, scenes) for row, style in exam.styles}
    compared = [row for row in rows.values() if row["warp_ratio"] is not None]
    return {
        "clips": [path.name for path in paths],
        "frames_warp": mean([wobble(scene.frames, scene.moved).mean for scene in scenes]),
        "frames_flicker": mean([flicker(scene.still) for scene in scenes]),
        "styles": rows,
        "mean": means(compared),
        "mean_free": means([row for row in compared if not row["anchored"]]),
        "mean_anchored": means([row for row in compared if row["anchored"]]),
    }


@dataclass(frozen=True, slots=True)
class _Scene:
    """Frames of a clip, how they move, what a camera sees while the middle one stands still, and its Gram matrices."""

    frames: list[Pixels]
    moved: list[Motion]
    still: list[Pixels]
    plain: Taps

    @classmethod
    def of(cls, frames: list[Pixels], draws: int, judge: Judge) -> _Scene:
        middle = frames[len(frames) // 2]
        return cls(frames, motions(frames), sensor_noise(middle, draws), _grams(judge, middle))

    @property
    def middle(self) -> int:
        return len(self.frames) // 2


@dataclass(frozen=True, slots=True)
class _Film:
    """The pictures of a scene's frames, and of it standing still."""

    moving: list[Pixels]
    still: list[Pixels]

    def unrest(self, scene: _Scene) -> tuple[float, float, float]:
        """Mean and squared wobble, and flicker."""
        moving = wobble(self.moving, scene.moved)
        return moving.mean, moving.square, flicker(self.still)


def _steadiness_of(exam: Exam, row: int, style: Style, scenes: Sequence[_Scene]) -> dict[str, Any]:
    ours = [_Film(exam.painted(scene.frames, row), exam.painted(scene.still, row)) for scene in scenes]
    warp, square, flickers = _mean_of_each([film.unrest(scene) for film, scene in zip(ours, scenes, strict=True)])
    found: dict[str, Any] = {"anchored": style.anchored, "warp": warp, "flicker": flickers}
    theirs: list[_Film] = []
    for scene in scenes:
        moving, still = exam.taught(scene.frames, style), exam.taught(scene.still, style)
        if moving is None or still is None:
            return found | dict.fromkeys(_COMPARED)
        theirs.append(_Film(moving, still))
    style_of_ours, share = _equal_style(exam.judge, scenes, ours, theirs)
    diluted = [
        _Film(mixed(scene.frames, film.moving, share), mixed(scene.still, film.still, share))
        for film, scene in zip(theirs, scenes, strict=True)
    ]
    teacher = _mean_of_each([film.unrest(scene) for film, scene in zip(theirs, scenes, strict=True)])
    equal = _mean_of_each([film.unrest(scene) for film, scene in zip(diluted, scenes, strict=True)])
    values = (
        style_of_ours,
        *(teacher[0], equal[0], _ratio(warp, teacher[0]), _ratio(warp, equal[0]), _ratio(square, teacher[1])),
        *(teacher[2], equal[2], _ratio(flickers, teacher[2]), _ratio(flickers, equal[2])),
    )
    return found | dict(zip(_COMPARED, values, strict=True))


def _equal_style(
    judge: Judge, scenes: Sequence[_Scene], ours: Sequence[_Film], theirs: Sequence[_Film]
) -> tuple[float, float]:
    """The style score of our pictures, and how much of the teacher's must be in a mix with the frames to have it."""
    frames = [scene.frames[scene.middle] for scene in scenes]
    made, taught = (
        [film.moving[scene.middle] for film, scene in zip(films, scenes, strict=True)] for films in (ours, theirs)
    )
    plain, wanted = [scene.plain for scene in scenes], [_grams(judge, picture) for picture in taught]

    def scored(pictures: Sequence[Pixels]) -> float:
        return style_score([_grams(judge, picture) for picture in pictures], wanted, plain)

    # All of the teacher scores 0 and the plain frame 1, by definition.
    shares, scores = [1.0], [0.0]
    for share in _MIX_SHARES:
        shares.append(share)
        scores.append(max(scores[-1], scored(mixed(frames, taught, share))))
    ours_scored = scored(made)
    return ours_scored, float(np.interp(ours_scored, [*scores, max(1.0, scores[-1])], [*shares, 0.0]))


def _grams(judge: Judge, picture: Pixels) -> Taps:
    return look(judge, to_tensor([picture])).grams


def _ratio(ours: float, theirs: float) -> float:
    """A teacher that draws the very same picture twice has no unrest at all."""
    return ours / max(theirs, 1e-6)


def _mean_of_each(rows: Sequence[Sequence[float]]) -> list[float]:
    return [mean(column) for column in zip(*rows, strict=True)]
