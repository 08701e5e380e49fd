"""The Python SDK for programs without an event loop: the same stream, by plain calls.

::

    with streamgen.connect_sync("ws://127.0.0.1:8188/ws", prompt="pencil sketch") as stream:
        stream.send(frame)              # uint8 [H, W, 3] RGB
        output = next(stream)           # output.pixels, output.seq, output.timing, ...

The stream lives on an event loop in a thread of its own, so that it receives, acknowledges and reconnects while the
program computes or waits for its camera.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from types import TracebackType
from typing import Any, Literal, ParamSpec, Self, TypeVar

from streamgen.client import connect
from streamgen.client_connections import State
from streamgen.client_link import SnapshotPicture
from streamgen.client_statistics import Statistics
from streamgen.client_stream import Stream
from streamgen.errors import SessionError
from streamgen.frames import Output, Pixels
from streamgen.protocol import StatsReport, Switched, Updated, Welcome
from streamgen.settings import FrameFormat, StreamSettings

__all__ = ["SyncStream", "connect_sync"]

_CLOSE_S = 1.6
"""A little more than an asyncio stream takes at most."""
_REST_S = 0.2
"""For what is left on the loop, such as the requests of other threads, to hear that it is over."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


class SyncStream:
    """A ``Stream`` by plain calls, from any thread. Made by ``connect_sync``; use it in ``with``.

    Every method does what that of ``Stream`` with its name does, and raises what it raises.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._open = False
        self._guard = threading.Lock()  # what is asked for before the loop stops is answered or cancelled

    def __enter__(self) -> Self:
        """Connect. Raises as ``Stream``."""
        self._loop = asyncio.new_event_loop()
        # A daemon: a program that forgets to close the stream ends all the same.
        self._thread = threading.Thread(target=_run, args=(self._loop,), name="streamgen-client", daemon=True)
        self._thread.start()
        self._open = True
        try:
            self._wait(self._stream.__aenter__())
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the session (publisher) or leave it (viewer). Returns within two seconds, whatever the server does;
        calls that other threads wait in raise ``closed`` or ``connection_lost``."""
        loop, thread = self._loop, self._thread
        with self._guard:
            was_open, self._open = self._open, False
        if not was_open or loop is None or thread is None:
            return
        closing = asyncio.run_coroutine_threadsafe(self._stream.close(), loop)
        try:
            closing.result(_CLOSE_S)
        except TimeoutError:
            closing.cancel()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(2 * _REST_S)

    # ---------------------------------------------------------------------------------------------------------- frames

    def send(self, frame: Pixels, captured_us: int | None = None) -> int:
        return self._wait(self._stream.send(frame, captured_us))

    def receive(self, timeout_s: float | None = None) -> Output | None:
        return self._wait(self._stream.receive(timeout_s))

    def __iter__(self) -> Iterator[Output]:
        return self

    def __next__(self) -> Output:
        """The newest output that was not handed out yet; waits for one. ``StopIteration`` after ``close()``."""
        output = self.receive()
        if output is None:
            raise StopIteration
        return output

    # -------------------------------------------------------------------------------------------------------- requests

    def update(self, **settings: Any) -> Updated:
        return self._wait(self._stream.update(**settings))

    def reformat(
        self,
        width: int | None = None,
        height: int | None = None,
        fit: Literal["cover", "contain"] | None = None,
        upscale: Literal[1, 2, 4] | None = None,
        *,
        timeout_s: float | None = None,
    ) -> FrameFormat:
        return self._wait(self._stream.reformat(width, height, fit, upscale, timeout_s=timeout_s))

    def reference(self, pixels: Pixels | None) -> None:
        self._wait(self._stream.reference(pixels))

    def switch(self, model: str, loras: Sequence[str] | None = None, *, timeout_s: float | None = None) -> Switched:
        return self._wait(self._stream.switch(model, loras, timeout_s=timeout_s))

    def stats(self) -> StatsReport:
        return self._wait(self._stream.stats())

    def snapshot(self) -> SnapshotPicture:
        return self._wait(self._stream.snapshot())

    def pause(self) -> None:
        self._wait(self._stream.pause())

    def resume(self) -> None:
        self._wait(self._stream.resume())

    # ------------------------------------------------------------------------------------------------------- as it is

    @property
    def session(self) -> str:
        return self._stream.session

    @property
    def welcome(self) -> Welcome:
        return self._stream.welcome

    @property
    def settings(self) -> StreamSettings:
        return self._stream.settings

    @property
    def format(self) -> FrameFormat:
        return self._stream.format

    @property
    def state(self) -> State:
        return self._stream.state

    @property
    def paused(self) -> bool:
        return self._stream.paused

    @property
    def round_trip_ms(self) -> float | None:
        return self._stream.round_trip_ms

    @property
    def statistics(self) -> Statistics:
        return self._stream.statistics

    def _wait(self, asked: Coroutine[Any, Any, _T]) -> _T:
        """Have it done on the stream's thread."""
        if threading.current_thread() is self._thread:
            asked.close()
            raise SessionError("own_thread", "a handler of the stream cannot wait for the stream")
        with self._guard:
            if not self._open or self._loop is None:
                asked.close()
                raise SessionError("closed", "the stream is not open: use it inside its `with`")
            waiting = asyncio.run_coroutine_threadsafe(asked, self._loop)
        try:
            return waiting.result()
        except concurrent.futures.CancelledError:
            raise SessionError("closed", "the stream was closed") from None
        except BaseException:
            waiting.cancel()  # the caller was interrupted: nobody waits for it any more
            raise


def _run(loop: asyncio.AbstractEventLoop) -> None:
    """The stream's thread: until the loop is stopped, then what is left on it is cancelled."""
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=_REST_S))
    finally:
        loop.close()


def _like(original: Callable[_P, Stream]) -> Callable[[Callable[..., SyncStream]], Callable[_P, SyncStream]]:
    """Gives type checkers and editors the parameters of another function."""
    return lambda made: made


@_like(connect)
def connect_sync(url: str, **options: Any) -> SyncStream:
    """As ``connect``, with all its parameters, for programs without an event loop: a stream to use in ``with``.
    Handlers and an async token function run on the stream's own thread."""
    return SyncStream(connect(url, **options))
