"""How a few-step diffusion model is found and loaded: a diffusers folder, a single safetensors file or a hub id.

A checkpoint is looked through before diffusers sees it, because diffusers reports many a missing or truncated file as
another one that it also could not find. Only safetensors are read, and no code that comes with weights is run.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamgen.errors import ConfigError
from streamgen.models.checkpoint_errors import corrupt, not_safetensors, reason
from streamgen.models.hub import is_hub_id
from streamgen.models.pipeline_folder import LEFT_OUT, NETWORKS, check_pipeline, hub_pipeline, licence_of
from streamgen.models.single_file import SINGLE_FILES, find_configuration, identify_file
from streamgen.models.vae_choice import choose_vae
from streamgen.models.weight_files import PICKLES, read_json, weights_among

if TYPE_CHECKING:
    import torch

__all__ = ["Checkpoint", "find_checkpoint", "load_pipeline"]

_LOG = logging.getLogger(__name__)

_FORMS = "a diffusers folder, a .safetensors file or a hub id such as stabilityai/sd-turbo"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where the weights of one model lie, and whose kind they are.

    Args:
        name: as the operator named it.
        family: a name in ``streamgen.models.MODELS``.
        path: a diffusers folder, or a single safetensors file.
        licence: of the weights, as their model card or their metadata state it; None when they do not.
    """

    name: str
    family: str
    path: Path
    licence: str | None


def find_checkpoint(name: str) -> Checkpoint:
    """Find what ``name`` means: a folder, a safetensors file, or a hub id in the local cache or else on the hub.

    Only a hub id that is not in the cache needs the network; its download shows its progress on stderr.

    Raises:
        ConfigError: ``unknown_model``, ``unsupported_model``, ``remote_code``, ``missing_package``.
        WeightsError: ``weights_missing``, ``weights_corrupt``, ``weights_not_safetensors``, ``weights_unreachable``,
            ``weights_gated``.
    """
    _require_packages()
    path = Path(os.path.expanduser(name))
    if name and os.path.isdir(path):  # Path.is_dir raises for a name that is too long
        return _folder_checkpoint(name, path)
    if path.suffix == ".safetensors":
        family, licence = identify_file(name, path)
        return Checkpoint(name, family, path, licence)
    if path.suffix in PICKLES:
        raise not_safetensors(path.parent, path.name, "StableDiffusionPipeline", "from_single_file")
    if not is_hub_id(name):
        raise ConfigError("unknown_model", f"model must be tiny, {_FORMS}, got {name!r}", field="model")
    return _folder_checkpoint(name, hub_pipeline(name))


def load_pipeline(checkpoint: Checkpoint, dtype: torch.dtype, vae: str = "auto") -> Any:
    """Load the DiffusionPipeline, on the CPU, in evaluation mode, without gradients.

    Args:
        checkpoint: from ``find_checkpoint``.
        dtype: of all its networks.
        vae: ``auto`` for the small autoencoder of the family where it is at hand or can be fetched, and else the
            checkpoint's own; ``full`` for the checkpoint's own; else the folder or hub id of another.

    Raises:
        ConfigError: ``unknown_vae``, ``unsupported_vae``, ``unsupported_model``, ``missing_package``.
        WeightsError: as ``find_checkpoint``.
    """
    _require_packages()
    name, family, path = checkpoint.name, checkpoint.family, checkpoint.path
    # Whatever may ask the hub comes before the library is silenced, so that downloads show their progress.
    vae_folder = choose_vae(vae, name=name, family=family, path=path)
    configuration = path if path.is_dir() else find_configuration(name, family, path)
    with _quiet():
        given = {} if vae_folder is None else {"vae": _read_vae(vae_folder, dtype)}
        pipe = _read_pipeline(checkpoint, configuration, dtype, given)
    for part in pipe.components.values():
        if hasattr(part, "requires_grad_"):
            part.eval().requires_grad_(False)
    pipe.set_progress_bar_config(disable=True)
    overflows = family == "sdxl" and str(dtype) == "torch.float16"
    if overflows and pipe.components["vae"].config.get("force_upcast"):
        _LOG.warning("%s: its VAE overflows in float16; give --vae madebyollin/sdxl-vae-fp16-fix", name)
    return pipe


def _require_packages() -> None:
    for package in ("diffusers", "transformers", "huggingface_hub"):
        if find_spec(package) is None:
            raise ConfigError(
                "missing_package",
                f"diffusion models need the package {package}, which is not installed: pip install '.[diffusers]'",
                field="model",
            )


def _folder_checkpoint(name: str, folder: Path) -> Checkpoint:
    family = check_pipeline(name, folder)
    return Checkpoint(name, family, folder, licence_of(folder))


def _read_pipeline(checkpoint: Checkpoint, configuration: Path, dtype: torch.dtype, given: dict[str, Any]) -> Any:
    path, family = checkpoint.path, checkpoint.family
    index = read_json(configuration / "model_index.json")
    options = {"dtype": dtype, "local_files_only": True} | {part: None for part in LEFT_OUT if part in index} | given
    with _loading(path):
        import diffusers

        if path.is_file():
            kind = getattr(diffusers, SINGLE_FILES[family])
            return kind.from_single_file(str(path), config=str(configuration), **options)
        variant = _variant([path / part for part in NETWORKS[family]], dtype)
        load: Any = diffusers.DiffusionPipeline.from_pretrained
        return load(str(path), use_safetensors=True, variant=variant, **options)


def _read_vae(folder: Path, dtype: torch.dtype) -> Any:
    with _loading(folder):
        import diffusers

        kind = getattr(diffusers, read_json(folder / "config.json")["_class_name"])
        variant = _variant([folder], dtype)
        options = {"dtype": dtype, "use_safetensors": True, "local_files_only": True, "variant": variant}
        return kind.from_pretrained(str(folder), **options)


def _variant(folders: list[Path], dtype: torch.dtype) -> str | None:
    """``fp16`` when some network is there in half precision alone, or when that is what is wanted."""
    found = [set(weights_among(str(folder), (path.name for path in folder.glob("*")))) for folder in folders]
    wanted = str(dtype) == "torch.float16" and any("fp16" in variants for variants in found)
    return "fp16" if wanted or {"fp16"} in found else None


@contextmanager
def _loading(path: Path) -> Iterator[None]:
    """Give what the libraries raise over unusable weights a name; they raise many things."""
    from diffusers.loaders.single_file_utils import SingleFileComponentError
    from safetensors import SafetensorError

    unusable = (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError)
    try:
        yield
    except ImportError as error:
        raise ConfigError("missing_package", f"{path} needs a package: {reason(error)}", field="model") from error
    except (*unusable, SafetensorError, SingleFileComponentError) as error:
        raise corrupt(f"{path} cannot be loaded: {reason(error)}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what diffusers and transformers print and warn of while they are imported and load."""
    transformers_logging: Any = import_module("transformers.utils.logging")
    transformers_level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        diffusers_logging: Any = import_module("diffusers.utils.logging")
        libraries = (transformers_logging, diffusers_logging)
        levels = (transformers_level, diffusers_logging.get_verbosity())
        shown = [library.is_progress_bar_enabled() for library in libraries]
        for library in libraries:
            library.set_verbosity_error()
            library.disable_progress_bar()
        try:
            yield
        finally:
            for library, level, bar in zip(libraries, levels, shown, strict=True):
                library.set_verbosity(level)
                if bar:
                    library.enable_progress_bar()
