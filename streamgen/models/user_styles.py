"""Styles that users made themselves: one file each, in a folder that is looked at while the model serves.

A style is one vector, an input of the network. A file that is put into the folder, replaced or deleted is taken up as
it is, with nothing compiled anew.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import unicodedata
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from streamgen.errors import ConfigError, StreamgenError, WeightsError
from streamgen.models.tiny_unet import STYLE_WIDTH, TinyUNet

__all__ = [
    "NAME_MAX",
    "StyleFolder",
    "UserStyle",
    "check_name",
    "core_identity",
    "load_style",
    "save_style",
    "style_file",
]

NAME_MAX = 40
"""Characters in a name."""

_LOG = logging.getLogger(__name__)
_FORMAT = "streamgen.style"
_VERSION = "1"
_SUFFIX = ".safetensors"
_LARGEST_FILE = 300_000
_NAME = re.compile(r"[^\W_][\w -]*")
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)")


@dataclass(frozen=True, slots=True)
class UserStyle:
    """One style.

    Args:
        name: what a prompt calls it.
        prompt: what else asks for it, in free text; "" for nothing.
        core: ``core_identity`` of the network that it was made for.
        vector: [STYLE_WIDTH] float32.
    """

    name: str
    prompt: str
    core: str
    vector: Tensor


def check_name(name: str, taken: Collection[str] = ()) -> str:
    """The name as it is stored: composed, lower case, without spaces around it.

    Args:
        name: as the user wrote it.
        taken: names that built-in styles have.

    Raises:
        ConfigError: ``invalid_name`` or ``name_taken``.
    """
    stored = unicodedata.normalize("NFC", " ".join(name.split())).lower()
    if not stored:
        raise ConfigError("invalid_name", "a style needs a name", field="name")
    if len(stored) > NAME_MAX:
        raise ConfigError(
            "invalid_name", f"a style's name has at most {NAME_MAX} characters, got {len(stored)}", field="name"
        )
    # It is a file's name and a word of a prompt.
    if not _NAME.fullmatch(stored) or _DEVICES.fullmatch(stored):
        rule = "a style's name has letters, digits, spaces, - and _, and begins with a letter or digit"
        raise ConfigError("invalid_name", f"{rule}, got {name[:100]!r}", field="name")
    if stored in taken:
        raise ConfigError("name_taken", f"there is a built-in style named {stored!r}", field="name")
    return stored


def core_identity(network: TinyUNet) -> str:
    """16 hexadecimal digits that are the same for the same weights, whatever styles the file has and wherever it is."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        if name != "styles":
            digest.update(name.encode())
            digest.update(value.detach().half().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def save_style(style: UserStyle, folder: Path) -> Path:
    """Write ``NAME.safetensors`` in float16, atomically, and return its path. Raises `OSError` when it cannot be."""
    folder.mkdir(parents=True, exist_ok=True)
    path = style_file(folder, style.name)
    partial = path.with_suffix(".partial")
    metadata = {
        "format": _FORMAT,
        "version": _VERSION,
        "name": style.name,
        "prompt": style.prompt,
        "core": style.core,
    }
    save_file({"style": style.vector.detach().half().cpu().contiguous()}, partial, metadata=metadata)
    partial.chmod(0o644)  # the library writes a file that its owner alone can read
    partial.replace(path)
    return path


def style_file(folder: Path, name: str) -> Path:
    """Where ``save_style`` puts the style ``name``."""
    return folder / f"{name}{_SUFFIX}"


def load_style(path: Path) -> UserStyle:
    """Read what ``save_style`` wrote.

    Raises:
        WeightsError: ``style_missing`` when there is no such file, ``style_corrupt`` when it is no style.
        ConfigError: ``invalid_name``.
    """
    if not path.is_file():
        raise WeightsError("style_missing", f"no style at {path}", field="name")
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise ValueError(f"larger than {_LARGEST_FILE} bytes")
        with safe_open(path, framework="pt") as archive:
            metadata = archive.metadata() or {}
            vector = archive.get_tensor("style").float()
        if (metadata.get("format"), metadata.get("version")) != (_FORMAT, _VERSION):
            raise ValueError(f"format is {metadata.get('format')!r} version {metadata.get('version')!r}")
        if vector.shape != (STYLE_WIDTH,) or not vector.isfinite().all():
            raise ValueError(f"the style must be {STYLE_WIDTH} finite numbers, got shape {tuple(vector.shape)}")
        name, prompt, core = metadata["name"], metadata["prompt"], metadata["core"]
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError("style_corrupt", f"{path.name} is no {_FORMAT} file: {reason}", field="name") from error
    return UserStyle(check_name(name), prompt, core, vector)


class StyleFolder:
    """The styles in a folder that a core can use. Call ``refresh()`` to look whether they changed.

    Args:
        folder: holds the files; it need not exist. None for no styles at all.
        core: ``core_identity`` of the network that serves.
        taken: names of its built-in styles.
    """

    def __init__(self, folder: Path | None, core: str, taken: Collection[str]) -> None:
        self.styles: tuple[UserStyle, ...] = ()
        self.left_out: dict[str, StreamgenError] = {}
        """File name to what keeps it from being used."""
        self._folder = folder
        self._core = core
        self._taken = frozenset(taken)
        self._seen: dict[str, tuple[int, int]] = {}
        self.refresh()

    def refresh(self) -> bool:
        """Read the files again if one came, went or changed; True when the styles may be others now.

        Costs one listing of the folder when nothing changed. What cannot be used is logged, once, and left out.
        """
        present = {} if self._folder is None else _listed(self._folder)
        if self._folder is None or present == self._seen:
            return False
        found: dict[str, UserStyle] = {}
        left_out: dict[str, StreamgenError] = {}
        for file in sorted(present):
            try:
                style = self._usable(self._folder / file, found)
            except StreamgenError as error:
                left_out[file] = error
                if present[file] != self._seen.get(file):
                    _LOG.warning("the style %s is left out: %s", file.removesuffix(_SUFFIX), error.message)
            else:
                found[style.name] = style
        self.styles, self.left_out, self._seen = tuple(found.values()), left_out, present
        return True

    def _usable(self, path: Path, found: Collection[str]) -> UserStyle:
        style = load_style(path)
        check_name(style.name, self._taken)
        if style.name in found:
            raise ConfigError("name_taken", f"another file has the name {style.name!r}", field="name")
        if style.core != self._core:
            cores = f"for the model {style.core}, and this is {self._core}"
            raise WeightsError("style_of_another_core", f"it was trained {cores}: train it again", field="name")
        return style


def _listed(folder: Path) -> dict[str, tuple[int, int]]:
    """Time of the last change and size of every style's file, by its name."""
    listed = {}
    with suppress(FileNotFoundError, NotADirectoryError, PermissionError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # it goes just now
                if entry.name.endswith(_SUFFIX):
                    stat = entry.stat()
                    listed[entry.name] = (stat.st_mtime_ns, stat.st_size)
    return listed
