"""What is said of a checkpoint that cannot be found, read or served. Every error names the option ``model``."""

from __future__ import annotations

from pathlib import Path

from streamgen.errors import ConfigError, WeightsError

__all__ = ["corrupt", "missing", "not_four_channels", "not_safetensors", "reason", "remote_code", "unsupported"]


def unsupported(message: str) -> ConfigError:
    """``unsupported_model``: it is of a kind that cannot be served."""
    return ConfigError("unsupported_model", message, field="model")


def not_four_channels(name: str, channels: int) -> ConfigError:
    """``unsupported_model``: its UNet takes more than the latents."""
    return unsupported(f"the UNet of {name} takes {channels} channels and not 4: it was made for inpainting or editing")


def remote_code(name: str, where: str) -> ConfigError:
    """``remote_code``: it cannot be used without code that comes with it."""
    return ConfigError("remote_code", f"{name} brings its own code, which is never run: {where}", field="model")


def corrupt(message: str) -> WeightsError:
    """``weights_corrupt``: a file is there and cannot be used."""
    return WeightsError("weights_corrupt", message, field="model")


def missing(message: str) -> WeightsError:
    """``weights_missing``: a file is not there."""
    return WeightsError("weights_missing", message, field="model")


def not_safetensors(
    place: Path | str, file: str, kind: str = "DiffusionPipeline", reader: str = "from_pretrained"
) -> WeightsError:
    """``weights_not_safetensors``: the weights are pickled, and how to convert them.

    Args:
        place: a folder, or a repository and its folder.
        file: the pickle.
        kind: diffusers' class that can read it.
        reader: the method of that class.
    """
    program = f"from diffusers import {kind} as P; P.{reader}('FROM').save_pretrained('TO')"
    message = f"{place} has {file} and no safetensors, and a pickle can run code: if you trust it, convert it with"
    return WeightsError("weights_not_safetensors", f'{message} python -c "{program}"', field="model")


def reason(error: Exception) -> str:
    """What a library says of its failure, on one line."""
    return " ".join(str(error).split())[:300]
