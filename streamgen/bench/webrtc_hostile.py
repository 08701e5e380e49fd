"""What strangers send to the signalling, and what is left of it afterwards: nothing, if all goes well."""

from __future__ import annotations

import asyncio
import json
import random
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from streamgen.bench.webrtc_latency import publishing
from streamgen.bench.webrtc_peer import Eye, MendedCamera, connect_to_server, longest_gap_ms, offer, on_loopback, post
from streamgen.bench.webrtc_server import STATE, identity_server
from streamgen.server.webrtc.aiortc_shim import MENDS

__all__ = ["measure_hostile", "mutations", "refusals", "state"]

_SESSION = "live"
_SIDE = 128
_FPS = 15.0
_SETTLE_LIMIT_S = 45.0
_HOLD_S = 1.0
_HELLO = {"type": "hello", "role": "view", "session": _SESSION}


def measure_hostile(offers: int, mutated: int, vanishing: int, rounds: int) -> dict[str, Any]:
    """Send a server what it must refuse and what it must survive, while somebody publishes through it.

    Args:
        offers: at once, none of which is followed by a connection.
        mutated: valid offers with something broken in them.
        vanishing: connected peers whose process is killed.
        rounds: of all that; memory is compared after each.
    """
    on_loopback(MENDS)
    with identity_server() as server:
        return asyncio.run(_run(server.port, offers, mutated, vanishing, rounds))


async def _run(port: int, offers: int, mutated: int, vanishing: int, rounds: int) -> dict[str, Any]:
    valid = await _valid_offer()
    camera = MendedCamera(_SIDE, _FPS)
    async with publishing(port, camera, _SIDE, "vp8", session=_SESSION) as (eye, _, _):
        await _vanished(port, 2)  # threads and memory that are made once are there from now on
        await asyncio.sleep(_HOLD_S)
        before = await asyncio.to_thread(state, port)
        answers = await asyncio.to_thread(_refused, port, valid)
        report: dict[str, Any] = {"before": before, "refused": answers, "rounds": []}
        for index in range(rounds):
            row: dict[str, Any] = {"vanished": await _vanished(port, vanishing)}
            row["mutated"] = await asyncio.to_thread(_mutated, port, valid, mutated, index)
            row["at_once"] = await _at_once(port, valid, offers, eye)
            row["settled"] = await _settled(port, before)
            report["rounds"].append(row)
        after = [row["settled"]["state"] for row in report["rounds"]]
        report["left_over"] = {
            name: after[-1][name] - before[name] for name in ("connections", "tasks", "threads", "sessions", "sockets")
        }
        report["memory_mb"] = [before["memory_mb"], *(state["memory_mb"] for state in after)]
        return report


