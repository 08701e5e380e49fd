"""How a few-step diffusion model is found and loaded: a diffusers folder, a single safetensors file or a hub id.

A checkpoint is looked through before diffusers sees it, because diffusers reports many a missing or truncated file as
another one that it also could not find. Only safetensors are read, and no code that comes with weights is run.

A single file holds weights alone. What else a pipeline needs (configurations, tokenizers, scheduler) is taken from the
folder of the same stem beside it, ``foo/`` for ``foo.safetensors``: a diffusers folder whose weights may be left out.
Without one it is taken from a model of the same architecture on the hub, see ``_CONFIGURATIONS``.
"""

from __future__ import annotations

import json
import logging
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamgen.errors import ConfigError, WeightsError

if TYPE_CHECKING:
    import torch
    from diffusers import DiffusionPipeline

__all__ = ["Checkpoint", "find_checkpoint", "load_pipeline"]

_LOG = logging.getLogger(__name__)

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

_NETWORKS = {
    "sd": ("unet", "vae", "text_encoder"),
    "sdxl": ("unet", "vae", "text_encoder", "text_encoder_2"),
    "sana-sprint": ("transformer", "vae", "text_encoder"),
}
_HELPERS = {
    "sd": ("tokenizer", "scheduler"),
    "sdxl": ("tokenizer", "tokenizer_2", "scheduler"),
    "sana-sprint": ("tokenizer", "scheduler"),
}
_LIBRARIES = ("diffusers", "transformers")
_LEFT_OUT = ("safety_checker", "feature_extractor", "image_encoder")
_VAES = {
    "sd": ("AutoencoderTiny", "AutoencoderKL"),
    "sdxl": ("AutoencoderTiny", "AutoencoderKL"),
    "sana-sprint": ("AutoencoderDC",),
}
_TINY_VAES = {"sd": "madebyollin/taesd", "sdxl": "madebyollin/taesdxl"}

_SINGLE_FILES = {"sd": "StableDiffusionPipeline", "sdxl": "StableDiffusionXLPipeline"}
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

_HUB_ID = re.compile(r"(?!.*(?:--|\.\.))\w[\w.-]{0,95}/\w(?:[\w.-]{0,94}\w)?", re.ASCII)
_WEIGHTS = re.compile(r"(?:diffusion_pytorch_model|model)(?:\.fp16)?(?:-\d+-of-(\d+))?(?:\.fp16)?\.safetensors")
_PICKLES = (".bin", ".ckpt", ".pt", ".pth")
_CARDS = ("README.md", "LICENSE")
_SMALL_FILES = (".json", ".txt", ".model")
_FORMS = "a diffusers folder, a .safetensors file or a hub id such as stabilityai/sd-turbo"

# Left to itself huggingface_hub waits without end for the list of a repository's files.
_ANSWER_S = 4.0
_LARGEST_HEADER = 100_000_000


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
        return _file_checkpoint(name, path)
    if path.suffix in _PICKLES:
        raise _not_safetensors(path.parent, path.name, "StableDiffusionPipeline", "from_single_file")
    if not _HUB_ID.fullmatch(name):
        raise ConfigError("unknown_model", f"model must be tiny, {_FORMS}, got {name!r}", field="model")
    return _folder_checkpoint(name, _hub_pipeline(name))


