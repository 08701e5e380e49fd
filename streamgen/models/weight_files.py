"""Safetensors and the configurations beside them, looked through before diffusers sees them.

diffusers reports many a missing or truncated file as another one that it also could not find. Here what is missing, cut
short or pickled is named. Only headers are read, no tensors.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from streamgen.models.checkpoint_errors import corrupt, missing, not_safetensors, reason

__all__ = ["PICKLES", "check_weights", "read_header", "read_json", "weights_among"]

PICKLES = (".bin", ".ckpt", ".pt", ".pth")

_WEIGHTS = re.compile(r"(?:diffusion_pytorch_model|model)(?:\.fp16)?(?:-\d+-of-(\d+))?(?:\.fp16)?\.safetensors")
_LARGEST_HEADER = 100_000_000


def check_weights(folder: Path) -> None:
    """Raise unless ``folder`` has a network's weights as whole safetensors.

    Raises:
        WeightsError: ``weights_missing``, ``weights_corrupt``, ``weights_not_safetensors``.
    """
    variants = weights_among(str(folder), (path.name for path in folder.glob("*")))
    if not variants:
        raise missing(f"{folder} has no safetensors weights")
    for files in variants.values():
        match = _WEIGHTS.fullmatch(files[0])
        total = int(match[1]) if match and match[1] else 1
        if len(files) != total:
            raise missing(f"{folder} has {len(files)} of the {total} files of its weights")
        for file in files:
            read_header(folder / file)


def weights_among(place: str, names: Iterable[str]) -> dict[str, list[str]]:
    """A network's safetensors by variant, ``""`` and ``fp16``.

    Raises:
        WeightsError: ``weights_not_safetensors`` when there are pickles and no safetensors.
    """
    names = sorted(names)
    variants: dict[str, list[str]] = {}
    for name in names:
        if _WEIGHTS.fullmatch(name):
            variants.setdefault("fp16" if ".fp16" in name else "", []).append(name)
    pickles = [name for name in names if name.endswith(PICKLES)]
    if pickles and not variants:
        raise not_safetensors(place, pickles[0])
    return variants


def read_json(file: Path) -> dict[str, Any]:
    """The object that a JSON file holds.

    Raises:
        WeightsError: ``weights_missing``, ``weights_corrupt``.
    """
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise missing(f"there is no {file}") from None
    except (OSError, ValueError) as error:
        raise corrupt(f"{file} cannot be read: {reason(error)}") from error
    if not isinstance(value, dict):
        raise corrupt(f"{file} must hold an object")
    return value


def read_header(file: Path) -> dict[str, Any]:
    """Names, shapes and metadata of a safetensors file, without its tensors.

    Raises:
        WeightsError: ``weights_missing``, ``weights_corrupt`` when it is cut short.
    """
    start = b""
    try:
        with file.open("rb") as opened:
            start = opened.read(8)
            header: dict[str, Any] = json.loads(opened.read(min(int.from_bytes(start, "little"), _LARGEST_HEADER)))
            held = file.stat().st_size - opened.tell()
        needed = max((entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"), default=0)
    except FileNotFoundError:
        raise missing(f"there is no file {file}") from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        if start == b"version ":
            raise missing(f"{file} is a pointer of Git LFS and no weights: run git lfs pull") from None
        raise corrupt(f"{file} is no whole safetensors file") from error
    if held != needed:
        message = f"{file} is cut short or damaged: it has {held} bytes of tensors, and its header says {needed}"
        raise corrupt(message)
    return header
