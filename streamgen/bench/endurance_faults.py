"""A worker that is killed in mid-frame, a server that is killed, and one that is told to stop under load."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from streamgen.bench.loopback import Server, running
from streamgen.errors import StreamgenError
from streamgen.frames import Pixels

__all__ = ["measure_faults"]

_SIDE = 256
_FPS = 20.0
_COLOURS = {"red": (200, 40, 40), "blue": (40, 40, 200)}
_BETWEEN_KILLS_S = (2.5, 4.0)
_RECOVERY_TIMEOUT_S = 60.0
_END_TIMEOUT_S = 10.0
_COMMAND = [sys.executable, "-m", "streamgen", "serve", "--host", "127.0.0.1"]


@dataclass(slots=True)
class _Seen:
    """Outputs of one session.

    Args:
        colour: that its frames are filled with; its outputs stay nearest to it.
    """

    colour: str
    at_s: list[float] = field(default_factory=list)
    foreign: int = 0
    warnings: list[str] = field(default_factory=list)
    ended: str = ""


def measure_faults(kills: int = 20) -> dict[str, Any]:
    """Two sessions at 20 frames a second, 256x256; the worker is killed ``kills`` times, then the server once, and
    another server gets a SIGTERM under load.

    Returns:
        Gaps between outputs around each kill, outputs that carried the other session's colour, and processes and
        shared-memory segments that were left.
    """
    segments = _segments()
    with running(_COMMAND) as server:
        seen = asyncio.run(_under_load(server, kills))
    figures: dict[str, Any] = {
        "kills": kills,
        "gaps_s": [round(gap_s, 2) for gap_s in seen["gaps_s"]],
        "longest_gap_s": round(max(seen["gaps_s"], default=0.0), 2),
        "recovered": len(seen["gaps_s"]),
        "outputs": sum(len(one.at_s) for one in seen["sessions"]),
        "foreign_outputs": sum(one.foreign for one in seen["sessions"]),
        "segments_left": len(_segments() - segments),
    }
    return figures | {"server_killed": _server_killed(segments), "stopped_under_load": asyncio.run(_stopped())}


async def _under_load(server: Server, kills: int) -> dict[str, Any]:
    sessions = [_Seen(colour) for colour in _COLOURS]
    stop = asyncio.Event()
    clients = [asyncio.create_task(_client(server, seen, stop)) for seen in sessions]
    dice, gaps_s = random.Random(1), []
    await _flowing(sessions, time.monotonic())
    for _ in range(kills):
        await asyncio.sleep(dice.uniform(*_BETWEEN_KILLS_S))
        before_s = min(seen.at_s[-1] for seen in sessions)
        [worker] = _workers(server.pid)
        os.kill(worker, signal.SIGKILL)
        killed_s = time.monotonic()
        gaps_s.append(await _flowing(sessions, killed_s) - before_s)
    stop.set()
    await asyncio.gather(*clients)
    return {"sessions": sessions, "gaps_s": gaps_s}


async def _flowing(sessions: list[_Seen], after_s: float) -> float:
    """Wait until every session has an output newer than ``after_s``; when the last of them had it."""
    async with asyncio.timeout(_RECOVERY_TIMEOUT_S):
        while not all(seen.at_s and seen.at_s[-1] > after_s + 0.1 for seen in sessions):
            await asyncio.sleep(0.01)
    return max(next(at_s for at_s in seen.at_s if at_s > after_s + 0.1) for seen in sessions)


async def _client(server: Server, seen: _Seen, stop: asyncio.Event) -> None:
    """Send pictures of one colour until told to stop, or until the server ends the stream."""
    import streamgen

    picture = np.full((_SIDE, _SIDE, 3), _COLOURS[seen.colour], np.uint8)
    try:
        async with streamgen.connect(
            server.url, width=_SIDE, height=_SIDE, prompt="comic", strength=0.3, reconnect=False
        ) as stream:
            receiving = asyncio.create_task(_receive(stream, seen))
            while not stop.is_set() and not receiving.done():
                await stream.send(picture)
                await asyncio.sleep(1 / _FPS)
            receiving.cancel()
            await asyncio.wait([receiving])
            if not receiving.cancelled() and (error := receiving.exception()) is not None:
                raise error
    except StreamgenError as error:
        seen.ended = error.code


async def _receive(stream: Any, seen: _Seen) -> None:
    async for output in stream:
        seen.at_s.append(time.monotonic())
        seen.foreign += _nearest(output.pixels) != seen.colour


def _nearest(pixels: Pixels) -> str:
    mean = pixels.reshape(-1, 3).mean(0)
    return min(_COLOURS, key=lambda name: float(np.abs(mean - np.array(_COLOURS[name])).sum()))


def _workers(server_pid: int) -> list[int]:
    import psutil

    children = psutil.Process(server_pid).children(recursive=True)
    return [child.pid for child in children if "spawn_main" in " ".join(child.cmdline())]


def _segments() -> set[str]:
    """Names of shared-memory segments; none where the system does not show them."""
    folder = Path("/dev/shm")
    return {path.name for path in folder.glob("psm_*")} if folder.is_dir() else set()


def _server_killed(segments: set[str]) -> dict[str, Any]:
    """Kill a server that has a session, and wait for its worker to end and its segments to go."""
    import psutil

    with running(_COMMAND) as server:
        asyncio.run(_one_output(server))
        family = psutil.Process(server.pid).children(recursive=True)
        os.kill(server.pid, signal.SIGKILL)
        began_s = time.monotonic()
        gone, alive = psutil.wait_procs(family, timeout=_END_TIMEOUT_S)
        while _segments() - segments and time.monotonic() - began_s < _END_TIMEOUT_S:
            time.sleep(0.05)
    return {
        "processes": len(gone) + len(alive),
        "processes_left": len(alive),
        "segments_left": len(_segments() - segments),
        "all_gone_after_s": round(time.monotonic() - began_s, 2),
    }


async def _one_output(server: Server) -> None:
    import streamgen

    async with streamgen.connect(server.url, width=_SIDE, height=_SIDE, reconnect=False) as stream:
        await stream.send(np.zeros((_SIDE, _SIDE, 3), np.uint8))
        await anext(aiter(stream))
        # Leaves with the session open, as a client that is cut off does.


async def _stopped() -> dict[str, Any]:
    """Tell a server with two busy sessions to stop."""
    with running(_COMMAND) as server:
        sessions = [_Seen(colour) for colour in _COLOURS]
        clients = [asyncio.create_task(_client(server, seen, asyncio.Event())) for seen in sessions]
        await _flowing(sessions, time.monotonic())
        os.kill(server.pid, signal.SIGTERM)
        began_s = time.monotonic()
        await asyncio.wait(clients, timeout=_END_TIMEOUT_S)
        while _alive(server.pid) and time.monotonic() - began_s < _END_TIMEOUT_S:
            await asyncio.sleep(0.02)
        return {
            "clients_heard": [seen.ended for seen in sessions],
            "ended": not _alive(server.pid),
            "after_s": round(time.monotonic() - began_s, 2),
        }


def _alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and waits to be collected does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")
