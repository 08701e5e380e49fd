"""Eight sessions on one device, each with a prompt of its own."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from streamgen.bench.figures import spread
from streamgen.bench.loopback import Server, running_server
from streamgen.bench.pictures import moving_pictures
from streamgen.config import ServerConfig

__all__ = ["measure_crowd"]

_PROMPTS = ("pencil", "ink", "comic", "neon", "oil", "mosaic", "van gogh", "great wave")
_SIDE = 256
_FPS = 5.0
_WARM_UP_S = 5.0


@dataclass(slots=True)
class _Client:
    prompt: str
    sent: int = 0
    latencies_ms: list[float] = field(default_factory=list)


def measure_crowd(sessions: int = 8, seconds: float = 30.0) -> dict[str, Any]:
    """``sessions`` clients at 5 frames a second each, 256x256, for ``seconds`` after a warm-up.

    Returns:
        The rate that each got, the worst of them as a share of what it sent, and percentiles of glass-to-glass latency
        over all sessions.
    """
    clients = [_Client(_PROMPTS[index % len(_PROMPTS)]) for index in range(sessions)]
    with running_server(ServerConfig()) as server:
        asyncio.run(_all(server, clients, seconds))
    rates = [len(client.latencies_ms) / seconds for client in clients]
    return {
        "sessions": sessions,
        "size": f"{_SIDE}x{_SIDE}",
        "fps_in": _FPS,
        "fps_out": [round(rate, 2) for rate in rates],
        "worst_share": round(min(len(client.latencies_ms) / client.sent for client in clients), 3),
        "glass_to_glass_ms": spread([ms for client in clients for ms in client.latencies_ms]),
        "worst_session_p95_ms": max(spread(client.latencies_ms)["p95"] for client in clients),
    }


async def _all(server: Server, clients: list[_Client], seconds: float) -> None:
    begin_s = time.monotonic() + _WARM_UP_S
    # They do not send in step: cameras do not either.
    await asyncio.gather(
        *(
            _one(server, client, begin_s, seconds, offset_s=index / len(clients) / _FPS)
            for index, client in enumerate(clients)
        )
    )


async def _one(server: Server, client: _Client, begin_s: float, seconds: float, offset_s: float) -> None:
    import streamgen

    pictures = moving_pictures(_SIDE, _SIDE)
    async with streamgen.connect(
        server.url, width=_SIDE, height=_SIDE, reconnect=False, prompt=client.prompt
    ) as stream:
        receiving = asyncio.create_task(_receive(stream, client, begin_s, seconds))
        first_s = time.monotonic() + offset_s
        for tick in range(int((begin_s + seconds - first_s) * _FPS)):
            await asyncio.sleep(max(0.0, first_s + tick / _FPS - time.monotonic()))
            if begin_s <= time.monotonic() < begin_s + seconds:
                client.sent += 1
            await stream.send(pictures[tick % len(pictures)])
        await asyncio.sleep(1.0)
        receiving.cancel()
        await asyncio.wait([receiving])


async def _receive(stream: Any, client: _Client, begin_s: float, seconds: float) -> None:
    async for output in stream:
        latency_ms = (time.time_ns() // 1000 - output.captured_us) / 1000
        sent_s = time.monotonic() - latency_ms / 1000
        if begin_s <= sent_s < begin_s + seconds:
            client.latencies_ms.append(latency_ms)
