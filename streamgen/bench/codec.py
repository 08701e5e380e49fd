"""JPEG, as the server and the SDK use it: milliseconds a frame each way."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from streamgen.bench.figures import spread
from streamgen.bench.pictures import moving_pictures
from streamgen.codec import decode, encode
from streamgen.settings import StreamSettings
from streamgen.wire import Codec

__all__ = ["measure_codec"]

_PICTURES = 24


def measure_codec(side: int, seconds: float) -> dict[str, Any]:
    """Encode and decode ``side`` x ``side`` pictures at the default quality for ``seconds`` each way."""
    quality = StreamSettings().quality
    pictures = moving_pictures(side, side, _PICTURES)
    encoded = [encode(picture, Codec.JPEG, quality) for picture in pictures]
    return {
        "size": f"{side}x{side}",
        "quality": quality,
        "kilobytes": round(sum(map(len, encoded)) / len(encoded) / 1000, 1),
        "encode_ms": _times(lambda index: encode(pictures[index], Codec.JPEG, quality), seconds),
        "decode_ms": _times(lambda index: decode(Codec.JPEG, encoded[index], side, side), seconds),
    }


def _times(call: Callable[[int], object], seconds: float) -> dict[str, float]:
    times_ms: list[float] = []
    while sum(times_ms) < 1000 * seconds:
        began_s = time.perf_counter()
        call(len(times_ms) % _PICTURES)
        times_ms.append(1000 * (time.perf_counter() - began_s))
    return spread(times_ms)
