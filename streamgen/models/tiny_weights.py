"""The weights file of the embedded model: float16 safetensors with the style names in the metadata."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from streamgen.errors import WeightsError
from streamgen.models.tiny_unet import TinyUNet

__all__ = ["load_network", "quantised_graph", "save_network"]

_FORMAT = "streamgen.tiny"
_VERSION = "2"


def load_network(path: Path) -> tuple[TinyUNet, list[str]]:
    """Read a weights file made by `save_network`.

    Returns:
        The network in float32, for inference, and the style names in the order of its `styles` rows.

    Raises:
        WeightsError: `weights_missing` when there is no such file, `weights_corrupt` when it is not a safetensors
            file of this network.
    """
    if not path.is_file():
        raise WeightsError("weights_missing", f"no weights file at {path}", field="weights")
    try:
        with safe_open(path, framework="pt") as archive:
            metadata = archive.metadata() or {}
            tensors = {name: archive.get_tensor(name).float() for name in archive.keys()}  # noqa: SIM118 (not a dict)
        if (metadata.get("format"), metadata.get("version")) != (_FORMAT, _VERSION):
            raise ValueError(f"format is {metadata.get('format')!r} version {metadata.get('version')!r}")
        names = [str(name) for name in json.loads(metadata["styles"])]
        network = TinyUNet(styles=len(names))
        network.load_state_dict(tensors)
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(
            "weights_corrupt", f"{path} is no {_FORMAT} weights file: {reason}", field="weights"
        ) from error
    return network.eval().requires_grad_(False), names


def save_network(network: TinyUNet, names: Sequence[str], path: Path) -> None:
    """Write the network in float16 with its style names, atomically. Raises `OSError` when that cannot be done."""
    tensors = {name: value.detach().half().contiguous() for name, value in network.state_dict().items()}
    metadata = {"format": _FORMAT, "version": _VERSION, "licence": "Apache-2.0", "styles": json.dumps(list(names))}
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata=metadata)
    partial.chmod(0o644)  # the library writes a file that its owner alone can read
    partial.replace(path)


def quantised_graph(weights: Path) -> Path:
    """Where the int8 variant of a weights file lies: an OpenVINO graph beside it, with its weights in `.bin`."""
    return weights.with_suffix(".int8.xml")
