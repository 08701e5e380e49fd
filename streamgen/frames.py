"""The picture types that every layer passes along. numpy only."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Frame", "Output", "Pixels", "Timing"]

Pixels = NDArray[np.uint8]
"""uint8 [H, W, 3] RGB, or [H, W, 4] RGB with straight alpha; C-contiguous."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Where one frame spent its time on the server, in milliseconds."""

    queued_ms: float = 0.0
    """From the arrival of the frame to the start of the engine step that took it."""
    engine_ms: float = 0.0
    """The whole engine step: upload, fit, denoise, download."""
    encode_ms: float = 0.0
    """Encoding the output for the wire."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture on its way in.

    Args:
        pixels: uint8 [H, W, 3] RGB.
        seq: the sender's frame number, counted from 0.
        captured_us: the sender's clock at capture, Unix microseconds; echoed, never interpreted.
        received_s: this machine's monotonic clock at arrival, seconds.
    """

    pixels: Pixels
    seq: int = 0
    captured_us: int = 0
    received_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Output:
    """One stylised picture on its way out.

    Args:
        pixels: uint8 [H, W, 3] RGB; [H, W, 4] with straight alpha where the settings ask for it.
        seq: ``Frame.seq`` of the frame it was made from.
        captured_us: ``Frame.captured_us`` of that frame.
        settings_rev: the revision of the settings that made it.
        timing: where the time went.
        warm_up: computed before the fast version of the model was ready for this shape.
        received_s: ``Frame.received_s`` of that frame.
    """

    pixels: Pixels
    seq: int = 0
    captured_us: int = 0
    settings_rev: int = 0
    timing: Timing = field(default_factory=Timing)
    warm_up: bool = False
    received_s: float = 0.0
