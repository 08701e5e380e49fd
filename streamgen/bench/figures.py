"""Numbers into what a reader compares: percentiles, and a report that names its hardware."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from streamgen import __version__
from streamgen.bench.hardware import hardware
from streamgen.errors import MediaError

__all__ = ["report", "spread", "write_report"]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Percentiles 50, 95 and 99, rounded to two digits after the point; all 0 when there are no values."""
    marks = np.percentile(values, (50, 95, 99)) if len(values) else (0.0, 0.0, 0.0)
    return {name: round(float(mark), 2) for name, mark in zip(("p50", "p95", "p99"), marks, strict=True)}


def report(results: Mapping[str, Any]) -> dict[str, Any]:
    """``results`` with what they were measured on, and when."""
    return {
        "streamgen": __version__,
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "hardware": hardware(),
        "results": dict(results),
    }


def write_report(results: Mapping[str, Any], path: Path) -> None:
    """Write ``report(results)`` as JSON, whole or not at all.

    Raises:
        MediaError: ``cannot_write``.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(report(results), indent=2) + "\n")
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise MediaError("cannot_write", f"cannot write {path}: {error.strerror}", field="output") from None
