"""The int8 variant of the embedded model: an OpenVINO graph beside the weights, and a note of which weights it is of.

The graph says nothing of where it comes from, and its own file cannot be read without OpenVINO. So the note is a file
of its own: `NAME.int8.json` beside `NAME.int8.xml` and `.bin`, for `NAME.safetensors`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

from streamgen.models.tiny_unet import TinyUNet
from streamgen.models.user_styles import core_identity

__all__ = ["find_graph", "graph_file", "write_graph"]

_LOG = logging.getLogger(__name__)


def graph_file(weights: Path) -> Path:
    """Where the graph of a weights file lies; its numbers are beside it, in `.bin`."""
    return weights.with_suffix(".int8.xml")


def find_graph(weights: Path, network: TinyUNet) -> Path | None:
    """The graph beside a weights file if it was made of this network, which the file holds; else None.

    A graph of other weights is logged and not used: it would paint as they do.
    """
    graph = graph_file(weights)
    if not graph.is_file():
        return None
    if _noted(graph) == core_identity(network):
        return graph
    _LOG.warning("%s is not of these weights and is left out: streamgen train int8 makes it anew", graph)
    return None


def write_graph(weights: Path, network: TinyUNet, save: Callable[[Path], object]) -> Path:
    """Have ``save`` write the graph of a network beside its weights, note whose it is, and return where it lies.

    Raises `OSError` when that cannot be done.
    """
    graph = graph_file(weights)
    note = graph.with_suffix(".json")
    note.unlink(missing_ok=True)  # a graph that is cut short is nobody's
    save(graph)
    partial = note.with_suffix(".partial")
    partial.write_text(json.dumps({"core": core_identity(network)}) + "\n", encoding="utf-8")
    partial.replace(note)
    return graph


def _noted(graph: Path) -> str | None:
    """The identity of the core that a graph was made of, if that is known."""
    try:
        note = json.loads(graph.with_suffix(".json").read_text(encoding="utf-8"))
        return str(note["core"])
    except (OSError, ValueError, LookupError, TypeError):
        return None
