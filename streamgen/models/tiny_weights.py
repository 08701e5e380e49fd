"""The weights file of the embedded model: float16 safetensors with the style names in the metadata."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from streamgen.models.embedded_weights import halved, read_weights, write_weights
from streamgen.models.tiny_unet import TinyUNet

__all__ = ["load_network", "save_network"]

_KIND = ("streamgen.tiny", "2")


def load_network(path: Path) -> tuple[TinyUNet, list[str]]:
    """Read a weights file made by `save_network`.

    Returns:
        The network in float32, for inference, and the style names in the order of its `styles` rows.

    Raises:
        WeightsError: `weights_missing` when there is no such file, `weights_corrupt` when it is not a safetensors
            file of this network.
    """
    return read_weights(path, _KIND, _network)


def save_network(network: TinyUNet, names: Sequence[str], path: Path) -> None:
    """Write the network in float16 with its style names, atomically. Raises `OSError` when that cannot be done."""
    write_weights(halved(network), path, _KIND, styles=json.dumps(list(names)))


def _network(tensors: dict[str, Any], metadata: dict[str, str]) -> tuple[TinyUNet, list[str]]:
    names = [str(name) for name in json.loads(metadata["styles"])]
    network = TinyUNet(styles=len(names))
    network.load_state_dict(tensors)
    return network.eval().requires_grad_(False), names
