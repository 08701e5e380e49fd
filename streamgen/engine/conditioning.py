"""Prompts as tensors: the cache, the weighted blend, and the transition from one to the next."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from streamgen.models.base import Conditioning, Model
from streamgen.settings import Reading, StreamSettings

__all__ = ["PromptCache", "Transition", "mix", "read_prompts"]

_CACHED_BYTES = 256 * 2**20


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
        self._encoded: OrderedDict[tuple[str, tuple[tuple[str, float], ...]], Conditioning] = OrderedDict()

    def encode(self, settings: StreamSettings) -> Conditioning:
        """The conditioning, unbatched, of the prompts, their weights and the LoRAs in ``settings``."""
        prompts = settings.weighted_prompts()
        loras = self._model.lora_weights(settings)
        return mix([(self._encode(prompt, loras), weight) for prompt, weight in prompts])

    def encode_negative(self, settings: StreamSettings) -> Conditioning:
        """The conditioning, unbatched, of the negative prompt."""
        return self._encode(settings.negative_prompt, self._model.lora_weights(settings))

    def _encode(self, prompt: str, loras: dict[str, float]) -> Conditioning:
        key = (prompt, tuple(sorted(loras.items())))  # all that changes the result
        if key not in self._encoded:
            self._encoded[key] = self._model.encode_prompt(prompt, loras)
            self._bytes += _bytes(self._encoded[key])
            while self._bytes > self._capacity and len(self._encoded) > 1:
                self._bytes -= _bytes(self._encoded.popitem(last=False)[1])
        self._encoded.move_to_end(key)
        return self._encoded[key]


def _bytes(cond: Conditioning) -> int:
    return sum(tensor.nbytes for tensor in cond.values())


@dataclass(frozen=True, slots=True)
class Transition:
    """A linear fade between two conditionings.

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
        return mix([(self.start, 1.0 - done), (self.end, done)])


def mix(entries: Sequence[tuple[Conditioning, float]]) -> Conditioning:
    """Weighted sum of conditionings whose weights sum to 1."""
    if len(entries) == 1:
        return entries[0][0]
    names = entries[0][0]
    return {name: sum(cond[name] * weight for cond, weight in entries) for name in names}  # type: ignore[misc]


def read_prompts(model: Model, settings: StreamSettings) -> Reading | None:
    """How ``model`` read the prompts in force; None when it cannot tell."""
    understood = 0.0
    styles: dict[str, float] = {}
    for prompt, weight in settings.weighted_prompts():
        reading = model.read_prompt(prompt)
        if reading is None:
            return None
        understood += weight * reading.understood
        for name, share in reading.styles.items():
            styles[name] = styles.get(name, 0.0) + weight * share
    return Reading(understood, styles)
