"""Who is examined, and by whom: the core, the teachers of its styles, and a judge that neither has learned from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from streamgen.errors import ConfigError
from streamgen.models.tiny_unet import TinyUNet
from streamgen.models.tiny_weights import load_network
from streamgen.training.core.recipe import STYLES, Style
from streamgen.training.core.sampling import render
from streamgen.training.core.scores import Judge, mean
from streamgen.training.core.teachers import Teachers
from streamgen.training.data import Pixels, to_pixels, to_tensor
from streamgen.training.features import JudgeFeatures

__all__ = ["JUDGE", "Exam", "find_painters", "means"]

JUDGE = Path("features", "vgg16_hed_to_conv4_1_fp16.npz")
"""Where the data folder keeps the features to judge by."""

_BATCH = 4


@dataclass(frozen=True, slots=True)
class Exam:
    """One core with its teachers and its judge.

    Args:
        network: the core, in float32.
        names: its styles, in the order of its table.
        teachers: of the styles.
        judge: looks at pictures.
    """

    network: TinyUNet
    names: Sequence[str]
    teachers: Teachers
    judge: Judge

    @classmethod
    def open(cls, data: Path, weights: Path, painters: Path) -> Exam:
        """Read the weights, the teachers and the judge.

        Args:
            data: folder with `teachers/` and `features/`.
            weights: of the core.
            painters: file of the teachers taught by paintings; may be missing.

        Raises:
            ConfigError: ``data_missing``.
            WeightsError: ``weights_missing``, ``weights_corrupt``.
        """
        network, names = load_network(weights)
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        try:
            return cls(network, names, Teachers(data, painters), JudgeFeatures(data / JUDGE))
        except FileNotFoundError as error:
            raise ConfigError("data_missing", f"no {error.filename}", field="data") from error

    @property
    def styles(self) -> Iterator[tuple[int, Style]]:
        """The styles that the recipe knows, with their rows in the table."""
        known = {style.name: style for style in STYLES}
        return ((row, known[name]) for row, name in enumerate(self.names) if name in known)

    def taught(self, photos: Sequence[Pixels], style: Style) -> list[Pixels] | None:
        """The teacher's pictures, uint8 [H, W, 3] each; None when it is not at hand."""
        if not self.teachers.known(style):
            return None
        return [self.teachers.picture(photo, style) for photo in photos]

    def painted(self, photos: Sequence[Pixels], row: int) -> list[Pixels]:
        """The core's pictures of frames of one session, in one step, uint8 [H, W, 3] each."""
        made: list[Pixels] = []
        for start in range(0, len(photos), _BATCH):
            made += list(to_pixels(render(self.network, row, to_tensor(list(photos[start : start + _BATCH])))))
        return made


def find_painters(data: Path, weights: Path) -> Path:
    """`painters.safetensors` beside the weights, or else where the data folder may have it; it may be missing."""
    beside = weights.with_name("painters.safetensors")
    return beside if beside.is_file() else data / "teachers" / "painters.safetensors"


def means(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Of every number, over the rows that have it."""
    found: dict[str, float] = {}
    for key in rows[0] if rows else ():
        values = [row[key] for row in rows if isinstance(row[key], float)]
        if values:
            found[key] = mean(values)
    return found
