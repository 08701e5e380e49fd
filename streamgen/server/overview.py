"""What an operator sees of the sessions: plain values for JSON, and pictures in small."""

from __future__ import annotations

from typing import Any

import numpy as np

from streamgen.codec import encode, flatten
from streamgen.frames import Pixels
from streamgen.server.house import House
from streamgen.server.quality import AS_ASKED
from streamgen.server.session import Session
from streamgen.settings import StreamSettings
from streamgen.wire import Codec

__all__ = ["overview", "thumbnail"]

_WORDS = frozenset({"prompt", "prompts_blend", "negative_prompt"})
"""Settings in which people write: what they ask for is not an operator's business unless it is asked for."""
_THUMBNAIL_SIDE = 256
_THUMBNAIL_QUALITY = 75


def overview(house: House, *, prompts: bool) -> dict[str, Any]:
    """Every session, the one that opened first first.

    Args:
        house: whose sessions.
        prompts: whether to say what people wrote.
    """
    homes = {name: device.name for device in house.worker.devices for name in device.sessions}
    now_s = house.clock()
    return {
        "sessions": [_session(session, homes.get(session.name), now_s, prompts) for session in house.sessions],
        "limit": house.config.max_sessions,
        "queue": len(house.sessions.queue),
    }


def _session(session: Session, device: str | None, now_s: float, prompts: bool) -> dict[str, Any]:
    hidden = frozenset() if prompts else _WORDS
    drops = sum((outbox.drops for outbox in session.subscribers()), session.drops)
    return {
        "name": session.name,
        "age_s": round(now_s - session.opened_s, 1),
        "publisher": session.publisher is not None,
        "viewers": len(session.viewers),
        "device": device,
        "format": session.format.model_dump(mode="json"),
        "rev": session.rev,
        "settings": {name: value for name, value in _changed(session.settings).items() if name not in hidden},
        "given": _given(session),
        "received_fps": round(session.rates.received_fps, 1),
        "computed_fps": round(session.rates.computed_fps, 1),
        "frames_in": session.frames_in,
        "frames_out": session.frames_out,
        "drops": dict(drops),
        "stages": session.stages.percentiles(),
    }


def _changed(settings: StreamSettings) -> dict[str, Any]:
    """Those that are not as they are by default."""
    usual = StreamSettings().model_dump(mode="json")
    return {name: value for name, value in settings.model_dump(mode="json").items() if value != usual[name]}


def _given(session: Session) -> dict[str, int] | None:
    """What the session gets instead of what it asks for; None where it gets just that."""
    given = session.given
    if given == AS_ASKED:
        return None
    format = given.format(session.asked_format)
    return {
        "max_fps": given.rate(session.settings.max_fps),
        "width": format.width,
        "height": format.height,
        "steps": given.settings(session.settings).steps,
    }


def thumbnail(pixels: Pixels) -> bytes:
    """A JPEG of at most 256 pixels a side, made of every so manyth pixel.

    Args:
        pixels: uint8 [H, W, 3], or [H, W, 4] with straight alpha.
    """
    stride = -(-max(pixels.shape[:2]) // _THUMBNAIL_SIDE)
    small = np.ascontiguousarray(pixels[::stride, ::stride])
    return encode(small if small.shape[2] == 3 else flatten(small), Codec.JPEG, _THUMBNAIL_QUALITY)
