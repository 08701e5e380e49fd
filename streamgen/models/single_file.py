"""A model in a single safetensors file, known by the names of its tensors.

Such a file holds weights alone. What else a pipeline needs (configurations, tokenizers, scheduler) is taken from the
folder of the same stem beside it, ``foo/`` for ``foo.safetensors``: a diffusers folder whose weights may be left out.
Without one it is taken from a model of the same architecture on the hub, see ``_CONFIGURATIONS``.
"""

from __future__ import annotations

import logging
from pathlib import Path

from streamgen.errors import WeightsError
from streamgen.models.checkpoint_errors import not_four_channels, unsupported
from streamgen.models.pipeline_folder import check_pipeline, hub_pipeline
from streamgen.models.weight_files import read_header

__all__ = ["SINGLE_FILES", "find_configuration", "identify_file"]

_LOG = logging.getLogger(__name__)

SINGLE_FILES = {"sd": "StableDiffusionPipeline", "sdxl": "StableDiffusionXLPipeline"}
"""The pipeline that reads a single file, by family."""

_LAYOUTS = (
    ("edm_mean", "", "Playground 2.5"),
    ("conditioner.embedders.1.", "sdxl", ""),
    ("conditioner.embedders.0.", "", "the refiner of Stable Diffusion XL"),
    ("cond_stage_model.", "sd", ""),
    ("lora_", "", "a LoRA, which is added to a model"),
    ("model.diffusion_model.", "", "a network of another family, or one without its text encoder and VAE"),
    ("down_blocks.", "", "one network and no whole model"),
)
"""What a tensor's name tells, first match: part of it, family, and what the file is when it cannot be served."""
_FIRST_LAYER = "model.diffusion_model.input_blocks.0.0.weight"
_CROSS_ATTENTION = "model.diffusion_model.input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight"
_CONFIGURATIONS = {
    768: "stable-diffusion-v1-5/stable-diffusion-v1-5",
    1024: "stabilityai/sd-turbo",
    "sdxl": "stabilityai/sdxl-turbo",
}
"""A model of the same architecture: Stable Diffusion by the width of its text embedding, SDXL."""


def identify_file(name: str, file: Path) -> tuple[str, str | None]:
    """Family and stated licence of a whole checkpoint, read off its header.

    Raises:
        ConfigError: ``unsupported_model``.
        WeightsError: ``weights_missing``, ``weights_corrupt``.
    """
    header = read_header(file)
    channels = header.get(_FIRST_LAYER, {}).get("shape", [0, 4])[1]
    if channels != 4:
        raise not_four_channels(name, channels)
    family, meaning = next(
        (found for prefix, *found in _LAYOUTS if any(prefix in key for key in header)), ["", "of no known layout"]
    )
    if not family:
        raise unsupported(f"{name} is {meaning}, and served are whole Stable Diffusion 1, 2 and XL checkpoints")
    licence = header.get("__metadata__", {}).get("modelspec.license")
    return family, licence or None


def find_configuration(name: str, family: str, file: Path) -> Path:
    """The diffusers folder that says how the networks of a single file are built.

    Raises:
        ConfigError: ``unsupported_model`` when it is of another family.
        WeightsError: ``weights_missing``, ``weights_unreachable``, ``weights_gated``, naming what to do.
    """
    header = read_header(file)
    folder = file.with_suffix("")
    origin = str(folder)
    if not (folder / "model_index.json").is_file():
        width = header.get(_CROSS_ATTENTION, {"shape": [768]})["shape"][-1]
        origin = _CONFIGURATIONS.get(width if family == "sd" else "sdxl", _CONFIGURATIONS[768])
        command = f"hf download {origin} --include '*.json' '*.txt' --local-dir {folder}"
        try:
            folder = hub_pipeline(origin, weights=False)
        except WeightsError as error:
            message = f"{name} needs a configuration beside it: {command} ({error.message})"
            raise WeightsError(error.code, message, field="model", retryable=error.retryable) from error
    found = check_pipeline(origin, folder, weights=False)
    if found != family:
        message = f"{name} is a model of {family} and its configuration {origin} of {found}"
        raise unsupported(message)
    _LOG.info("%s: tokenizer, scheduler and configuration from %s", name, origin)
    return folder
