"""The Python SDK: frames in, stylised frames out, over as many connections as it takes.

::

    async with streamgen.connect("ws://127.0.0.1:8188/ws", prompt="pencil sketch") as stream:
        await stream.send(frame)        # uint8 [H, W, 3] RGB
        output = await anext(stream)    # output.pixels, output.seq, output.timing, ...

Nothing queues: of the frames that cannot be sent yet and of the outputs that nobody took yet, the newest is kept.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Literal

from streamgen.client_connections import Handlers, Policy, State
from streamgen.client_errors import compose, wire_values
from streamgen.client_link import SnapshotPicture
from streamgen.client_statistics import Percentiles, Statistics
from streamgen.client_stream import Stream, named
from streamgen.client_token import Token, TokenSource
from streamgen.errors import StreamgenError
from streamgen.protocol import Hello, Updated, WarningMessage, Welcome

__all__ = ["Percentiles", "SnapshotPicture", "Statistics", "Stream", "connect", "full_jitter_s"]


def full_jitter_s(attempt: int) -> float:
    """How long to wait before reconnection ``attempt`` (0, 1, ...): a random time up to 0.5 s doubled each time, at
    most 30 s, so that the clients of a restarted server do not come back all at once."""
    return random.random() * min(30.0, 0.5 * 2.0 ** min(attempt, 10))


def connect(
    url: str,
    *,
    role: Literal["publish", "view", "control"] = "publish",
    session: str | None = None,
    resume: str | None = None,
    token: Token = None,
    width: int | None = None,
    height: int | None = None,
    fit: Literal["cover", "contain"] | None = None,
    upscale: Literal[1, 2, 4] | None = None,
    codec: Literal["jpeg", "raw"] = "jpeg",
    send_quality: int = 85,
    reconnect: bool = True,
    connect_timeout_s: float = 10.0,
    request_timeout_s: float = 10.0,
    backoff_s: Callable[[int], float] = full_jitter_s,
    client: str = "streamgen-python",
    on_state: Callable[[State, StreamgenError | None], object] | None = None,
    on_welcome: Callable[[Welcome], object] | None = None,
    on_updated: Callable[[Updated], object] | None = None,
    on_warning: Callable[[WarningMessage], object] | None = None,
    on_error: Callable[[StreamgenError], object] | None = None,
    queue: bool = False,
    on_queued: Callable[[int], object] | None = None,
    **settings: Any,
) -> Stream:
    """A stream to use in ``async with``; entering it connects.

    Args:
        url: of the server's ``/ws``.
        role: ``publish`` sends frames, ``view`` looks at the ``session`` of somebody who does, ``control`` may
            change it too.
        session: the name to publish under, None for a random one; or the one to view.
        resume: the token of an earlier ``welcome``: take that session over.
        token: the server's access token, or a function, plain or async, that fetches one: it is called before every
            connection, and at once when the server says that the token has expired.
        width, height, fit: shape of the outputs; multiples of 32 from 128 to 1024, the model's own unless given.
        upscale: how much smaller the model paints, to be enlarged by the upscaler; sides must be multiples of 32 times
            this, from 128 times this.
        codec: how outputs travel: ``jpeg``, or ``raw`` without loss.
        send_quality: JPEG quality of the frames sent.
        reconnect: come back after a lost connection, for as long as it takes.
        connect_timeout_s: for one attempt to connect, which may have to wait for the model to be loaded.
        request_timeout_s: for the answer to any request but ``reformat`` and ``switch``.
        backoff_s: how long to wait before reconnection 0, 1, ...
        client: a name for the server's log.
        on_state: called with ``connecting``, ``open``, ``reconnecting`` or ``closed``, and with what led to it.
        on_welcome: called on every connection.
        on_updated: called when settings took effect, whoever asked for them.
        on_warning: something to know; the session goes on.
        on_error: a frame was refused, or whatever else no call is there to raise.
        queue: on a full server, wait for a place instead of being refused.
        on_queued: called with the position in that line, 1 for the next one, whenever it has changed.
        settings: fields of ``StreamSettings``, such as ``prompt``, ``strength`` or ``steps``. With ``source="prompt"``
            outputs come without frames being sent.

    Raises:
        SettingsError: ``invalid_settings``: a setting or a format that JSON has no word for.
        ProtocolError: ``invalid_message``: a role, a codec, or a session's name that cannot be, with ``field``.
    """
    publishes = role == "publish"
    hello = compose(
        Hello,
        role=role,
        session=session,
        resume=resume,
        codec=codec,
        format=wire_values(named(width=width, height=height, fit=fit, upscale=upscale)) if publishes else {},
        settings=wire_values(settings) if publishes else {},
        alpha=True,
        client=client,
        queue=queue and publishes,
    )
    policy = Policy(url, hello, TokenSource(token), reconnect, connect_timeout_s, backoff_s)
    handlers = Handlers(on_state, on_welcome, on_updated, on_warning, on_error, on_queued)
    return Stream(policy, handlers, send_quality, request_timeout_s)
