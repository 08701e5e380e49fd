"""Styles that users made themselves: one file each, in a folder that is looked at while the model serves.

A style is one vector, an input of the network. A file that is put into the folder, replaced or deleted is taken up as
it is, with nothing compiled anew.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import stat
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from streamgen.errors import ConfigError, StreamgenError, WeightsError
from streamgen.models.phrasebook import key
from streamgen.models.tiny_unet import STYLE_WIDTH, TinyUNet

__all__ = [
    "LARGEST_VALUE",
    "NAME_MAX",
    "PROMPT_MAX",
    "STYLES_MAX",
    "StyleFolder",
    "UserStyle",
    "check_name",
    "core_identity",
    "files_of",
    "load_style",
    "save_style",
    "style_file",
    "within_range",
    "write_style",
]

NAME_MAX = 40
"""Characters in a name."""
PROMPT_MAX = 500
"""Characters in what else asks for a style."""
STYLES_MAX = 100
"""Styles that are taken from a folder."""
LARGEST_VALUE = 100.0
"""The largest magnitude in a vector. Those of the packaged styles stay below 2."""

_Stamp = tuple[int, ...]
"""What changes when a file does."""

_LOG = logging.getLogger(__name__)
_FORMAT = "streamgen.style"
_VERSION = "1"
_SUFFIX = ".safetensors"
_LARGEST_FILE = 300_000
_NAME = re.compile(r"[^\W_][\w -]*")
_CORE = re.compile(r"[0-9a-z]{1,64}")
_DTYPES = frozenset({"F16", "BF16", "F32", "F64"})
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)")


@dataclass(frozen=True, slots=True)
class UserStyle:
    """One style.

    Args:
        name: what a prompt calls it.
        prompt: what else asks for it, in free text of at most PROMPT_MAX characters; "" for nothing.
        core: ``core_identity`` of the network that it was made for.
        vector: [STYLE_WIDTH] float32 in [-LARGEST_VALUE, LARGEST_VALUE].
    """

    name: str
    prompt: str
    core: str
    vector: Tensor


def check_name(name: str, taken: Collection[str] = ()) -> str:
    """The name as it is stored: composed, lower case, without spaces around it.

    Names are compared as prompts compare them, by ``phrasebook.key``: "van-gogh" is "van gogh".

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
    # It is a file's name and a word of a prompt, which may see nothing in a character that a file's name can have.
    if not _NAME.fullmatch(stored) or _DEVICES.fullmatch(stored) or not _NAME.fullmatch(key(stored)):
        rule = "a style's name has letters, digits, spaces, - and _, and begins with a letter or digit"
        raise ConfigError("invalid_name", f"{rule}, got {name[:100]!r}", field="name")
    for other in taken:
        if key(other) == key(stored):
            raise ConfigError("name_taken", f"there is a built-in style named {other!r}", field="name")
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
    """Write ``NAME.safetensors``, as ``write_style`` does, and return its path."""
    path = style_file(folder, style.name)
    write_style(style, path)
    return path


def write_style(style: UserStyle, path: Path) -> None:
    """Write a style in float16, atomically. Raises `OSError` when it cannot be."""
    path.parent.mkdir(parents=True, exist_ok=True)
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


def style_file(folder: Path, name: str) -> Path:
    """Where ``save_style`` puts the style ``name``."""
    return folder / f"{name}{_SUFFIX}"


def within_range(vector: Tensor) -> bool:
    """Whether a vector is finite and no larger than LARGEST_VALUE anywhere."""
    return bool((vector.abs() <= LARGEST_VALUE).all())  # not a number is not <= either


