"""What an operator has stand between people and the model: filters of prompts, checks of pictures, and a badge that
says that a picture is generated. All of it runs in the worker, so that nothing leaves it unseen, whatever carries it.

A check that refuses a picture, or fails, has it blurred beyond recognition: there is no way of failing that shows it. A
filter that fails refuses the prompt.

Third parties bring their own through the entry points ``streamgen.prompt_filters`` and ``streamgen.output_checks``.
Each names a function without arguments, called once in the worker, that returns a ``PromptFilter`` or an
``OutputCheck``. They run between the frames of everybody, so they have to be quick.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from streamgen.config import GuardSpec
from streamgen.errors import ConfigError, SettingsError
from streamgen.frames import Pixels
from streamgen.settings import StreamSettings

__all__ = ["Guard", "OutputCheck", "PromptFilter", "badged", "blurred", "load_guard", "words_filter"]

_LOG = logging.getLogger(__name__)

_FILTERS = "streamgen.prompt_filters"
_CHECKS = "streamgen.output_checks"
_SPOTS = 8
"""Colours that are left of a blurred picture, each way."""
_GLYPHS = ("01110 111", "10001 010", "10001 010", "11111 010", "10001 010", "10001 010", "10001 111")
"""The letters AI."""


class PromptFilter(Protocol):
    """Judges what people ask for."""

    def __call__(self, prompt: str, /) -> str | None:
        """Why the prompt is refused, in a few words that its author reads; None where it is not."""


class OutputCheck(Protocol):
    """Judges what is about to be shown."""

    def __call__(self, pixels: Pixels, /) -> bool:
        """Whether the picture, uint8 [H, W, 3], may be shown. It must not change it."""


class Guard:
    """Every filter and every check there is. Without any, everything passes as it is.

    Args:
        badge: whether pictures carry one.
    """

    def __init__(
        self, filters: Iterable[PromptFilter] = (), checks: Iterable[OutputCheck] = (), *, badge: bool = False
    ) -> None:
        self._filters = tuple(filters)
        self._checks = tuple(checks)
        self._badge = badge
        self._told = False

    def check_prompts(self, settings: StreamSettings) -> None:
        """Raises:
        SettingsError: ``prompt_refused``, naming the field.
        """
        fields = {"prompt": [settings.prompt], "prompts_blend": [entry.prompt for entry in settings.prompts_blend]}
        for field, prompts in fields.items():
            for prompt in filter(None, prompts):
                reason = self._refusal(prompt)
                if reason is not None:
                    raise SettingsError("prompt_refused", f"{field}: {reason}"[:300], field=field)

    def show(self, pixels: Pixels) -> Pixels:
        """The picture as it may be shown, uint8 [H, W, 3 or 4]; ``pixels`` stays as it is."""
        if self._checks and not self._may_show(np.ascontiguousarray(pixels[..., :3])):
            pixels = blurred(pixels)
        return badged(pixels) if self._badge else pixels

    def _refusal(self, prompt: str) -> str | None:
        for judge in self._filters:
            try:
                reason = judge(prompt)
            except Exception:  # another's code: what it would have said is not known
                _LOG.exception("a prompt filter failed; the prompt is refused")
                return "the prompt could not be checked"
            if reason is not None:
                return reason
        return None

    def _may_show(self, pixels: Pixels) -> bool:
        try:
            return all(check(pixels) is True for check in self._checks)
        except Exception:  # another's code: what it would have said is not known
            if not self._told:
                _LOG.exception("an output check failed; its pictures are blurred from now on")
            self._told = True
            return False


def load_guard(spec: GuardSpec) -> Guard:
    """Find and call what ``spec`` names.

    Raises:
        ConfigError: ``unknown_guard``, ``guard_failed`` or ``bad_words``.
    """
    filters = [words_filter(Path(name)) if name.endswith(".txt") else _made(_FILTERS, name) for name in spec.filters]
    return Guard(filters, [_made(_CHECKS, name) for name in spec.checks], badge=spec.badge)


def words_filter(path: Path) -> PromptFilter:
    """Refuses prompts with any of the words or phrases of a text file, one a line, whatever their case and spacing;
    lines that begin with ``#`` are comments.

    Raises:
        ConfigError: ``bad_words`` where the file cannot be read or has none.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("bad_words", f"{path} cannot be read as text: {error}", field="prompt_filters") from None
    words = [_plain(line) for line in lines if line and not line.startswith("#")]
    if not words:
        raise ConfigError("bad_words", f"{path} has no word in it", field="prompt_filters")
    found = re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, words)) + r")(?!\w)")
    return lambda prompt: "there is a word in it that is not wanted here" if found.search(_plain(prompt)) else None


def blurred(pixels: Pixels) -> Pixels:
    """A picture of which a few soft spots of colour are left, uint8 [H, W, 3 or 4]. Alpha stays as it is."""
    down_y, up_y = _softening(pixels.shape[0])
    down_x, up_x = _softening(pixels.shape[1])
    soft = pixels.copy()
    for channel in range(3):
        spots = down_y @ pixels[..., channel].astype(np.float32) @ down_x.T  # [8, 8]
        soft[..., channel] = np.rint(up_y @ spots @ up_x.T)
    return soft


def badged(pixels: Pixels) -> Pixels:
    """The picture with the letters AI in its lower right corner, uint8 [H, W, 3 or 4]."""
    height, width = pixels.shape[:2]
    glyphs = np.array([[bit == "1" for bit in row.replace(" ", "0")] for row in _GLYPHS])
    badge = np.kron(np.pad(glyphs, 2), np.ones((max(1, height // 128),) * 2, bool))
    tall, wide = badge.shape
    margin = height // 64
    marked = pixels.copy()
    corner = marked[height - margin - tall : height - margin, width - margin - wide : width - margin]
    corner[..., :3] = np.where(badge[..., None], 255, corner[..., :3] // 4)
    corner[..., 3:] = 255
    return marked


def _made(group: str, name: str) -> Any:
    found = {entry.name: entry for entry in entry_points(group=group)}
    if name not in found:
        known = f"installed are {', '.join(sorted(found))}" if found else "none is installed"
        raise ConfigError("unknown_guard", f"there is no {name!r} among the entry points {group}; {known}")
    try:
        return found[name].load()()
    except Exception as error:  # another's code
        raise ConfigError("guard_failed", f"{name} of {group} could not be loaded: {error!r}"[:300]) from error


def _plain(text: str) -> str:
    """Without what hides a word from a list and not from a reader: case, width, ligatures, invisible characters."""
    shown = "".join(letter for letter in unicodedata.normalize("NFKC", text) if unicodedata.category(letter) != "Cf")
    return " ".join(shown.casefold().split())


@lru_cache(maxsize=16)
def _softening(size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights [8, size] that average a side, and [size, 8] that interpolate between the averages."""
    places = (np.arange(size) + 0.5) * _SPOTS / size
    spots = np.arange(_SPOTS) + 0.5
    down = (places[None].astype(int) == np.arange(_SPOTS)[:, None]).astype(np.float32)
    up = np.maximum(0.0, 1.0 - np.abs(places.clip(0.5, _SPOTS - 0.5)[:, None] - spots[None])).astype(np.float32)
    return down / np.maximum(down.sum(axis=1, keepdims=True), 1), up
