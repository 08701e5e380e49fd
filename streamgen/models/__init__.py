"""What is computed: the table of model families, and how one is loaded."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamgen.config import ModelSpec
    from streamgen.models.base import Model

__all__ = ["MODELS", "load_model"]

MODELS: dict[str, str] = {
    "tiny": "streamgen.models.tiny:TinyModel",
    "sd": "streamgen.models.stable_diffusion:StableDiffusion",
    "sdxl": "streamgen.models.stable_diffusion_xl:StableDiffusionXL",
    "sana-sprint": "streamgen.models.sana_sprint:SanaSprint",
}
"""Family name to ``module:class``. The module is imported when the family is loaded."""


def load_model(spec: ModelSpec) -> Model:
    """Load the model that ``spec`` names, onto ``spec.device``.

    Raises:
        ConfigError: ``unknown_model`` when it is no family, folder, file or hub id; ``unsupported_model``,
            ``missing_package`` and others when it is one that cannot be served.
        WeightsError: ``weights_missing``, ``weights_corrupt`` and others, naming what would help.
    """
    model: Model
    if spec.family in MODELS:
        model = _family(spec.family).load(spec)
        return model
    from streamgen.models.checkpoint import find_checkpoint

    checkpoint = find_checkpoint(spec.family)
    model = _family(checkpoint.family).load_checkpoint(spec, checkpoint)
    return model


def _family(name: str) -> type[Any]:
    module, _, attribute = MODELS[name].partition(":")
    family: type[Any] = getattr(import_module(module), attribute)
    return family
