"""``GET /mjpeg/{session}``: a session as Motion JPEG, for whatever shows a URL: VLC, ffmpeg, OpenCV, an ``<img>``.

A reader counts as a viewer. It gets the newest picture whenever it has taken the one before, never a queue, and the
bytes are those that other viewers get, encoded once for all. One that takes nothing for a while is cut off.
"""

from __future__ import annotations

import asyncio
import math

from fastapi import FastAPI, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from streamgen.errors import ProtocolError, SessionError, StreamgenError
from streamgen.protocol import Close, Hello
from streamgen.server.house import House
from streamgen.server.http_transport import DirectHttp
from streamgen.server.outbox import Delivery, End, Outbox
from streamgen.server.picture import Picture
from streamgen.server.refusal import refusal
from streamgen.server.session import Session
from streamgen.wire import Codec

__all__ = ["add_mjpeg"]

_BOUNDARY = b"streamgen"
_PART = b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b\r\n--" + _BOUNDARY
_HEADERS = [
    (b"content-type", b"multipart/x-mixed-replace; boundary=" + _BOUNDARY),
    (b"cache-control", b"no-store"),
    (b"connection", b"close"),
    (b"x-accel-buffering", b"no"),  # nginx would collect pictures
]
_PATIENCE = 10
"""Sends that may take ``send_timeout_s`` on end. More than a WebSocket is granted, which can connect again by itself:
an ``<img>`` that is cut off stays so."""
_REPEAT_S = 0.25
"""A picture that nothing follows is sent again after so long: Chromium paints a part when the next one begins."""
_KEEP_ALIVE_S = 5.0
"""And then every so often: the only way to learn that a reader has vanished, and proxies and players take a long
silence for the end."""
_FPS = (0.1, 240.0)
_LOOK_S = 0.25


def add_mjpeg(app: FastAPI, house: House) -> None:
    """Add the route, for GET and HEAD."""

    @app.head("/mjpeg/{session}", include_in_schema=False)
    @app.get(
        "/mjpeg/{session}",
        tags=["streams"],
        summary="A session's pictures as Motion JPEG; ?fps= limits their rate",
        response_class=Response,
        responses={200: {"content": {"multipart/x-mixed-replace": {}}}, 404: {"description": "No such session."}},
    )
    async def mjpeg(session: str, request: Request, fps: str | None = None) -> Response:
        try:
            grant = house.admit(request)
            grant.check("view", session)
            if house.sessions.get(session) is None:
                raise SessionError("no_such_session", f"there is no session named {session!r}", retryable=True)
            return _Reader(house, session, 0.0 if fps is None else 1 / _rate(fps), grant.seconds)
        except StreamgenError as error:
            return refusal(error, "Basic")


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    least, most = _FPS
    if not least <= rate <= most:
        raise ProtocolError("invalid_message", f"fps must be {least:g} to {most:g}, got {text!r}", field="fps")
    return rate


class _Reader(Response):
    """The endless response to one reader.

    Args:
        interval_s: the least time between two pictures.
        granted_s: how long it may go on; None for as long as the reader likes.
    """

    def __init__(self, house: House, name: str, interval_s: float, granted_s: float | None) -> None:
        self.status_code, self.raw_headers, self.background = 200, _HEADERS, None
        self._house = house
        self._name = name
        self._interval_s = interval_s
        self._granted_s = granted_s
        self._patience_s = _PATIENCE * house.config.send_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        outbox = self._house.sessions.connect()
        session: Session | None = None
        ends = self._end_in_time(outbox)
        try:
            session = self._house.sessions.view(Hello(role="view", session=self._name), outbox)
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if scope["method"] != "HEAD":
                self._show_newest(session, outbox)
                await self._send_until_gone(outbox, scope, receive, send)
        except StreamgenError as error:  # nothing has been sent yet
            await refusal(error, "Basic")(scope, receive, send)
        else:
            await send({"type": "http.response.body", "body": b""})
        finally:
            if ends is not None:
                ends.cancel()
            self._house.sessions.disconnect(outbox, session)

    def _end_in_time(self, outbox: Outbox) -> asyncio.TimerHandle | None:
        """End the response when its reader's token does; None where that has no end."""
        if self._granted_s is None:
            return None
        reason = "the access token's time is over"
        return asyncio.get_running_loop().call_later(self._granted_s, outbox.end, Close.TOKEN_EXPIRED, reason)

    def _show_newest(self, session: Session, outbox: Outbox) -> None:
        """A session that rests has a picture to show, too."""
        if session.newest is not None:
            newest = Picture(session.newest, session.settings.quality, self._house.pool, session.stages)
            outbox.offer(newest, gap=True)

    async def _send_until_gone(self, outbox: Outbox, scope: Scope, receive: Receive, send: Send) -> None:
        connection: DirectHttp = scope["state"]["connection"]
        connection.hold_little()
        sending = asyncio.create_task(self._send_all(outbox, send))
        gone = asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait((sending, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sending.cancel()
            gone.cancel()
            await asyncio.wait((sending, gone))
        if not sending.cancelled() and isinstance(sending.exception(), TimeoutError):
            connection.abort()
        elif not sending.cancelled():
            sending.result()

    async def _send_all(self, outbox: Outbox, send: Send) -> None:
        """Raises:
        TimeoutError: the reader takes nothing.
        """
        loop = asyncio.get_running_loop()
        await self._send(b"--" + _BOUNDARY, send)
        part, silence_s = b"", None
        while not isinstance(item := await _next(outbox, silence_s), End):
            if isinstance(item, Delivery):
                due_s = loop.time() + self._interval_s
                payload = (await item.picture.encoded(Codec.JPEG)).payload
                part = b"\r\n" + _PART % (len(payload), payload)
                await self._send(part, send)
                outbox.acknowledged(item.seq)
                while (left_s := due_s - loop.time()) > 0 and not outbox.ended:
                    await asyncio.sleep(min(left_s, _LOOK_S))
                silence_s = _REPEAT_S
            elif item is None:
                await self._send(part, send)
                silence_s = _KEEP_ALIVE_S
        await self._send(b"--", send)  # ffmpeg takes a line end here for a broken header

    async def _send(self, data: bytes, send: Send) -> None:
        """Send, and wait until it is on its way: only then the next picture is chosen."""
        async with asyncio.timeout(self._patience_s):
            await send({"type": "http.response.body", "body": data, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": True})


async def _next(outbox: Outbox, silence_s: float | None) -> str | bytes | Delivery | End | None:
    """What comes next; None when nothing comes for so long."""
    try:
        async with asyncio.timeout(silence_s):
            return await outbox.next()
    except TimeoutError:
        return None


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
