"""Prompts as tensors: the cache, the weighted blend, and the transition from one to the next."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from streamgen.models.base import Conditioning, Model
from streamgen.settings import Reading, StreamSettings

__all__ = ["PromptCache", "Transition", "mix", "negative_words", "read_prompts", "slerp"]

_CACHED_BYTES = 256 * 2**20
_PARALLEL = 0.9995
_SHORT = 1e-6


class PromptCache:
    """Encoded prompts of one model, least recently used out first.

    Args:
        model: encodes.
        capacity: bytes that may be held beyond the prompt used last.
    """

    def __init__(self, model: Model, capacity: int = _CACHED_BYTES) -> None:
        self._model = model
        self._capacity = capacity
        self._bytes = 0
        self._encoded: OrderedDict[tuple[str, str, tuple[tuple[str, float], ...]], Conditioning] = OrderedDict()

    def forget(self) -> None:
        """Encode everything anew when it is asked for again."""
        self._encoded.clear()
        self._bytes = 0

    def encode(self, settings: StreamSettings) -> Conditioning:
        """The conditioning, unbatched, of the prompts, their weights and the LoRAs in ``settings``."""
        prompts, negative = settings.weighted_prompts(), negative_words(self._model, settings)
        loras = self._model.lora_weights(settings)
        return mix([(self._encode(prompt, loras, negative), weight) for prompt, weight in prompts])

    def encode_negative(self, settings: StreamSettings) -> Conditioning:
        """The conditioning, unbatched, of the negative prompt."""
        return self._encode(settings.negative_prompt, self._model.lora_weights(settings))

    def _encode(self, prompt: str, loras: dict[str, float], negative: str = "") -> Conditioning:
        key = (prompt, negative, tuple(sorted(loras.items())))  # all that changes the result
        if key not in self._encoded:
            self._encoded[key] = self._model.encode_prompt(prompt, loras, negative)
            self._bytes += _bytes(self._encoded[key])
            while self._bytes > self._capacity and len(self._encoded) > 1:
                self._bytes -= _bytes(self._encoded.popitem(last=False)[1])
        self._encoded.move_to_end(key)
        return self._encoded[key]


def _bytes(cond: Conditioning) -> int:
    return sum(tensor.nbytes for tensor in cond.values())


@dataclass(frozen=True, slots=True)
class Transition:
    """A fade between two conditionings at constant speed along the arc from one to the other (`slerp`).

    Args:
        start: what it fades from.
        end: what it fades to.
        start_s: the clock when it began, seconds.
        duration_s: how long it takes; 0 is at once.
    """

    start: Conditioning
    end: Conditioning
    start_s: float = 0.0
    duration_s: float = 0.0

    def is_over(self, now_s: float) -> bool:
        """Whether it has arrived."""
        return now_s >= self.start_s + self.duration_s

    def at(self, now_s: float) -> Conditioning:
        """The conditioning at ``now_s``."""
        if self.is_over(now_s):
            return self.end
        done = max(0.0, (now_s - self.start_s) / self.duration_s)
        return {name: slerp(self.start[name], end, done) for name, end in self.end.items()}


def slerp(start: Tensor, end: Tensor, share: float) -> Tensor:
    """Spherical interpolation (Shoemake 1985) of every vector along the last dimension.

    Directions turn at constant speed and lengths change linearly, so that what lies between two embeddings is as long
    as they are, which the straight line between them is not. Vectors that are nearly parallel, nearly opposed (where no
    arc is the shortest) or nearly zero are interpolated linearly.

    Args:
        start: [..., D] of a floating type.
        end: [..., D] of the same shape and type.
        share: 0 is exactly ``start``, 1 exactly ``end``.
    """
    if share <= 0.0 or share >= 1.0:
        return start if share <= 0.0 else end
    a, b = start.float(), end.float()  # half precision cannot tell small angles
    length_a, length_b = (vector.norm(dim=-1, keepdim=True) for vector in (a, b))
    cosine = (a * b).sum(-1, keepdim=True) / (length_a * length_b).clamp_min(_SHORT**2)
    straight = (cosine.abs() > _PARALLEL) | (length_a < _SHORT) | (length_b < _SHORT)
    angle = torch.acos(cosine.clamp(-_PARALLEL, _PARALLEL))
    toward_a, toward_b = (torch.sin(part * angle) / torch.sin(angle) for part in (1.0 - share, share))
    direction = a * (toward_a / length_a.clamp_min(_SHORT)) + b * (toward_b / length_b.clamp_min(_SHORT))
    arc = direction * torch.lerp(length_a, length_b, share)
    return torch.where(straight, torch.lerp(a, b, share), arc).to(start.dtype)


def mix(entries: Sequence[tuple[Conditioning, float]]) -> Conditioning:
    """Weighted sum of conditionings whose weights sum to 1."""
    if len(entries) == 1:
        return entries[0][0]
    names = entries[0][0]
    return {name: sum(cond[name] * weight for cond, weight in entries) for name in names}  # type: ignore[misc]


def negative_words(model: Model, settings: StreamSettings) -> str:
    """The negative prompt, where it changes what the prompts mean; elsewhere it is for guidance."""
    return settings.negative_prompt if model.reads_negative else ""


def read_prompts(model: Model, settings: StreamSettings) -> Reading | None:
    """How ``model`` read the prompts in force; None when it cannot tell."""
    understood = 0.0
    styles: dict[str, float] = {}
    for prompt, weight in settings.weighted_prompts():
        reading = model.read_prompt(prompt, negative_words(model, settings))
        if reading is None:
            return None
        understood += weight * reading.understood
        for name, share in reading.styles.items():
            styles[name] = styles.get(name, 0.0) + weight * share
    return Reading(understood, styles)