def load_style(path: Path) -> UserStyle:
    """Read what ``save_style`` wrote.

    Raises:
        WeightsError: ``style_missing`` when there is no such file, ``style_unreadable`` when the system does not let
            it be read, ``style_corrupt`` when it is no style.
        ConfigError: ``invalid_name``.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise FileNotFoundError
        if status.st_size > _LARGEST_FILE:
            raise ValueError(f"larger than {_LARGEST_FILE} bytes")
        style = _decoded(path)
    except FileNotFoundError as error:
        raise WeightsError("style_missing", f"no style at {path}", field="name") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise WeightsError("style_unreadable", f"{path.name} cannot be read: {reason}", field="name") from error
    except (SafetensorError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError("style_corrupt", f"{path.name} is no {_FORMAT} file: {reason}", field="name") from error
    return style


def _decoded(path: Path) -> UserStyle:
    """Raises what ``load_style`` translates."""
    with safe_open(path, framework="pt") as archive:
        metadata = archive.metadata() or {}
        if (metadata.get("format"), metadata.get("version")) != (_FORMAT, _VERSION):
            raise ValueError(f"format is {metadata.get('format')!r} version {metadata.get('version')!r}")
        stored = archive.get_slice("style")
        if stored.get_dtype() not in _DTYPES or stored.get_shape() != [STYLE_WIDTH]:
            held = f"{stored.get_dtype()} of shape {stored.get_shape()}"
            raise ValueError(f"the style must be {STYLE_WIDTH} floating-point numbers, got {held}")
        vector = archive.get_tensor("style").float()
    if not within_range(vector):
        raise ValueError(f"the style has values that are not within -{LARGEST_VALUE:g} to {LARGEST_VALUE:g}")
    name, prompt, core = metadata["name"], metadata["prompt"], metadata["core"]
    if len(prompt) > PROMPT_MAX:
        raise ValueError(f"its prompt has {len(prompt)} characters, at most {PROMPT_MAX} can be")
    if not _CORE.fullmatch(core):
        raise ValueError(f"its core is {core[:64]!r}")
    return UserStyle(check_name(name), prompt, core, vector)


def files_of(folder: Path, name: str) -> dict[Path, UserStyle | None]:
    """The files of the style ``name``, in order, and what they hold.

    A file belongs to the name that is in it, whatever it is called; one that holds no style (None) to its own.
    Folders are no such files.

    Raises:
        ConfigError: ``styles_unreadable`` when the folder cannot be listed.
    """
    try:
        files = sorted(_listed(folder))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError("styles_unreadable", f"{folder} cannot be listed: {error.strerror}") from error
    found: dict[Path, UserStyle | None] = {}
    for path in (folder / file for file in files):
        try:
            style = load_style(path)
        except StreamgenError:
            style = None
        held = path.name.removesuffix(_SUFFIX) if style is None else style.name
        if key(held) == key(name) and not path.is_dir():
            found[path] = style
    return found


class StyleFolder:
    """The styles in a folder that a core can use. Call ``refresh()`` to look whether they changed.

    The first STYLES_MAX in the order of their files' names are taken. The name in a file counts, not the file's.

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
        self._seen: dict[str, _Stamp] = {}
        self._trouble: str | None = None
        self.refresh()

    def refresh(self) -> bool:
        """Read the files again if one came, went or changed; True when the styles may be others now.

        Costs one listing of the folder when nothing changed. What cannot be used is logged, once, and left out: a file,
        or the whole folder when it cannot be listed. Raises nothing for what is in the folder.
        """
        if self._folder is None:
            return False
        present = self._listing(self._folder)
        if present == self._seen:
            return False
        found: dict[str, UserStyle] = {}
        left_out: dict[str, StreamgenError] = {}
        for file in sorted(present):
            try:
                style = self._usable(self._folder / file, found)
            except StreamgenError as error:
                left_out[file] = error
            else:
                found[key(style.name)] = style
        self._say(left_out, {file for file in present if present[file] != self._seen.get(file)})
        self.styles, self.left_out, self._seen = tuple(found.values()), left_out, present
        return True

    def _listing(self, folder: Path) -> dict[str, _Stamp]:
        """What is in the folder; nothing where it cannot be listed."""
        trouble, present = None, {}
        try:
            present = _listed(folder)
        except FileNotFoundError:
            pass  # nobody made a style yet
        except OSError as error:
            trouble = str(error)
        if trouble is not None and trouble != self._trouble:
            _LOG.warning("no styles of the user's own, their folder cannot be listed: %s", trouble)
        self._trouble = trouble
        return present

    def _usable(self, path: Path, found: dict[str, UserStyle]) -> UserStyle:
        if len(found) == STYLES_MAX:
            raise ConfigError("too_many_styles", f"{STYLES_MAX} styles are taken, and no more", field="name")
        style = load_style(path)
        check_name(style.name, self._taken)
        if other := found.get(key(style.name)):
            raise ConfigError("name_taken", f"another file has the name {other.name!r}", field="name")
        if style.core != self._core:
            cores = f"for the model {style.core}, and this is {self._core}"
            raise WeightsError("style_of_another_core", f"it was trained {cores}: train it again", field="name")
        return style

    def _say(self, left_out: dict[str, StreamgenError], changed: Collection[str]) -> None:
        """Log what is left out since the last time, or for another reason; all that are too many in one line."""
        before = {file: error.code for file, error in self.left_out.items()}
        new = {f: error for f, error in left_out.items() if f in changed or before.get(f) != error.code}
        for file, error in new.items():
            if error.code != "too_many_styles":
                _LOG.warning("the style %s is left out: %s", file.removesuffix(_SUFFIX), error.message)
        crowd = [error for error in new.values() if error.code == "too_many_styles"]
        if crowd:
            _LOG.warning("%d files of styles are left out: %s", len(crowd), crowd[0].message)


def _listed(folder: Path) -> dict[str, _Stamp]:
    """The stamp of every style's file, by its name. Raises `OSError` when the folder cannot be listed."""
    listed: dict[str, _Stamp] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(_SUFFIX):
                try:
                    status = entry.stat()
                except OSError as error:  # such as a link to itself; reading it says what is wrong
                    listed[entry.name] = (error.errno or 0,)
                else:
                    # With the status' own time, for a file that may be read from now on is the same file.
                    listed[entry.name] = (status.st_mtime_ns, status.st_ctime_ns, status.st_size)
    return listed