def load_pipeline(checkpoint: Checkpoint, dtype: torch.dtype, vae: str = "auto") -> DiffusionPipeline:
    """Load the pipeline, on the CPU, in evaluation mode, without gradients.

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
    # Whatever may ask the hub comes before the library is silenced, so that downloads show their progress.
    vae_folder = _choose_vae(checkpoint, vae)
    configuration = _configuration(checkpoint)
    with _quiet():
        given = {} if vae_folder is None else {"vae": _read_vae(vae_folder, dtype)}
        pipe = _read_pipeline(checkpoint, configuration, dtype, given)
    for part in pipe.components.values():
        if hasattr(part, "requires_grad_"):
            part.eval().requires_grad_(False)
    pipe.set_progress_bar_config(disable=True)
    overflows = checkpoint.family == "sdxl" and str(dtype) == "torch.float16"
    if overflows and pipe.components["vae"].config.get("force_upcast"):
        _LOG.warning("%s: its VAE overflows in float16; give --vae madebyollin/sdxl-vae-fp16-fix", checkpoint.name)
    loaded: DiffusionPipeline = pipe
    return loaded


def _require_packages() -> None:
    for package in ("diffusers", "transformers", "huggingface_hub"):
        if find_spec(package) is None:
            raise ConfigError(
                "missing_package",
                f"diffusion models need the package {package}, which is not installed: pip install '.[diffusers]'",
                field="model",
            )


# A diffusers folder


def _folder_checkpoint(name: str, folder: Path) -> Checkpoint:
    family = _check_pipeline(name, folder)
    return Checkpoint(name, family, folder, _licence(folder))


def _check_pipeline(name: str, folder: Path, *, weights: bool = True) -> str:
    """Return the family of a diffusers folder in which nothing is missing.

    Raises:
        ConfigError, WeightsError: as ``find_checkpoint``.
    """
    if not (folder / "model_index.json").is_file():
        files = sorted(folder.glob("*.safetensors"))
        instead = f"; to serve a single file, name {files[0]}" if files else ""
        raise _missing(f"{folder} is no diffusers folder: it has no model_index.json{instead}")
    family = _family_of(name, _read_json(folder / "model_index.json"))
    for part in _HELPERS[family]:
        if not any(path.suffix in _SMALL_FILES for path in (folder / part).glob("*")):
            raise _missing(f"{folder} has no files of its {part}")
        _check_config(name, folder / part / "tokenizer_config.json")
    for part in _NETWORKS[family]:
        if not (folder / part / "config.json").is_file():
            raise _missing(f"{folder} has no {part}/config.json")
        _check_config(name, folder / part / "config.json")
        if weights:
            _check_weights(folder / part)
    return family


def _family_of(name: str, index: dict[str, Any]) -> str:
    """The family that can serve the pipeline of a model_index.json.

    Raises:
        ConfigError: ``remote_code``, ``unsupported_model``.
    """
    kind = index.get("_class_name")
    parts = {part: entry for part, entry in index.items() if isinstance(entry, list) and not part.startswith("_")}
    libraries = {part: entry[0] for part, entry in parts.items() if entry and entry[0] is not None}
    custom = [f"{part} from {library}" for part, library in libraries.items() if library not in _LIBRARIES]
    custom = [entry for entry in custom if entry.split()[0] not in _LEFT_OUT]
    if isinstance(kind, list):
        custom.append(f"its pipeline from {kind[0]}")
    if custom:
        raise _remote_code(name, custom[0])
    family = _FAMILIES.get(str(kind))
    if family is None:
        raise _unsupported(f"{name} is a {kind}, and served are {', '.join(_FAMILIES)}")
    for part in (*_NETWORKS[family], *_HELPERS[family]):
        if part not in libraries:
            raise _unsupported(f"{name} is a {kind} without {part}, which it needs")
    return family


def _check_config(name: str, file: Path) -> None:
    config = _read_json(file) if file.is_file() else {}
    if "auto_map" in config:
        raise _remote_code(name, f"see {file}")
    if config.get("_class_name") == "UNet2DConditionModel" and config.get("in_channels", 4) != 4:
        raise _unsupported(_not_four_channels(name, config["in_channels"]))


def _not_four_channels(name: str, channels: int) -> str:
    return f"the UNet of {name} takes {channels} channels and not 4: it was made for inpainting or editing"


def _check_weights(folder: Path) -> None:
    """Raise unless ``folder`` has a network's weights as whole safetensors.

    Raises:
        WeightsError: ``weights_missing``, ``weights_corrupt``, ``weights_not_safetensors``.
    """
    variants = _weights_among(str(folder), (path.name for path in folder.glob("*")))
    if not variants:
        raise _missing(f"{folder} has no safetensors weights")
    for files in variants.values():
        match = _WEIGHTS.fullmatch(files[0])
        total = int(match[1]) if match and match[1] else 1
        if len(files) != total:
            raise _missing(f"{folder} has {len(files)} of the {total} files of its weights")
        for file in files:
            _read_header(folder / file)


def _weights_among(place: str, names: Iterable[str]) -> dict[str, list[str]]:
    """A network's safetensors by variant, ``""`` and ``fp16``.

    Raises:
        WeightsError: ``weights_not_safetensors`` when there are pickles and no safetensors.
    """
    names = sorted(names)
    variants: dict[str, list[str]] = {}
    for name in names:
        if _WEIGHTS.fullmatch(name):
            variants.setdefault("fp16" if ".fp16" in name else "", []).append(name)
    pickles = [name for name in names if name.endswith(_PICKLES)]
    if pickles and not variants:
        raise _not_safetensors(place, pickles[0])
    return variants


def _licence(folder: Path) -> str | None:
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


# A single safetensors file


def _file_checkpoint(name: str, path: Path) -> Checkpoint:
    header = _read_header(path)
    channels = header.get(_FIRST_LAYER, {}).get("shape", [0, 4])[1]
    if channels != 4:
        raise _unsupported(_not_four_channels(name, channels))
    family, meaning = next(
        (found for prefix, *found in _LAYOUTS if any(prefix in key for key in header)), ["", "of no known layout"]
    )
    if not family:
        raise _unsupported(f"{name} is {meaning}, and served are whole Stable Diffusion 1, 2 and XL checkpoints")
    licence = header.get("__metadata__", {}).get("modelspec.license")
    return Checkpoint(name, family, path, licence or None)


def _configuration(checkpoint: Checkpoint) -> Path:
    """The diffusers folder that says how the networks are built: the checkpoint's own, or one for a single file.

    Raises:
        ConfigError: ``unsupported_model`` when it is of another family.
        WeightsError: ``weights_missing``, ``weights_unreachable``, ``weights_gated``, naming what to do.
    """
    if checkpoint.path.is_dir():
        return checkpoint.path
    header = _read_header(checkpoint.path)
    folder = checkpoint.path.with_suffix("")
    origin = str(folder)
    if not (folder / "model_index.json").is_file():
        width = header.get(_CROSS_ATTENTION, {"shape": [768]})["shape"][-1]
        origin = _CONFIGURATIONS.get(width if checkpoint.family == "sd" else "sdxl", _CONFIGURATIONS[768])
        command = f"hf download {origin} --include '*.json' '*.txt' --local-dir {folder}"
        try:
            folder = _hub_pipeline(origin, weights=False)
        except WeightsError as error:
            message = f"{checkpoint.name} needs a configuration beside it: {command} ({error.message})"
            raise WeightsError(error.code, message, field="model", retryable=error.retryable) from error
    family = _check_pipeline(origin, folder, weights=False)
    if family != checkpoint.family:
        message = f"{checkpoint.name} is a model of {checkpoint.family} and its configuration {origin} of {family}"
        raise _unsupported(message)
    _LOG.info("%s: tokenizer, scheduler and configuration from %s", checkpoint.name, origin)
    return folder


# The hub


def _hub_pipeline(repo: str, *, weights: bool = True) -> Path:
    def check(folder: Path) -> None:
        _check_pipeline(repo, folder, weights=weights)

    return _hub_folder(repo, "model_index.json", check, partial(_pipeline_files, repo, weights=weights))


def _hub_folder(
    repo: str, marker: str, check: Callable[[Path], object], choose: Callable[[list[str]], list[str]]
) -> Path:
    """The folder of a repository in the local cache, downloaded when it is not there or not whole.

    Args:
        repo: its id.
        marker: a file that it has in any case.
        check: raises ``weights_missing`` when the folder lacks something.
        choose: from the names of all its files those that are needed.

    Raises:
        ConfigError, WeightsError: as ``find_checkpoint``.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        # Only the marker is asked for: a cache that diffusers filled lacks files that are of no use here.
        folder = Path(snapshot_download(repo, local_files_only=True, allow_patterns=[marker]))
        check(folder)
        return folder
    except LocalEntryNotFoundError:
        _LOG.info("%s is not in the local cache and is looked for on the hub", repo)
    except WeightsError as error:
        if error.code != "weights_missing":
            raise
        _LOG.info("the copy of %s in the local cache is completed from the hub: %s", repo, error.message)
    with _hub_errors(repo):
        info = HfApi().model_info(repo, timeout=_ANSWER_S)
        files = choose([sibling.rfilename for sibling in info.siblings or []])
        folder = Path(snapshot_download(repo, allow_patterns=files, etag_timeout=_ANSWER_S))
    check(folder)
    return folder


