"""Pictures with the teacher's mattes, made once and kept: the teacher costs as much as a training step.

Four kinds: photos of people, frames of clips, photos of other things, and composites, in which somebody who was cut out
by the teacher stands before a picture of nobody.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from streamgen.training.data import Pixels, read_picture
from streamgen.training.files import write_whole
from streamgen.training.matte.footage import clips, empty_photos, face_photos, frames, other_photos
from streamgen.training.matte.teacher import TEACHER, Teacher, squeezed

__all__ = ["Bank", "Example", "composite", "make_bank", "open_bank"]

_LOG = logging.getLogger(__name__)
_SIDE = 256
_CROPS = 5
_COMPOSITES = 5000
_ATTEMPTS = 10
_AGREE = 0.85

Example = tuple[Pixels, Pixels]
"""A picture uint8 [256, 256, 3] RGB and its matte uint8 [256, 256]."""


@dataclass(frozen=True, slots=True)
class Bank:
    """Examples on disk, read as they are drawn.

    Args:
        pictures: uint8 [N, 256, 256, 3] RGB.
        mattes: uint8 [N, 256, 256].
    """

    pictures: Pixels
    mattes: Pixels


def open_bank(data: Path, folder: Path, seed: int = 0, composites: int = _COMPOSITES) -> Bank:
    """The bank in `folder` of that seed and size, made of the data folder where it is missing.

    Raises `ConfigError` when data is missing.
    """
    pictures, mattes = (folder / f"{kind}-{seed}-{composites}.npy" for kind in ("pictures", "mattes"))
    if not mattes.is_file():  # written last
        folder.mkdir(parents=True, exist_ok=True)
        examples = list(make_bank(data, Teacher(data / TEACHER), np.random.default_rng(seed), composites))
        write_whole(pictures, lambda file: np.save(file, np.stack([picture for picture, _ in examples])))
        write_whole(mattes, lambda file: np.save(file, np.stack([matte for _, matte in examples])))
    return Bank(np.load(pictures, mmap_mode="r"), np.load(mattes, mmap_mode="r"))


def make_bank(
    data: Path, teacher: Callable[[Pixels], Pixels], random: np.random.Generator, composites: int
) -> Iterator[Example]:
    """All examples of a data folder, those it has and at most so many composed of them."""
    people: list[Example] = []
    for path in face_photos(data, "train"):
        people += _taught(read_picture(path), teacher, random, _CROPS)
    _LOG.info("%d views of photos", len(people))
    for clip in clips(data, held_out=False):
        for frame in frames(clip):
            people += _taught(frame, teacher, random, 1)
    _LOG.info("%d views of people", len(people))
    yield from people
    # The teacher takes many an animal for a person, and a dress for who wears it. That is let stand: of so few people
    # as there are here, a matte that is told to leave all else out learns to leave out whoever looks otherwise.
    others = [each for path in other_photos(data) for each in _taught(read_picture(path), teacher, random, 1)]
    yield from (example for example in others if _is_sure(example[1]))
    empty = [squeezed(read_picture(path)) for path in empty_photos(data)]
    yield from islice(_composites(people, empty, teacher, random, _ATTEMPTS * composites), composites)


def _taught(
    picture: Pixels, teacher: Callable[[Pixels], Pixels], random: np.random.Generator, crops: int
) -> list[Example]:
    """The whole picture and some crops of it with their mattes, without those crops in which the teacher does not find
    again whom it saw in the whole."""
    whole = squeezed(picture)
    matte = teacher(whole)
    large = np.asarray(cv2.resize(matte, picture.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.uint8)
    examples = [(whole, matte)]
    for rows, columns in _boxes(picture, random, crops):
        view, wanted = squeezed(picture[rows, columns]), squeezed(large[rows, columns])
        found = teacher(view)
        if _agreement(found, wanted) > _AGREE:
            examples.append((view, found))
    return examples


def composite(person: Example, background: Pixels, random: np.random.Generator) -> Example:
    """Somebody before another background, moved, mirrored, resized and lit otherwise."""
    picture, matte = person
    turn = _placement(matte, random)
    moved = cv2.warpAffine(picture, turn, (_SIDE, _SIDE), borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
    matte = np.asarray(cv2.warpAffine(matte, turn, (_SIDE, _SIDE)), np.uint8)
    share = matte[..., None].astype(np.float32) / 255
    light = random.uniform(0.75, 1.2) * random.uniform(0.92, 1.08, 3)
    mixed = moved * light * share + background.astype(np.float32) * (1 - share)
    return np.clip(mixed + 0.5, 0, 255).astype(np.uint8), matte


def _placement(matte: Pixels, random: np.random.Generator) -> NDArray[np.float64]:
    """An affine map [2, 3] that keeps the matte's lower edge at or below the picture's: nobody hangs in the air."""
    scale = random.uniform(0.6, 1.3)
    mirror = -1.0 if random.random() < 0.5 else 1.0
    columns = np.flatnonzero(matte.max(0) > 127)
    middle = float(columns.mean()) if len(columns) else _SIDE / 2
    to = random.uniform(0.2, 0.8) * _SIDE
    down = _SIDE * (1 - scale) + random.uniform(0, 0.15) * _SIDE
    wide = scale * random.uniform(0.85, 1.15) * mirror
    return np.array([[wide, 0, to - wide * middle], [0, scale, down]], np.float64)


def _composites(
    people: list[Example],
    empty: list[Pixels],
    teacher: Callable[[Pixels], Pixels],
    random: np.random.Generator,
    attempts: int,
) -> Iterator[Example]:
    """Composites in which the teacher sees whom it cut out."""
    for _ in range(attempts):
        person = people[random.integers(len(people))]
        if not _is_clean(person[1]):
            continue
        background = empty[random.integers(len(empty))]
        [(rows, columns)] = _boxes(background, random, 1)
        example = composite(person, squeezed(background[rows, columns]), random)
        if random.random() < 0.25:  # two people, the second before the first
            other = people[random.integers(len(people))]
            if _is_clean(other[1]):
                picture, matte = composite(other, example[0], random)
                example = picture, np.maximum(matte, example[1])
        if _agreement(teacher(example[0]), example[1]) > _AGREE:
            yield example


def _is_clean(matte: Pixels) -> bool:
    """Somebody to cut out: large enough, hardly anything half transparent, not cut off at the sides."""
    half, solid = _half_and_solid(matte)
    cut = max(float((matte[:, edge] > 127).mean()) for edge in (0, -1))
    return bool(solid > 0.08 and half < 0.15 * solid and cut < 0.15 and (matte[0] > 127).mean() < 0.05)


def _is_sure(matte: Pixels) -> bool:
    """Whether little is half transparent."""
    half, solid = _half_and_solid(matte)
    return half < 0.25 * solid + 0.01


def _half_and_solid(matte: Pixels) -> tuple[float, float]:
    """The shares of a matte that are half transparent, and more than half solid."""
    return float(((matte > 40) & (matte < 215)).mean()), float((matte > 127).mean())


def _agreement(found: Pixels, wanted: Pixels) -> float:
    """Intersection over union at one half."""
    a, b = found > 127, wanted > 127
    return float((a & b).sum() / max(1, (a | b).sum()))


def _boxes(picture: Pixels, random: np.random.Generator, count: int) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of crops of any shape, of half a side or more."""
    height, width = picture.shape[:2]
    for _ in range(count):
        h, w = (int(side * random.uniform(0.5, 1.0)) for side in (height, width))
        top, left = int(random.integers(height - h + 1)), int(random.integers(width - w + 1))
        yield slice(top, top + h), slice(left, left + w)
