"""Pictures and clips to judge by: faces, hands, rooms and landscapes that the core has not learned from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from streamgen.errors import ConfigError
from streamgen.media import MediaSource, Picture
from streamgen.training.data import SIZE, Photos, Pixels, centre_crop, read_picture

__all__ = ["CLIPS", "View", "held_out_clips", "held_out_views", "middle_frames", "read_frames"]

_SIDE = SIZE

CLIPS = ("asl_want.mkv", "asl_book.mkv", "prev_head-pose-face-detection-male.mp4")
"""Clips to judge steadiness by: hands that move fast, hands that move slowly, a head."""

_SPREAD = (
    ("face", "coral_grace_hopper.webp", None),
    ("hands", "asl_want.mkv", 0.33),
    ("room", "prev_classroom.mp4", 0.5),
    ("landscape", "c101_pyramid_0005.webp", None),
    ("faces", "coral_face.webp", None),
    ("beach", "coral_kite_and_cold.webp", None),
    ("face indoors", "face_0418.webp", None),
    ("hands, stripes", "asl_night.mkv", 0.5),
    ("sea", "c101_schooner_0059.webp", None),
    ("parrot", "coral_parrot.webp", None),
    ("face in the dark", "face_0412.webp", None),
    ("cat", "coral_cat_1080p.webp", None),
)
"""What it shows, a photo of split val or a clip, and where in the clip, 0 to 1. What matters most comes first."""


@dataclass(frozen=True, slots=True)
class View:
    """One picture to judge by.

    Args:
        kind: what it shows, in a word or two.
        name: its file.
        pixels: uint8 [256, 256, 3].
    """

    kind: str
    name: str
    pixels: Pixels


def held_out_views(data: Path, count: int) -> list[View]:
    """The first ``count`` of a fixed spread; where the data folder lacks some, other photos of split val instead.

    Raises:
        ConfigError: ``data_missing`` when there are no photos of split val at all.
        MediaError: when a clip is there and cannot be read.
    """
    photos = {file.name: file for file in Photos(data, "val").files}
    views = []
    for kind, name, at in _SPREAD:
        clip = data / "clips" / name
        if at is not None and clip.is_file():
            frames = read_frames(clip)
            views.append(View(kind, name, centre_crop(frames[int(at * (len(frames) - 1))], _SIDE)))
        elif name in photos:
            views.append(View(kind, name, centre_crop(read_picture(photos[name]), _SIDE)))
        if len(views) == count:
            return views
    others = [name for name in photos if name not in {view.name for view in views}]
    chosen = others[:: max(1, len(others) // (count - len(views)))][: count - len(views)]
    return views + [View("photo", name, centre_crop(read_picture(photos[name]), _SIDE)) for name in chosen]


def held_out_clips(data: Path, count: int) -> list[Path]:
    """The first ``count`` of ``CLIPS``. Raises `ConfigError`: ``data_missing`` when none is there."""
    found = [path for name in CLIPS if (path := data / "clips" / name).is_file()]
    if not found:
        raise ConfigError("data_missing", f"none of {', '.join(CLIPS)} in {data / 'clips'}", field="data")
    return found[:count]


def middle_frames(clip: Path, count: int) -> list[Pixels]:
    """Up to ``count`` successive frames from the middle of a clip, uint8 [256, 256, 3] each."""
    frames = read_frames(clip)
    start = max(0, (len(frames) - count) // 2)
    return [centre_crop(frame, _SIDE) for frame in frames[start : start + count]]


def read_frames(clip: Path) -> list[Pixels]:
    """Every frame, uint8 [H, W, 3]. Raises `MediaError` when it cannot be read."""
    with MediaSource(clip) as source:
        return [item.pixels for item in source.items() if isinstance(item, Picture)]