def _pipeline_files(repo: str, files: list[str], *, weights: bool) -> list[str]:
    """Which files of a repository a pipeline is loaded from. Where the weights are also there in half precision, those:
    they are half the download, and few-step models run in it anyway."""
    from huggingface_hub import hf_hub_download

    if "model_index.json" not in files:
        raise _unsupported(f"{repo} on the hub is no diffusers pipeline: it has no model_index.json")
    # Read before the rest is fetched, which is gigabytes.
    index = _read_json(Path(hf_hub_download(repo, "model_index.json", etag_timeout=_ANSWER_S)))
    family = _family_of(repo, index)
    chosen = [file for file in files if file == "model_index.json" or file.startswith(_CARDS)]
    for part in (*_HELPERS[family], *_NETWORKS[family]):
        names = [file.removeprefix(f"{part}/") for file in files if file.startswith(f"{part}/")]
        kept = [name for name in names if name.endswith(_SMALL_FILES)]
        if weights and part in _NETWORKS[family]:
            variants = _weights_among(f"{repo}/{part}", names)
            kept += variants.get("fp16") or variants.get("") or []
        chosen += [f"{part}/{name}" for name in kept]
    return chosen


@contextmanager
def _hub_errors(repo: str) -> Iterator[None]:
    """Say what to do about the hub's errors."""
    from huggingface_hub import errors

    transport: type[Exception] = errors.HTTPError  # type: ignore[attr-defined]  # of httpx or of its successor
    try:
        yield
    except errors.HfHubHTTPError as error:
        status, gated = error.response.status_code, isinstance(error, errors.GatedRepoError)
        # The hub answers 401 for what does not exist too, lest private names be found out; its error tells which.
        if status == 404 or (isinstance(error, errors.RepositoryNotFoundError) and not gated):
            login = "if it is private, run hf auth login"
            raise _missing(f"there is no {repo}, neither a folder here nor a model on the hub; {login}") from error
        if gated or status in (401, 403):
            raise _gated(repo) from error
        raise _unreachable(repo, f"the hub cannot give {repo} now ({_reason(error)}): try again") from error
    except errors.OfflineModeIsEnabled as error:
        raise _unreachable(repo, f"{repo} is not in the local cache and HF_HUB_OFFLINE is set: unset it") from error
    except (transport, OSError) as error:
        fact = f"{repo} is not in the local cache and cannot be fetched ({_reason(error)}): go online"
        raise _unreachable(repo, fact) from error


