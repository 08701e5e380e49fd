"""streamgen: live video in, stylised live video out.

Importing this package imports no torch; every public name is loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamgen.client import Stream, connect
    from streamgen.client_sync import SyncStream, connect_sync
    from streamgen.errors import StreamgenError
    from streamgen.frames import Frame, Output, Timing
    from streamgen.settings import FrameFormat, StreamSettings

__all__ = [
    "Frame",
    "FrameFormat",
    "Output",
    "Stream",
    "StreamSettings",
    "StreamgenError",
    "SyncStream",
    "Timing",
    "__version__",
    "connect",
    "connect_sync",
]

__version__ = "0.1.0"

_HOMES = {
    "Frame": "frames",
    "FrameFormat": "settings",
    "Output": "frames",
    "Stream": "client",
    "StreamSettings": "settings",
    "StreamgenError": "errors",
    "SyncStream": "client_sync",
    "Timing": "frames",
    "connect": "client",
    "connect_sync": "client_sync",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
