"""The weights files of the embedded models: safetensors that say in their metadata what they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from streamgen.errors import WeightsError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Arrays", "halved", "read_weights", "write_weights"]

Arrays = Mapping[str, NDArray[np.generic]]
Read = TypeVar("Read")


def read_weights(
    path: Path,
    kind: tuple[str, str],
    build: Callable[[dict[str, Any], dict[str, str]], Read],
    framework: Literal["pt", "np"] = "pt",
) -> Read:
    """Make something of a file written by `write_weights`.

    Args:
        path: of the file.
        kind: its format and version.
        build: takes the tensors and the metadata. What it raises of them says that the file is another one.
        framework: whose tensors they are.

    Raises:
        WeightsError: `weights_missing` when there is no such file, `weights_corrupt` when it cannot be read or is of
            another kind.
    """
    if not path.is_file():
        raise WeightsError("weights_missing", f"no weights file at {path}", field="weights")
    try:
        with safe_open(path, framework=framework) as archive:
            metadata = archive.metadata() or {}
            tensors = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118 (not a dict)
        if (metadata.get("format"), metadata.get("version")) != kind:
            raise ValueError(f"format is {metadata.get('format')!r} version {metadata.get('version')!r}")
        return build(tensors, metadata)
    except (SafetensorError, OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(
            "weights_corrupt", f"{path} is no {kind[0]} weights file: {reason}", field="weights"
        ) from error


def write_weights(tensors: Arrays, path: Path, kind: tuple[str, str], **more: str) -> None:
    """Write tensors, atomically, with their format and version and more metadata.

    Raises `OSError` when that cannot be done.
    """
    metadata = {"format": kind[0], "version": kind[1], "licence": "Apache-2.0", **more}
    partial = path.with_suffix(".partial")
    save_file({name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}, partial, metadata=metadata)
    partial.chmod(0o644)  # the library writes a file that its owner alone can read
    partial.replace(path)


def halved(network: nn.Module) -> Arrays:
    """The state of a network as it is shipped: numbers with a point in float16."""
    return {
        name: (value.half() if value.is_floating_point() else value).detach().cpu().numpy()
        for name, value in network.state_dict().items()
    }
