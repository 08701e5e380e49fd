"""A diffusers folder: which family can serve its pipeline, and whether all that the pipeline needs is there.

No code that comes with weights is run: a pipeline that brings its own is refused.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

from streamgen.models.checkpoint_errors import missing, not_four_channels, remote_code, unsupported
from streamgen.models.hub import fetch_file, fetch_folder
from streamgen.models.weight_files import check_weights, read_json, weights_among

__all__ = ["LEFT_OUT", "NETWORKS", "check_pipeline", "hub_pipeline", "licence_of"]

NETWORKS = {
    "sd": ("unet", "vae", "text_encoder"),
    "sdxl": ("unet", "vae", "text_encoder", "text_encoder_2"),
    "sana-sprint": ("transformer", "vae", "text_encoder"),
}
"""Parts with weights, by family."""

LEFT_OUT = ("safety_checker", "feature_extractor", "image_encoder")
"""Parts that a pipeline may name and that are never loaded."""

_FAMILIES = {
    "StableDiffusionPipeline": "sd",
    "StableDiffusionImg2ImgPipeline": "sd",
    "LatentConsistencyModelPipeline": "sd",
    "LatentConsistencyModelImg2ImgPipeline": "sd",
    "StableDiffusionXLPipeline": "sdxl",
    "StableDiffusionXLImg2ImgPipeline": "sdxl",
    "SanaSprintPipeline": "sana-sprint",
    "SanaSprintImg2ImgPipeline": "sana-sprint",
}
"""Pipelines by their whole names: StableDiffusion3Pipeline and the inpainting ones also begin with StableDiffusion."""

_HELPERS = {
    "sd": ("tokenizer", "scheduler"),
    "sdxl": ("tokenizer", "tokenizer_2", "scheduler"),
    "sana-sprint": ("tokenizer", "scheduler"),
}
_LIBRARIES = ("diffusers", "transformers")
_CARDS = ("README.md", "LICENSE")
_SMALL_FILES = (".json", ".txt", ".model")


def check_pipeline(name: str, folder: Path, *, weights: bool = True) -> str:
    """Return the family of a diffusers folder in which nothing is missing.

    Raises:
        ConfigError: ``unsupported_model``, ``remote_code``.
        WeightsError: ``weights_missing``, ``weights_corrupt``, ``weights_not_safetensors``.
    """
    if not (folder / "model_index.json").is_file():
        files = sorted(folder.glob("*.safetensors"))
        instead = f"; to serve a single file, name {files[0]}" if files else ""
        raise missing(f"{folder} is no diffusers folder: it has no model_index.json{instead}")
    family = _family_of(name, read_json(folder / "model_index.json"))
    for part in _HELPERS[family]:
        if not any(path.suffix in _SMALL_FILES for path in (folder / part).glob("*")):
            raise missing(f"{folder} has no files of its {part}")
        _check_config(name, folder / part / "tokenizer_config.json")
    for part in NETWORKS[family]:
        if not (folder / part / "config.json").is_file():
            raise missing(f"{folder} has no {part}/config.json")
        _check_config(name, folder / part / "config.json")
        if weights:
            check_weights(folder / part)
    return family


def hub_pipeline(repo: str, *, weights: bool = True) -> Path:
    """The diffusers folder of a hub id, in the local cache; without ``weights`` what else a pipeline needs.

    Raises:
        ConfigError, WeightsError: as ``check_pipeline`` and ``fetch_folder``.
    """

    def check(folder: Path) -> None:
        check_pipeline(repo, folder, weights=weights)

    return fetch_folder(repo, "model_index.json", check, partial(_pipeline_files, repo, weights=weights))


def licence_of(folder: Path) -> str | None:
    """What the model card states, in YAML between two rules at its top."""
    try:
        card = (folder / "README.md").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    front = re.match(r"\s*---[ \t]*\n(.*?)\n---", card, re.DOTALL)
    entry = r"^(license|license_name):[ \t]*(?:\n[ \t]*-[ \t]*)?['\"]?([^\s'\"]+)"
    stated: dict[str, str] = dict(re.findall(entry, front[1], re.MULTILINE)) if front else {}
    licence = stated.get("license")
    return stated.get("license_name", licence) if licence == "other" else licence


def _family_of(name: str, index: dict[str, Any]) -> str:
    """The family that can serve the pipeline of a model_index.json.

    Raises:
        ConfigError: ``remote_code``, ``unsupported_model``.
    """
    kind = index.get("_class_name")
    parts = {part: entry for part, entry in index.items() if isinstance(entry, list) and not part.startswith("_")}
    libraries = {part: entry[0] for part, entry in parts.items() if entry and entry[0] is not None}
    custom = [f"{part} from {library}" for part, library in libraries.items() if library not in _LIBRARIES]
    custom = [entry for entry in custom if entry.split()[0] not in LEFT_OUT]
    if isinstance(kind, list):
        custom.append(f"its pipeline from {kind[0]}")
    if custom:
        raise remote_code(name, custom[0])
    family = _FAMILIES.get(str(kind))
    if family is None:
        raise unsupported(f"{name} is a {kind}, and served are {', '.join(_FAMILIES)}")
    for part in (*NETWORKS[family], *_HELPERS[family]):
        if part not in libraries:
            raise unsupported(f"{name} is a {kind} without {part}, which it needs")
    return family


def _check_config(name: str, file: Path) -> None:
    config = read_json(file) if file.is_file() else {}
    if "auto_map" in config:
        raise remote_code(name, f"see {file}")
    if config.get("_class_name") == "UNet2DConditionModel" and config.get("in_channels", 4) != 4:
        raise not_four_channels(name, config["in_channels"])


def _pipeline_files(repo: str, files: list[str], *, weights: bool) -> list[str]:
    """Which files of a repository a pipeline is loaded from. Where the weights are also there in half precision, those:
    they are half the download, and few-step models run in it anyway."""
    if "model_index.json" not in files:
        raise unsupported(f"{repo} on the hub is no diffusers pipeline: it has no model_index.json")
    # Read before the rest is fetched, which is gigabytes.
    index = read_json(fetch_file(repo, "model_index.json"))
    family = _family_of(repo, index)
    chosen = [file for file in files if file == "model_index.json" or file.startswith(_CARDS)]
    for part in (*_HELPERS[family], *NETWORKS[family]):
        names = [file.removeprefix(f"{part}/") for file in files if file.startswith(f"{part}/")]
        kept = [name for name in names if name.endswith(_SMALL_FILES)]
        if weights and part in NETWORKS[family]:
            variants = weights_among(f"{repo}/{part}", names)
            kept += variants.get("fp16") or variants.get("") or []
        chosen += [f"{part}/{name}" for name in kept]
    return chosen
