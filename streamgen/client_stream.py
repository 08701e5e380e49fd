"""A stream of the Python SDK: one session, over as many connections as it takes. ``client.connect`` makes it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Literal, Self

from websockets.exceptions import ConnectionClosed

from streamgen.client_connections import Connections, Handlers, Policy, State
from streamgen.client_errors import compose, wire_values
from streamgen.client_link import Answer, Link, Received, Request, SnapshotPicture
from streamgen.client_reference import ReferenceKeeper
from streamgen.client_sender import INLINE_PIXELS, Sender
from streamgen.client_statistics import Counter, Statistics
from streamgen.errors import SessionError
from streamgen.frames import Output, Pixels
from streamgen.protocol import (
    Pause,
    Paused,
    Referenced,
    Reformat,
    Reformatted,
    Resume,
    Resumed,
    Stats,
    StatsReport,
    Switch,
    Switched,
    Update,
    Updated,
    Welcome,
)
from streamgen.settings import FrameFormat, StreamSettings

__all__ = ["Stream", "named"]


class Stream:
    """A session as seen by its publisher or a viewer. Made by ``connect``; use it in ``async with``, from one loop."""

    def __init__(self, policy: Policy, handlers: Handlers, send_quality: int, request_timeout_s: float) -> None:
        self._role = policy.hello.role
        self._reconnects = policy.reconnect
        self._request_timeout_s = request_timeout_s
        self._counter = Counter()
        self._sender = Sender(send_quality, lambda: self.settings.max_fps, self._counter)
        self._reference = ReferenceKeeper()
        self._paused = False
        self._unseen: Received | None = None
        self._to_see = asyncio.Event()  # set: something to see, or the end
        self._connections = Connections(
            policy, handlers, self._counter, self._send_frames, self._on_output, self._to_see.set
        )

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            StreamgenError: ``unreachable``, a refused setting, a session that does not exist, ...
        """
        await self._connections.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def session(self) -> str:
        """The session's name; an overlay views it under that name."""
        return self.welcome.session

    @property
    def welcome(self) -> Welcome:
        """What the server said of itself and of the session when it was joined last; its model, LoRAs and format are
        those of now."""
        return self._connections.welcome

    @property
    def settings(self) -> StreamSettings:
        """The settings in force, as last heard."""
        return self._connections.settings

    @property
    def format(self) -> FrameFormat:
        """Size and fit of the outputs, as last heard."""
        return self.welcome.format

    @property
    def state(self) -> State:
        """``connecting``, ``open``, ``reconnecting`` or ``closed``."""
        return self._connections.state

    @property
    def paused(self) -> bool:
        """Whether ``pause`` is in force."""
        return self._paused

    @property
    def round_trip_ms(self) -> float | None:
        """To the server and back, as last measured; None before."""
        link = self._connections.link
        return None if link is None else link.round_trip_ms

    @property
    def statistics(self) -> Statistics:
        """What this stream counted and measured so far; ``stats()`` asks the server for its own figures."""
        return self._counter.report(time.monotonic(), self.round_trip_ms)

    async def send(self, frame: Pixels, captured_us: int | None = None) -> int:
        """Send the newest frame, soon: one that could not be sent yet is replaced. Copies the pixels.

        Args:
            frame: uint8 [H, W, 3] RGB of any size up to 4 megapixels.
            captured_us: when it was captured, Unix microseconds; now, unless given.

        Returns:
            The frame's number, counted from 0; the output made of it has it as ``seq``.

        Raises:
            CodecError: ``bad_pixels`` or ``frame_too_large``.
            SessionError: the stream is closed, or this is a viewer.
        """
        self._connections.check_alive()
        if self._role != "publish":
            raise SessionError("not_publisher", f"the role {self._role} sends no frames")
        number = self._sender.put(frame, captured_us)
        await asyncio.sleep(0)  # lets the sending task run even in a caller's tight loop
        return number

    async def update(self, **settings: Any) -> Updated:
        """Change live settings; returns once they are in force, with how well the model understood the prompt.

        Raises:
            SettingsError: ``invalid_settings`` or ``unknown_setting``, with ``field``; nothing was changed.
            SessionError: the connection was lost, or did not answer in time.
        """
        return await self._ask(Update(settings=wire_values(settings)), Updated)

    async def reformat(
        self,
        width: int | None = None,
        height: int | None = None,
        fit: Literal["cover", "contain"] | None = None,
        upscale: Literal[1, 2, 4] | None = None,
        *,
        timeout_s: float | None = None,
    ) -> FrameFormat:
        """Change the shape of the outputs, or how much of it the upscaler makes; returns once it is in force. Those of
        the old shape come until then.

        Args:
            timeout_s: how long to wait; None for as long as compiling takes, which depends on the backend.

        Raises:
            SettingsError: ``invalid_settings``, with ``field``; nothing was changed.
            SessionError: ``superseded`` by another call, ``not_publisher``, or the connection was lost.
        """
        wanted = wire_values(named(width=width, height=height, fit=fit, upscale=upscale))
        request = Reformat(format=wanted)
        return (await self._ask_within(timeout_s, request, Reformatted)).format

    async def reference(self, pixels: Pixels | None) -> None:
        """Steer by another reference picture, or by none; returns once it is in force, from the next frame on. It stays
        until another one comes, over lost connections too; the setting ``reference_scale`` says how strongly it steers.

        Args:
            pixels: uint8 [H, W, 3] RGB of any size from 16x16. It travels as a JPEG of at most 512 pixels a side.

        Raises:
            SettingsError: ``no_reference`` when the model takes none, see ``welcome.reference``.
            CodecError: ``bad_pixels`` or ``bad_image``.
            SessionError: ``superseded`` by another call, ``not_publisher``, or the connection was lost.
        """
        await self._reference.ask(pixels, lambda request: self._ask(request, Referenced))

    async def switch(
        self, model: str, loras: Sequence[str] | None = None, *, timeout_s: float | None = None
    ) -> Switched:
        """Have the server load one of ``welcome.models``, for every session it serves; returns once it is in force.
        The present model goes on until then. Settings that the new one cannot do are fitted to it.

        Args:
            model: its name.
            loras: names of those of its LoRAs to load; None for all of them.
            timeout_s: how long to wait; None for as long as loading takes.

        Raises:
            ConfigError: ``unknown_model``, ``unknown_lora``, or what keeps the model from being loaded.
            SessionError: ``switch_pending``, ``not_publisher``, or the connection was lost.
        """
        request = compose(Switch, model=model, loras=None if loras is None else tuple(loras))
        return await self._ask_within(timeout_s, request, Switched)

    async def stats(self) -> StatsReport:
        """The server's counters of this session."""
        return await self._ask(Stats(), StatsReport)

    async def snapshot(self) -> SnapshotPicture:
        """The newest output, losslessly, as a PNG file.

        Raises:
            SessionError: ``no_output_yet``.
        """
        async with _within(self._request_timeout_s):
            return await (await self._connections.connected()).snapshot()

    async def pause(self) -> None:
        """Publisher: stop computing, frames sent meanwhile are dropped. Viewer: stop receiving."""
        self._paused = True
        await self._ask_or_reconnect(Pause(), Paused)

    async def resume(self) -> None:
        """End a pause."""
        self._paused = False
        await self._ask_or_reconnect(Resume(), Resumed)

    async def close(self) -> None:
        """End the session (publisher) or leave it (viewer). Iteration ends. A server that does not answer is left after
        a second."""
        await self._connections.close()

    def __aiter__(self) -> AsyncIterator[Output]:
        return self

    async def __anext__(self) -> Output:
        """The newest output that was not handed out yet; waits for one.

        Raises:
            StreamgenError: what ended the stream for good; StopAsyncIteration after ``close()``.
        """
        output = await self.receive()
        if output is None:
            raise StopAsyncIteration
        return output

    async def receive(self, timeout_s: float | None = None) -> Output | None:
        """The newest output that was not handed out yet; None after ``close()``, or when none came in time.

        Args:
            timeout_s: how long to wait for one; 0 takes only what is there already, None waits for as long as it takes.

        Raises:
            StreamgenError: what ended the stream for good.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while self._unseen is None:
                    if self._connections.over:
                        break
                    self._to_see.clear()
                    await self._to_see.wait()
        except TimeoutError:
            return None
        received, self._unseen = self._unseen, None
        if received is not None:
            return await self._hand_out(received)
        if self._connections.failure is not None:
            raise self._connections.failure
        return None

    async def _hand_out(self, received: Received) -> Output:
        await received.link.acknowledge(received.header)
        header = received.header
        small = header.width * header.height <= INLINE_PIXELS
        output = received.decode() if small else await asyncio.to_thread(received.decode)
        late_ms = time.time() * 1000 - header.captured_us / 1000 if received.mine else None
        self._counter.handed_out(time.monotonic(), late_ms)
        return output

    async def _send_frames(self, link: Link) -> None:
        try:
            if self._paused:
                await link.ask(Pause(), Paused)
            await self._reference.ask_again(link)
            await self._sender.run(link)
        except (ConnectionClosed, SessionError):
            return  # listen() reports it

    def _on_output(self, received: Received) -> None:
        self._counter.received += 1
        self._unseen = received
        self._to_see.set()

    # ------------------------------------------------------------------------------------------------------ requests

    async def _ask(self, request: Request, kind: type[Answer]) -> Answer:
        return await self._ask_within(self._request_timeout_s, request, kind)

    async def _ask_within(self, timeout_s: float | None, request: Request, kind: type[Answer]) -> Answer:
        async with _within(timeout_s):
            return await (await self._connections.connected()).ask(request, kind)

    async def _ask_or_reconnect(self, request: Request, kind: type[Answer]) -> None:
        """Ask for what the next connection is told anyway."""
        try:
            await self._ask(request, kind)
        except SessionError as error:
            if error.code != "connection_lost" or not self._reconnects:
                raise


@asynccontextmanager
async def _within(timeout_s: float | None) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError:
        raise SessionError("no_answer", f"the server did not answer within {timeout_s:g} s", retryable=True) from None


def named(**fields: Any) -> dict[str, Any]:
    """Those fields that were given."""
    return {name: value for name, value in fields.items() if value is not None}
