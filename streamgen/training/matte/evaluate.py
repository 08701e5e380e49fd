"""How near the matte comes to its teacher on what neither training nor its choices have seen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from streamgen.effects.matte import steadied
from streamgen.training.data import Pixels, read_picture, to_tensor
from streamgen.training.matte.footage import clips, face_photos, frames
from streamgen.training.matte.teacher import TEACHER, Teacher, squeezed
from streamgen.training.sheet import save_sheet

__all__ = ["figures", "overlap", "preview"]

_GREEN = np.array([0, 190, 60], np.float32)
_PHOTOS = 5


def figures(data: Path, network: nn.Module, every: int = 1) -> dict[str, float]:
    """The matte against its teacher on the clips and photos that are held out.

    Args:
        data: the data folder.
        network: in float32, for inference.
        every: look at every so many frames of a clip.

    Returns:
        `iou CLIP` for each clip, the mean of its frames' intersection over union at one half; `iou clips`, the mean of
        those, and `iou clips steadied`, of the matte as a stream shows it; `iou photos`, likewise of the held-out
        photos of faces; `error clips`, the mean absolute difference of the soft mattes, 0 to 1; `still clips`, `still
        clips steadied` and `still clips teacher`, the mean absolute change of the matte from frame to frame where the
        frame hardly changes, 0 to 255.
    """
    teacher = Teacher(data / TEACHER)
    found: dict[str, float] = {}
    errors, still, steady_ious = [], [], []
    for clip in clips(data, held_out=True):
        pictures = [squeezed(frame) for frame in frames(clip)][::every]
        wanted = [teacher(picture) for picture in pictures]
        made = [matte_of(network, picture) for picture in pictures]
        found[f"iou {clip.stem}"] = float(np.mean([overlap(*pair) for pair in zip(made, wanted, strict=True)]))
        errors.append(
            np.mean([np.abs(_levels(a) - _levels(b)).mean() / 255 for a, b in zip(made, wanted, strict=True)])
        )
        steady = _steadied(pictures, made)
        steady_ious.append(np.mean([overlap(*pair) for pair in zip(steady, wanted, strict=True)]))
        still.append([restlessness(pictures, mattes) for mattes in (made, steady, wanted)])
    found["iou clips"] = float(np.mean(list(found.values())))
    found["iou clips steadied"] = float(np.mean(steady_ious))
    photos = [squeezed(read_picture(path)) for path in face_photos(data, "val")]
    found["iou photos"] = float(np.mean([overlap(matte_of(network, photo), teacher(photo)) for photo in photos]))
    found["error clips"] = float(np.mean(errors))
    names = ("still clips", "still clips steadied", "still clips teacher")
    return found | {name: float(value) for name, value in zip(names, np.mean(still, axis=0), strict=True)}


def matte_of(network: nn.Module, picture: Pixels) -> Pixels:
    """uint8 [256, 256, 3] to uint8 [256, 256]."""
    with torch.inference_mode():
        return np.asarray((network(to_tensor([picture]))[0, 0] * 255).round().byte().numpy())


def _steadied(pictures: list[Pixels], mattes: list[Pixels]) -> list[Pixels]:
    """The mattes of a clip as a stream shows them, each held to the ones before."""
    last: tuple[Tensor, Tensor] | None = None
    steady = []
    for picture, pixels in zip(pictures, mattes, strict=True):
        small, matte = to_tensor([picture]), torch.from_numpy(pixels)[None, None] / 255
        matte = matte if last is None else steadied(matte, small, last)
        last = small, matte
        steady.append(np.asarray((matte[0, 0] * 255).round().byte().numpy()))
    return steady


def overlap(found: Pixels, wanted: Pixels) -> float:
    """Intersection over union of two mattes uint8 [H, W] at one half; 1 where both are empty."""
    a, b = found > 127, wanted > 127
    either = int((a | b).sum())
    return float((a & b).sum() / either) if either else 1.0


def restlessness(pictures: list[Pixels], mattes: list[Pixels], still: float = 6.0) -> float:
    """Mean absolute change, 0 to 255, from matte to matte where the blurred pictures change by less than `still`."""
    changes = []
    for before, after, first, second in zip(pictures, pictures[1:], mattes, mattes[1:], strict=False):
        calm = np.abs(_calmed(after) - _calmed(before)).max(-1) < still
        changes.append(np.abs(_levels(second) - _levels(first))[calm].mean() if calm.any() else 0.0)
    return float(np.mean(changes))


def preview(network: nn.Module, data: Path, path: Path) -> None:
    """A sheet of held-out pictures: as they are, cut out by the teacher, and by `network`."""
    teacher = Teacher(data / TEACHER)
    rows = []
    for picture in _shown(data):
        cut = [_cut_out(picture, matte) for matte in (teacher(picture), matte_of(network, picture))]
        rows.append([picture, *cut])
    half = len(rows) // 2
    save_sheet(
        path, [a + b for a, b in zip(rows[:half], rows[half:], strict=False)], ["picture", "teacher", "matte"] * 2
    )


def _shown(data: Path) -> Iterator[Pixels]:
    for clip in clips(data, held_out=True):
        every = list(frames(clip))
        yield squeezed(every[len(every) // 2])
    photos = face_photos(data, "val")
    for path in photos[:: max(1, len(photos) // _PHOTOS)][:_PHOTOS]:
        yield squeezed(read_picture(path))


def _cut_out(picture: Pixels, matte: Pixels) -> Pixels:
    share = matte[..., None].astype(np.float32) / 255
    return np.asarray(picture * share + _GREEN * (1 - share), np.uint8)


def _calmed(picture: Pixels) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 2), np.float32)


def _levels(matte: Pixels) -> NDArray[np.float32]:
    return matte.astype(np.float32)