def state(port: int) -> dict[str, Any]:
    """What is alive in an identity server, and how long its event loop was held up since the last request."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{STATE}", timeout=30) as response:
        return dict(json.load(response))


async def _valid_offer() -> str:
    peer, _, _ = offer(None)
    await peer.setLocalDescription(await peer.createOffer())
    sdp: str = peer.localDescription.sdp
    await peer.close()
    return sdp


# ------------------------------------------------------------------------------------------------------------- refusals


def refusals(valid: str) -> dict[str, bytes]:
    """Bodies that no server can make a connection of, by what is wrong with them."""

    def body(sdp: str, **fields: Any) -> bytes:
        return json.dumps({"type": "offer", "sdp": sdp, "hello": _HELLO, **fields}).encode()

    lines = valid.replace("\r\n", "\n").split("\n")

    def without(start: str) -> str:
        return "\r\n".join(line for line in lines if not line.startswith(start))

    section = "\r\n".join(lines[next(i for i, line in enumerate(lines) if line.startswith("m=")) :])
    return {
        "sdp over 64 KiB": body(valid + "a=x:" + "y" * 65536),
        "body over its limit": b" " * 400_000,
        "no JSON": b"v=0\r\n",
        "no sdp": b'{"type": "offer"}',
        "an answer": body(valid, type="answer"),
        "empty sdp": body(""),
        "only v=0": body("v=0\r\n"),
        "words": body("v=0\r\n" + "lorem ipsum\r\n" * 50),
        "nine sections": body(valid + section * 9),
        "an unknown kind": body(valid.replace("m=video", "m=image")),
        "a line of 3000 characters": body(valid + "a=" + "z" * 3000 + "\r\n"),
        "no fingerprint": body(without("a=fingerprint")),
        "no ICE user": body(without("a=ice-ufrag")),
        "no codec that is known": body(valid.replace("VP8/90000", "VP7/90000").replace("H264/90000", "H999/90000")),
        "a hello that is none": body(valid, hello={"type": "hello", "role": "king"}),
        "no such session": body(valid, hello={**_HELLO, "session": "nobody"}),
    }


def mutations(valid: str, count: int, seed: int) -> list[str]:
    """Offers with one to three things broken at random, the same ones for the same seed."""
    chance = random.Random(seed)
    return [_mutated_once(valid, chance) for _ in range(count)]


def _mutated_once(valid: str, chance: random.Random) -> str:
    lines = valid.replace("\r\n", "\n").split("\n")

    def cut(at: int) -> None:
        lines[at] = lines[at][: chance.randrange(len(lines[at]) + 1)]

    def drop(at: int) -> None:
        del lines[at]

    def repeat(at: int) -> None:
        lines.insert(at, lines[at])

    def swap(at: int) -> None:
        other = chance.randrange(len(lines))
        lines[at], lines[other] = lines[other], lines[at]

    def spoil(at: int) -> None:
        place = chance.randrange(len(lines[at]) + 1)
        lines[at] = (
            lines[at][:place] + chance.choice(["0", "-1", ":", " ", "é", "\0", "99999999999"]) + lines[at][place:]
        )

    broken: list[Callable[[int], None]] = [cut, drop, repeat, swap, spoil]
    for _ in range(chance.randint(1, 3)):
        chance.choice(broken)(chance.randrange(1, len(lines)))
    return "\r\n".join(lines)


def _refused(port: int, valid: str) -> dict[str, str]:
    """Status and error code of each. ``untyped`` would be an error without a code, ``answered`` none at all."""
    answers = {}
    for name, body in refusals(valid).items():
        status, answer = post(port, "/webrtc/offer", body)
        answers[name] = _said(status, answer)
    return answers


def _mutated(port: int, valid: str, count: int, seed: int) -> dict[str, Any]:
    answers: Counter[str] = Counter()
    untyped: list[str] = []
    for sdp in mutations(valid, count, seed):
        status, answer = post(port, "/webrtc/offer", {"type": "offer", "sdp": sdp, "hello": _HELLO})
        answers[_said(status, answer)] += 1
        if status == 200:
            _delete(port, answer["location"])
        if status != 200 and "code" not in answer:
            untyped.append(_difference(valid, sdp))
    return {"answers": dict(answers), "untyped": untyped[:10]}


def _said(status: int, answer: dict[str, Any]) -> str:
    return f"{status} {'answered' if status == 200 else answer.get('code', 'untyped')}"


def _delete(port: int, location: str) -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{location}", method="DELETE")
    urllib.request.urlopen(request, timeout=30).close()


def _difference(valid: str, sdp: str) -> str:
    """The lines of an offer that the valid one does not have, to see what it failed on."""
    known = set(valid.replace("\r\n", "\n").split("\n"))
    return " | ".join(line for line in sdp.replace("\r\n", "\n").split("\n") if line not in known)[:200] or "order"


# ------------------------------------------------------------------------------------------------------------- survival


async def _at_once(port: int, valid: str, count: int, eye: Eye) -> dict[str, Any]:
    """Offers in the same moment. How long their answers take, and how long the publisher's picture stands still."""
    await asyncio.to_thread(state, port)
    body = json.dumps({"type": "offer", "sdp": valid, "hello": _HELLO}).encode()
    began_s = time.perf_counter()
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(count) as threads:
        asked = [loop.run_in_executor(threads, post, port, "/webrtc/offer", body) for _ in range(count)]
        answers = await asyncio.gather(*asked)
    took_s = time.perf_counter() - began_s
    await asyncio.sleep(_HOLD_S)
    after = await asyncio.to_thread(state, port)
    codes = Counter(_said(status, answer) for status, answer in answers)
    return {
        "offers": count,
        "answers": dict(codes),
        "all_answered_after_s": round(took_s, 2),
        "publisher_longest_freeze_ms": round(longest_gap_ms(eye.seen, began_s, began_s + took_s + _HOLD_S), 1),
        "event_loop_held_up_ms": after["held_up_ms"],
    }


async def _vanished(port: int, count: int) -> dict[str, Any]:
    """Kill a process that holds connected peers; when the server has noticed."""
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_hold, args=(theirs, port, count))
    process.start()
    try:
        told = await asyncio.to_thread(ours.poll, 60)
        with_them = await asyncio.to_thread(state, port)
    finally:
        process.kill()
        process.join()
    began_s = time.perf_counter()
    noticed_s = None
    while told and noticed_s is None and time.perf_counter() - began_s < _SETTLE_LIMIT_S:
        await asyncio.sleep(0.25)
        if (await asyncio.to_thread(state, port))["connections"] <= with_them["connections"] - count:
            noticed_s = time.perf_counter() - began_s
    return {
        "peers": count,
        "connected": bool(told),
        "noticed_after_s": None if noticed_s is None else round(noticed_s, 1),
    }


def _hold(connection: Connection, port: int, count: int) -> None:
    """Connect viewers, say so, and wait to be killed."""
    on_loopback(MENDS)

    async def run() -> None:
        peers = []
        for _ in range(count):
            peer, video, channel = offer(None)
            peers.append(peer)
            await connect_to_server(peer, channel, port, {"role": "view", "session": _SESSION})
            await video.receiver.track.recv()
        connection.send(True)
        await asyncio.Event().wait()

    asyncio.run(run())


async def _settled(port: int, before: dict[str, Any]) -> dict[str, Any]:
    """Wait until nothing more is alive than before."""
    began_s = time.perf_counter()
    while True:
        now = await asyncio.to_thread(state, port)
        took_s = time.perf_counter() - began_s
        back = all(now[name] <= before[name] for name in ("connections", "tasks", "threads", "sessions", "sockets"))
        if back or took_s > _SETTLE_LIMIT_S:
            return {"back": back, "after_s": round(took_s, 1), "state": now}
        await asyncio.sleep(0.5)
