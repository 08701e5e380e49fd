"""What is computed: the table of model families, and how one is loaded."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from streamgen.errors import ConfigError

if TYPE_CHECKING:
    from streamgen.config import ModelSpec
    from streamgen.models.base import Model

__all__ = ["MODELS", "load_model"]

MODELS: dict[str, str] = {
    "tiny": "streamgen.models.tiny:TinyModel",
}
"""Family name to ``module:class``. The module is imported when the family is loaded."""


def load_model(spec: ModelSpec) -> Model:
    """Load the model that ``spec`` names, onto ``spec.device``.

    Raises:
        ConfigError: ``unknown_model`` when the family is not in the table.
        WeightsError: ``weights_missing`` or ``weights_corrupt``.
    """
    if spec.family not in MODELS:
        raise ConfigError("unknown_model", f"model must be one of {sorted(MODELS)}, got {spec.family!r}", field="model")
    module, _, name = MODELS[spec.family].partition(":")
    family: type[Model] = getattr(import_module(module), name)
    return family.load(spec)