def _gated(repo: str) -> WeightsError:
    page = f"https://huggingface.co/{repo}"
    message = f"{repo} is gated or private: accept its licence at {page} and run hf auth login"
    return WeightsError("weights_gated", message, field="model")


def _unreachable(repo: str, fact: str) -> WeightsError:
    command = f"hf download {repo} --local-dir {repo.partition('/')[2]}"
    message = f"{fact}, or run {command} where there is a network, copy the folder here and name it instead"
    return WeightsError("weights_unreachable", message, field="model", retryable=True)


# The VAE


def _choose_vae(checkpoint: Checkpoint, asked: str) -> Path | None:
    """Folder of the VAE that takes the place of the checkpoint's own; None to keep that."""
    name, tiny = checkpoint.name, _TINY_VAES.get(checkpoint.family)
    if asked not in ("auto", "full"):
        folder = _find_vae(asked, checkpoint.family)
        _LOG.info("%s: VAE %s, as asked for", name, asked)
        return folder
    own = checkpoint.path / "vae" / "config.json"
    small = own.is_file() and _read_json(own).get("_class_name") == "AutoencoderTiny"
    if asked == "full" or small or tiny is None:
        _LOG.info(
            "%s: VAE of the checkpoint, %s", name, "as asked for" if asked == "full" else "which has no quicker one"
        )
        return None
    try:
        folder = _find_vae(tiny, checkpoint.family)
    except WeightsError as error:
        _LOG.info("%s: VAE of the checkpoint, slower than %s, which cannot be had: %s", name, tiny, error.message)
        return None
    _LOG.info("%s: VAE %s, quicker than the checkpoint's own", name, tiny)
    return folder


