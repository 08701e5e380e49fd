"""Where a new style begins: at the built-in style, or the mix of two, whose pictures are most like the painting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from streamgen.models.tiny_unet import TinyUNet
from streamgen.training.features import Features
from streamgen.training.losses import Taps, grams, texture_distance
from streamgen.training.style.render import paint

__all__ = ["Start", "find_start"]

_MIXED = 4


@dataclass(frozen=True, slots=True)
class Start:
    """A vector to begin with.

    Args:
        names: of the one or two styles it is made of, half each.
        vector: [STYLE_WIDTH].
        distance: of its pictures to the painting, as `texture_distance` measures it.
    """

    names: tuple[str, ...]
    vector: Tensor
    distance: float


def find_start(
    network: TinyUNet, names: Sequence[str], features: Features, source: Tensor, noise: Tensor, wanted: Taps
) -> Start:
    """Try every built-in style, and the mixes of those that come nearest.

    Args:
        network: the core.
        names: of its styles.
        features: look at the pictures.
        source: [B, 3, H, W] in [-1, 1], the pictures to try them on.
        noise: [B, 3, H, W].
        wanted: the painting, [1, C, C] by tap.
    """

    def try_out(*rows: int) -> Start:
        vector = network.styles[list(rows)].mean(0)
        with torch.no_grad():
            found = grams(features(paint(network, vector, source, noise)))
        return Start(tuple(names[row] for row in rows), vector, float(texture_distance(found, wanted).mean()))

    single = [try_out(row) for row in range(len(names))]
    nearest = sorted(range(len(names)), key=lambda row: single[row].distance)[:_MIXED]
    mixed = [try_out(first, second) for first, second in combinations(nearest, 2)]
    return min(single + mixed, key=lambda start: start.distance)
