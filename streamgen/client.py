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

from streamgen.client_link import SnapshotPicture
from streamgen.client_stream import Stream, named
from streamgen.protocol import Hello

__all__ = ["SnapshotPicture", "Stream", "connect", "full_jitter_s"]


def full_jitter_s(attempt: int) -> float:
    """How long to wait before reconnection ``attempt`` (0, 1, ...): a random time up to 0.5 s doubled each time, at
    most 30 s, so that the clients of a restarted server do not come back all at once."""
    return random.random() * min(30.0, 0.5 * 2.0 ** min(attempt, 10))


def connect(
    url: str,
    *,
    role: Literal["publish", "view"] = "publish",
    session: str | None = None,
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
    **settings: Any,
) -> Stream:
    """A stream to use in ``async with``; entering it connects.

    Args:
        url: of the server's ``/ws``.
        role: ``publish`` sends frames, ``view`` looks at the ``session`` of somebody who does.
        session: the name to publish under, None for a random one; or the one to view.
        width, height, fit: shape of the outputs; multiples of 32 from 128 to 1024, the model's own unless given.
        upscale: how much smaller the model paints, to be enlarged by the upscaler; sides must be multiples of 32 times
            this, from 128 times this.
        codec: how outputs travel: ``jpeg``, or ``raw`` without loss.
        send_quality: JPEG quality of the frames sent.
        reconnect: come back after a lost connection, for as long as it takes.
        connect_timeout_s: for one attempt to connect, which may have to wait for the model to be loaded.
        request_timeout_s: for the answer to any request but ``reformat`` and ``switch``.
        backoff_s: how long to wait before reconnection 0, 1, ...
        settings: fields of ``StreamSettings``, such as ``prompt``, ``strength`` or ``steps``. With ``source="prompt"``
            outputs come without frames being sent.
    """
    publishes = role == "publish"
    hello = Hello(
        role=role,
        session=session,
        codec=codec,
        format=named(width=width, height=height, fit=fit, upscale=upscale) if publishes else {},
        settings=settings if publishes else {},
        alpha=True,
        client="streamgen-python",
    )
    return Stream(url, hello, send_quality, reconnect, connect_timeout_s, request_timeout_s, backoff_s)
