"""What a loaded model allows of the live settings. Asked by the server before it says yes, and by the engine."""

from __future__ import annotations

from collections.abc import Collection

from streamgen.errors import SettingsError
from streamgen.settings import StreamSettings

__all__ = ["check_settings", "fit_settings"]


def check_settings(settings: StreamSettings, max_steps: int, loras: Collection[str]) -> None:
    """Say no to settings that a model cannot do.

    Args:
        max_steps: most denoising steps of the model.
        loras: names of those it has loaded.

    Raises:
        SettingsError: ``invalid_settings``, field ``steps`` or ``loras``.
    """
    if settings.steps > max_steps:
        raise SettingsError("invalid_settings", f"steps must be 1 to {max_steps}, got {settings.steps}", field="steps")
    for name in settings.loras:
        if name not in loras:
            known = ", ".join(sorted(loras)) or "none"
            raise SettingsError("invalid_settings", f"there is no LoRA named {name!r}; loaded: {known}", field="loras")


def fit_settings(settings: StreamSettings, max_steps: int, loras: Collection[str]) -> StreamSettings:
    """The nearest settings that a model can do: steps cut to its maximum, LoRAs that it lacks left out."""
    kept = {name: weight for name, weight in settings.loras.items() if name in loras}
    if settings.steps <= max_steps and len(kept) == len(settings.loras):
        return settings
    return settings.model_copy(update={"steps": min(settings.steps, max_steps), "loras": kept})
