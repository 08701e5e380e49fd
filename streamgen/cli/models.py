"""``streamgen models``: what can be served here, with its styles, licence and size."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamgen.config import ModelSpec, from_environment
from streamgen.errors import StreamgenError

if TYPE_CHECKING:
    from streamgen.models.user_styles import StyleFolder

__all__ = ["ModelRow", "add_arguments", "run"]


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One family as it is installed here; ``problem`` says why it cannot be served, ``takes`` what must be named."""

    name: str
    problem: str | None = None
    takes: str | None = None
    licence: str | None = None
    weights: str | None = None
    megabytes: float | None = None
    parameters: int | None = None
    styles: tuple[str, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)
    """Files of the user's styles that cannot be used, and why."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``streamgen models``."""
    parser.add_argument("--json", action="store_true", help="for programs")


def run(args: argparse.Namespace) -> int:
    """Print every family in the table."""
    from streamgen.models import MODELS

    rows = [_row(name) for name in MODELS]
    if args.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        print("\n\n".join(_paragraph(row) for row in rows))
    return 0


def _row(name: str) -> ModelRow:
    from streamgen.models import load_model

    try:
        model = load_model(ModelSpec(family=name, styles=from_environment().styles))
    except StreamgenError as error:
        if error.code == "checkpoint_missing":
            return ModelRow(name, takes="--model with a diffusers folder, a safetensors file or a hub id")
        return ModelRow(name, problem=error.message)
    parameters = sum(parameter.numel() for parameter in model.network.parameters())
    weights: Path | None = getattr(model, "default_weights", None)
    own: StyleFolder | None = getattr(model, "own", None)
    if weights is None or own is None:
        return ModelRow(name, parameters=parameters, styles=model.styles)
    return ModelRow(
        name,
        licence=_metadata(weights).get("licence"),
        weights=str(weights),
        megabytes=round(weights.stat().st_size / 1e6, 1),
        parameters=parameters,
        styles=model.styles,
        left_out={file: error.message for file, error in own.left_out.items()},
    )


def _metadata(weights: Path) -> dict[str, Any]:
    from safetensors import safe_open

    with safe_open(weights, framework="np") as archive:
        return archive.metadata() or {}


def _paragraph(row: ModelRow) -> str:
    if row.problem is not None:
        return f"{row.name}\n  cannot be served: {row.problem}"
    if row.takes is not None:
        return f"{row.name}\n  takes    {row.takes}"
    lines = [row.name]
    if row.parameters is not None:
        lines.append(f"  size     {row.parameters / 1e6:.1f} million parameters, {row.megabytes or 0:.1f} MB")
    if row.licence:
        lines.append(f"  licence  {row.licence}")
    if row.weights:
        lines.append(f"  weights  {row.weights}")
    lines.append(f"  styles   {', '.join(row.styles) or 'any text'}")
    lines += [f"  left out {file}: {reason}" for file, reason in row.left_out.items()]
    return "\n".join(lines)
