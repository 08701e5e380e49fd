"""What steers a session's pictures besides its frames, as conditioning tensors."""

from __future__ import annotations

from collections.abc import Iterable

from streamgen.engine.conditioning import PromptCache, Transition, negative_words
from streamgen.engine.state import StreamState
from streamgen.models.base import Conditioning, Model
from streamgen.settings import StreamSettings

__all__ = ["Steering", "guidance_scale"]


class Steering:
    """Makes conditioning of settings and reference pictures. Computes on the model's device.

    Args:
        model: whose conditioning it is.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._prompts = PromptCache(model)

    def refresh(self, states: Iterable[StreamState], now_s: float) -> bool:
        """Look for styles that came or went, and steer to what the prompts mean then; True when some did."""
        if not self._model.refresh():
            return False
        self._prompts.forget()
        for state in states:
            self.turn(state, state.settings, now_s)
            state.negative = self.negative(state.settings)
            state.similarity.forget()
        return True

    def turns(self, former: StreamSettings, settings: StreamSettings) -> bool:
        """Whether the prompts mean something else than before."""
        before, now = (
            (one.weighted_prompts(), one.loras, negative_words(self._model, one)) for one in (former, settings)
        )
        return before != now

    def turn(self, state: StreamState, settings: StreamSettings, now_s: float) -> None:
        """Begin to fade to the prompts of ``settings`` from wherever the session is."""
        start, end = state.transition.at(now_s), self.prompt(settings)
        state.transition = Transition(start, end, now_s, settings.transition_ms / 1000)

    def prompt(self, settings: StreamSettings) -> Conditioning:
        """Of the prompts, their weights and the LoRAs."""
        return self._prompts.encode(settings)

    def negative(self, settings: StreamSettings) -> Conditioning:
        """Of the negative prompt; {} where nothing asks for one, so that none is encoded in vain."""
        mode = "full" if settings.source == "prompt" and settings.guidance_mode == "self" else settings.guidance_mode
        if guidance_scale(self._model, settings) == 1 or mode == "self":
            return {}
        return self._prompts.encode_negative(settings)

    def live(self, settings: StreamSettings) -> Conditioning:
        """Of the other settings."""
        return self._model.live_conditioning(settings)


def guidance_scale(model: Model, settings: StreamSettings) -> float:
    """The scale that is applied between network calls; 1 where the network itself takes it."""
    if model.guides_itself or "guidance" in model.unused_settings:
        return 1.0
    return settings.guidance or model.default_guidance
