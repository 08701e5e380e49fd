"""Pictures on their way out: encoded in a small thread pool, once for all who want the same bytes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from streamgen.codec import encode, flatten
from streamgen.frames import Output, Pixels
from streamgen.metrics import StageTimes
from streamgen.wire import Codec

__all__ = ["CodecPool", "Encoded", "Picture"]

_T = TypeVar("_T")


class CodecPool:
    """The threads that decode and encode. Call ``close()`` when done.

    JPEG at 512x512 takes half a millisecond: a thread each way serves a dozen sessions and leaves the device its cores.
    Each way has its own, because pictures to decode come from outside and may be made to take long.
    """

    def __init__(self) -> None:
        self._decoding = ThreadPoolExecutor(1, thread_name_prefix="streamgen-decode")
        self._encoding = ThreadPoolExecutor(1, thread_name_prefix="streamgen-encode")

    def decode(self, call: Callable[..., _T], *arguments: object) -> asyncio.Future[_T]:
        """Run ``call`` in the decoding thread. Must be called on the event loop."""
        return asyncio.get_running_loop().run_in_executor(self._decoding, call, *arguments)

    def encode(self, call: Callable[..., _T], *arguments: object) -> asyncio.Future[_T]:
        """Run ``call`` in the encoding thread. Must be called on the event loop."""
        return asyncio.get_running_loop().run_in_executor(self._encoding, call, *arguments)

    def close(self) -> None:
        for threads in (self._decoding, self._encoding):
            threads.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True, slots=True)
class Encoded:
    """Bytes of one picture, and what they cost."""

    payload: bytes
    encode_ms: float


class Picture:
    """One output, shared by all subscribers of a session. Nothing is encoded before somebody asks.

    Args:
        output: the picture itself.
        quality: of JPEG.
        pool: where it is encoded.
        stages: where the time that takes is recorded.
    """

    __slots__ = ("_encodings", "_pool", "_quality", "_stages", "output")

    def __init__(self, output: Output, quality: int, pool: CodecPool, stages: StageTimes) -> None:
        self.output = output
        self._quality = quality
        self._pool = pool
        self._stages = stages
        self._encodings: dict[tuple[Codec, bool], asyncio.Future[Encoded]] = {}

    @property
    def has_alpha(self) -> bool:
        return bool(self.output.pixels.shape[2] == 4)

    async def encoded(self, codec: Codec, alpha: bool = False) -> Encoded:
        """The picture's bytes. The first caller of a codec starts the encoding, the others wait for the same.

        Args:
            codec: JPEG or raw.
            alpha: pack the alpha that the picture has; else it is shown over black.
        """
        wanted = (codec, alpha and self.has_alpha)
        if wanted not in self._encodings:
            encoding = self._pool.encode(_encode, self.output.pixels, *wanted, self._quality)
            encoding.add_done_callback(self._record)
            self._encodings[wanted] = encoding
        # Shielded: a subscriber that disconnects meanwhile must not cancel the others' bytes.
        return await asyncio.shield(self._encodings[wanted])

    def record_encoding(self, encode_ms: float) -> None:
        """Note what it took to encode the picture elsewhere, as video."""
        self._stages.record(encode_ms=encode_ms)

    def _record(self, encoding: asyncio.Future[Encoded]) -> None:
        if not encoding.cancelled() and encoding.exception() is None:
            self.record_encoding(encoding.result().encode_ms)


def _encode(pixels: Pixels, codec: Codec, alpha: bool, quality: int) -> Encoded:
    started_s = time.perf_counter()
    payload = encode(pixels if alpha or pixels.shape[2] == 3 else flatten(pixels), codec, quality)
    return Encoded(payload, (time.perf_counter() - started_s) * 1000)