def _find_vae(asked: str, family: str) -> Path:
    folder = Path(os.path.expanduser(asked))
    if asked and os.path.isdir(folder):
        _check_vae(folder)
    elif _HUB_ID.fullmatch(asked):
        folder = _hub_folder(asked, "config.json", _check_vae, partial(_vae_files, asked))
    else:
        message = f"vae must be auto, full, a folder or a hub id such as madebyollin/taesd, got {asked!r}"
        raise ConfigError("unknown_vae", message, field="vae")
    config = _read_json(folder / "config.json")
    kind, channels = config.get("_class_name"), config.get("latent_channels", 4)
    if kind not in _VAES[family] or (family != "sana-sprint" and channels != 4):
        message = f"{family} needs {' or '.join(_VAES[family])}, got {asked}: {kind} of {channels} latent channels"
        raise ConfigError("unsupported_vae", message, field="vae")
    return folder


def _check_vae(folder: Path) -> None:
    _read_json(folder / "config.json")
    _check_weights(folder)


def _vae_files(repo: str, files: list[str]) -> list[str]:
    variants = _weights_among(repo, files)
    return ["config.json", *(variants.get("fp16") or variants.get("") or [])]


# Reading


def _read_pipeline(checkpoint: Checkpoint, configuration: Path, dtype: torch.dtype, given: dict[str, Any]) -> Any:
    path, family = checkpoint.path, checkpoint.family
    index = _read_json(configuration / "model_index.json")
    options = {"dtype": dtype, "local_files_only": True} | {part: None for part in _LEFT_OUT if part in index} | given
    with _loading(path):
        import diffusers

        if path.is_file():
            kind = getattr(diffusers, _SINGLE_FILES[family])
            return kind.from_single_file(str(path), config=str(configuration), **options)
        variant = _variant([path / part for part in _NETWORKS[family]], dtype)
        load: Any = diffusers.DiffusionPipeline.from_pretrained
        return load(str(path), use_safetensors=True, variant=variant, **options)


def _read_vae(folder: Path, dtype: torch.dtype) -> Any:
    with _loading(folder):
        import diffusers

        kind = getattr(diffusers, _read_json(folder / "config.json")["_class_name"])
        variant = _variant([folder], dtype)
        options = {"dtype": dtype, "use_safetensors": True, "local_files_only": True, "variant": variant}
        return kind.from_pretrained(str(folder), **options)


def _variant(folders: list[Path], dtype: torch.dtype) -> str | None:
    """``fp16`` when some network is there in half precision alone, or when that is what is wanted."""
    found = [set(_weights_among(str(folder), (path.name for path in folder.glob("*")))) for folder in folders]
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
        raise ConfigError("missing_package", f"{path} needs a package: {_reason(error)}", field="model") from error
    except (*unusable, SafetensorError, SingleFileComponentError) as error:
        raise _corrupt(f"{path} cannot be loaded: {_reason(error)}") from error


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


def _read_json(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _missing(f"there is no {file}") from None
    except (OSError, ValueError) as error:
        raise _corrupt(f"{file} cannot be read: {_reason(error)}") from error
    if not isinstance(value, dict):
        raise _corrupt(f"{file} must hold an object")
    return value


def _read_header(file: Path) -> dict[str, Any]:
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
        raise _missing(f"there is no file {file}") from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        if start == b"version ":
            raise _missing(f"{file} is a pointer of Git LFS and no weights: run git lfs pull") from None
        raise _corrupt(f"{file} is no whole safetensors file") from error
    if held != needed:
        message = f"{file} is cut short or damaged: it has {held} bytes of tensors, and its header says {needed}"
        raise _corrupt(message)
    return header


def _unsupported(message: str) -> ConfigError:
    return ConfigError("unsupported_model", message, field="model")


def _remote_code(name: str, where: str) -> ConfigError:
    return ConfigError("remote_code", f"{name} brings its own code, which is never run: {where}", field="model")


def _corrupt(message: str) -> WeightsError:
    return WeightsError("weights_corrupt", message, field="model")


def _missing(message: str) -> WeightsError:
    return WeightsError("weights_missing", message, field="model")


def _not_safetensors(
    place: Path | str, file: str, kind: str = "DiffusionPipeline", reader: str = "from_pretrained"
) -> WeightsError:
    program = f"from diffusers import {kind} as P; P.{reader}('FROM').save_pretrained('TO')"
    message = f"{place} has {file} and no safetensors, and a pickle can run code: if you trust it, convert it with"
    return WeightsError("weights_not_safetensors", f'{message} python -c "{program}"', field="model")


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
