"""Pictures on their way out: encoded in a small thread pool, once for all who want the same bytes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from streamgen.codec import encode
from streamgen.frames import Output
from streamgen.metrics import StageTimes
from streamgen.wire import Codec

__all__ = ["CodecPool", "Encoded", "Picture"]

_T = TypeVar("_T")
_THREADS = 2
"""JPEG at 512x512 takes half a millisecond: two threads serve a dozen sessions and leave the device its cores."""


class CodecPool:
    """The threads that decode and encode. Call ``close()`` when done."""

    def __init__(self, threads: int = _THREADS) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="streamgen-codec")

    def start(self, call: Callable[..., _T], *arguments: object) -> asyncio.Future[_T]:
        """Run ``call`` in a thread. Must be called on the event loop."""
        return asyncio.get_running_loop().run_in_executor(self._threads, call, *arguments)

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)


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
        self._encodings: dict[Codec, asyncio.Future[Encoded]] = {}

    async def encoded(self, codec: Codec) -> Encoded:
        """The picture's bytes. The first caller of a codec starts the encoding, the others wait for the same."""
        if codec not in self._encodings:
            encoding = self._pool.start(_encode, self.output, codec, self._quality)
            encoding.add_done_callback(self._record)
            self._encodings[codec] = encoding
        # Shielded: a subscriber that disconnects meanwhile must not cancel the others' bytes.
        return await asyncio.shield(self._encodings[codec])

    def _record(self, encoding: asyncio.Future[Encoded]) -> None:
        if not encoding.cancelled() and encoding.exception() is None:
            self._stages.record(encode_ms=encoding.result().encode_ms)


def _encode(output: Output, codec: Codec, quality: int) -> Encoded:
    started_s = time.perf_counter()
    payload = encode(output.pixels, codec, quality)
    return Encoded(payload, (time.perf_counter() - started_s) * 1000)
