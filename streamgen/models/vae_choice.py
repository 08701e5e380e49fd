"""Which VAE decodes for a checkpoint: its own, the small one of its family, or one that was asked for."""

from __future__ import annotations

import logging
import os
from functools import partial
from pathlib import Path

from streamgen.errors import ConfigError, WeightsError
from streamgen.models.hub import fetch_folder, is_hub_id
from streamgen.models.weight_files import check_weights, read_json, weights_among

__all__ = ["choose_vae"]

_LOG = logging.getLogger(__name__)

_VAES = {
    "sd": ("AutoencoderTiny", "AutoencoderKL"),
    "sdxl": ("AutoencoderTiny", "AutoencoderKL"),
    "sana-sprint": ("AutoencoderDC",),
}
_TINY_VAES = {"sd": "madebyollin/taesd", "sdxl": "madebyollin/taesdxl"}


def choose_vae(asked: str, *, name: str, family: str, path: Path) -> Path | None:
    """Folder of the VAE that takes the place of the checkpoint's own; None to keep that.

    Args:
        asked: ``auto``, ``full``, a folder or a hub id.
        name: of the checkpoint, for the log.
        family: of the checkpoint.
        path: of the checkpoint, a diffusers folder or a single file.

    Raises:
        ConfigError: ``unknown_vae``, ``unsupported_vae``.
        WeightsError: what ``asked`` names is missing, corrupt, pickled or out of reach.
    """
    tiny = _TINY_VAES.get(family)
    if asked not in ("auto", "full"):
        folder = _find_vae(asked, family)
        _LOG.info("%s: VAE %s, as asked for", name, asked)
        return folder
    own = path / "vae" / "config.json"
    small = own.is_file() and read_json(own).get("_class_name") == "AutoencoderTiny"
    if asked == "full" or small or tiny is None:
        _LOG.info(
            "%s: VAE of the checkpoint, %s", name, "as asked for" if asked == "full" else "which has no quicker one"
        )
        return None
    try:
        folder = _find_vae(tiny, family)
    except WeightsError as error:
        _LOG.info("%s: VAE of the checkpoint, slower than %s, which cannot be had: %s", name, tiny, error.message)
        return None
    _LOG.info("%s: VAE %s, quicker than the checkpoint's own", name, tiny)
    return folder


def _find_vae(asked: str, family: str) -> Path:
    folder = Path(os.path.expanduser(asked))
    if asked and os.path.isdir(folder):
        _check_vae(folder)
    elif is_hub_id(asked):
        folder = fetch_folder(asked, "config.json", _check_vae, partial(_vae_files, asked))
    else:
        message = f"vae must be auto, full, a folder or a hub id such as madebyollin/taesd, got {asked!r}"
        raise ConfigError("unknown_vae", message, field="vae")
    config = read_json(folder / "config.json")
    kind, channels = config.get("_class_name"), config.get("latent_channels", 4)
    if kind not in _VAES[family] or (family != "sana-sprint" and channels != 4):
        message = f"{family} needs {' or '.join(_VAES[family])}, got {asked}: {kind} of {channels} latent channels"
        raise ConfigError("unsupported_vae", message, field="vae")
    return folder


def _check_vae(folder: Path) -> None:
    read_json(folder / "config.json")
    check_weights(folder)


def _vae_files(repo: str, files: list[str]) -> list[str]:
    variants = weights_among(repo, files)
    return ["config.json", *(variants.get("fp16") or variants.get("") or [])]
