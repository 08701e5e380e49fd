"""The one contact sheet for the documentation: every style, on pictures that anyone may show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np

from streamgen.errors import ConfigError, MediaError
from streamgen.models.tiny_weights import load_network
from streamgen.training.core.sampling import render
from streamgen.training.data import Pixels, centre_crop, to_pixels, to_tensor
from streamgen.training.report.sheets import encoded, grid

__all__ = ["save_showpiece"]

_SIDE = 224
_COLUMNS = 4
_LETTERS = 26
_MOST_BYTES = 600_000


def save_showpiece(weights: Path, path: Path) -> None:
    """Write a JPEG of at most 600 kB: each style on a face, which is always the same, and on one other picture.

    Raises:
        ConfigError: ``missing_package`` without scikit-image, whose pictures are in the public domain or CC0.
        WeightsError: when the weights cannot be read.
        MediaError: ``cannot_write``.
    """
    network, names = load_network(weights)
    face, *others = _pictures()
    cells = []
    for row, name in enumerate(names):
        source = to_tensor([face, others[row % len(others)]])
        cells.append((name, _beside(*to_pixels(render(network, row, source)))))
    data = encoded(grid(cells, _COLUMNS, _LETTERS), _MOST_BYTES)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise MediaError("cannot_write", f"cannot write {path}: {error.strerror}", field="sheet") from None


def _pictures() -> Iterator[Pixels]:
    """uint8 [224, 224, 3]: the astronaut's face, then the others."""
    try:
        from skimage import data
    except ModuleNotFoundError:
        raise ConfigError(
            "missing_package", "the sheet shows pictures of the package scikit-image: pip install scikit-image"
        ) from None
    yield centre_crop(_picture(data, "astronaut")[0:300, 75:375], _SIDE)
    for name in ("chelsea", "coffee", "rocket"):
        yield centre_crop(_picture(data, name), _SIDE)


def _picture(data: ModuleType, name: str) -> Pixels:
    return np.asarray(getattr(data, name)(), np.uint8)


def _beside(*pictures: Pixels) -> Pixels:
    return np.concatenate(pictures, axis=1)
