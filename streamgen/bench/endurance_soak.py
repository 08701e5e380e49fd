"""An hour of sessions coming and going: does memory grow, is anything left behind?"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import numpy as np

from streamgen.bench.loopback import Server, running_server
from streamgen.bench.pictures import moving_pictures
from streamgen.config import ServerConfig

__all__ = ["measure_soak", "slope"]

_SIZES = (128, 192, 256, 320)
_PROMPTS = ("pencil", "ink", "comic", "neon", "half watercolour, half comic", "no style at all")
_SESSION_S = (1.0, 8.0)
_FPS = 10.0
_VISITORS = 3
_SAMPLE_S = 10.0
_WARM_UP_SHARE = 0.2


def measure_soak(minutes: float = 60.0) -> dict[str, Any]:
    """Three visitors at a time, each staying for a few seconds in a format of its own.

    Returns:
        Memory, descriptors and threads of the server and its worker over time, and how fast they grow after the first
        fifth.
    """
    with running_server(ServerConfig()) as server:
        samples, visits = asyncio.run(_soak(server, minutes * 60))
    warm = [sample for sample in samples if sample["at_s"] >= minutes * 60 * _WARM_UP_SHARE]
    return {
        "minutes": minutes,
        "visits": visits,
        "mb_per_10_min": {
            part: round(slope([(sample["at_s"], sample[f"{part}_mb"]) for sample in warm]) * 600, 3)
            for part in ("server_rss", "server_uss", "worker_rss", "worker_uss")
        },
        "first": warm[0],
        "last": warm[-1],
        "samples": samples[:: max(1, len(samples) // 60)],
    }


def slope(points: list[tuple[float, float]]) -> float:
    """Of the line nearest to (x, y) points, in squares; 0 for fewer than two."""
    if len(points) < 2:
        return 0.0
    x, y = np.array(points, float).T
    return float(np.polyfit(x, y, 1)[0])


async def _soak(server: Server, seconds: float) -> tuple[list[dict[str, float]], int]:
    end_s = time.monotonic() + seconds
    visits = [asyncio.create_task(_visitor(server, random.Random(index), end_s)) for index in range(_VISITORS)]
    samples = []
    began_s = time.monotonic()
    while time.monotonic() < end_s:
        await asyncio.sleep(_SAMPLE_S)
        samples.append({"at_s": round(time.monotonic() - began_s, 1), **_sample(server.pid)})
    counts = await asyncio.gather(*visits)
    return samples, sum(counts)


async def _visitor(server: Server, dice: random.Random, end_s: float) -> int:
    import streamgen

    visits = 0
    while time.monotonic() < end_s:
        width, height = dice.choice(_SIZES), dice.choice(_SIZES)
        pictures = moving_pictures(width, height)
        async with streamgen.connect(
            server.url, width=width, height=height, prompt=dice.choice(_PROMPTS), reconnect=False
        ) as stream:
            receiving = asyncio.create_task(_drain(stream))
            for tick in range(int(dice.uniform(*_SESSION_S) * _FPS)):
                await stream.send(pictures[tick % len(pictures)])
                if dice.random() < 0.05:
                    await stream.update(prompt=dice.choice(_PROMPTS), strength=dice.random())
                await asyncio.sleep(1 / _FPS)
            receiving.cancel()
            await asyncio.wait([receiving])
        visits += 1
    return visits


async def _drain(stream: Any) -> None:
    async for _ in stream:
        pass


def _sample(pid: int) -> dict[str, float]:
    import psutil

    server = psutil.Process(pid)
    [worker] = [child for child in server.children(recursive=True) if "spawn_main" in " ".join(child.cmdline())]
    return {
        f"{name}_{what}": value
        for name, process in (("server", server), ("worker", worker))
        for what, value in (
            ("rss_mb", round(process.memory_info().rss / 2**20, 2)),
            ("uss_mb", round(process.memory_full_info().uss / 2**20, 2)),
            ("descriptors", process.num_fds()),
            ("threads", process.num_threads()),
        )
    }
