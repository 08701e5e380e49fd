"""Outputs that a test has the fake worker make, and can tell apart."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np

from streamgen.frames import Output, Pixels
from tests.server.conftest import Peer, Running
from tests.server.fake import FakeWorker

__all__ = ["flowing", "mark_of", "marked", "show"]


def marked(mark: int, side: int = 512) -> Pixels:
    """Noise, which makes a large JPEG, and a grey of ``mark`` at the right."""
    pixels = np.random.default_rng(mark).integers(0, 256, (side, side, 3), np.uint8)
    pixels[:, side // 2 :] = mark
    return pixels


def mark_of(pixels: Pixels) -> int:
    return round(float(pixels[:, -64:].mean()))


def show(server: Running | FakeWorker, pixels: Pixels, session: str = "cam") -> None:
    """The worker reports an output of these pixels."""
    worker = server if isinstance(server, FakeWorker) else server.worker
    worker.opened[session].listener.on_output(Output(pixels), gap=False)


@asynccontextmanager
async def flowing(
    server: Running | FakeWorker, peer: Peer, *pictures: Pixels, session: str = "cam"
) -> AsyncIterator[None]:
    """Outputs of the publisher's session, in turns, each as soon as it has seen the one before."""

    async def flow() -> None:
        for pixels in itertools.cycle(pictures):
            show(server, pixels, session)
            header, _ = await peer.see()
            await peer.say("ack", seq=header.seq)

    task = asyncio.create_task(flow())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
