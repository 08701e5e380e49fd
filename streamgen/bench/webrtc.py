"""The WebRTC side, part by part, each in processes of its own. JSON is written after every part.

Of each part the report says how long it took and how busy the machine was before it began. A figure that was taken
beside other work is provisional.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from streamgen.bench.figures import write_report
from streamgen.bench.webrtc_asked import figures
from streamgen.bench.webrtc_process import in_process
from streamgen.errors import StreamgenError
from streamgen.server.webrtc.aiortc_shim import MENDS

__all__ = ["PARTS", "Amounts", "main"]

_ALL = tuple(MENDS)
_SIDE, _FPS = 512, 30.0
_LIMIT_S = 300.0
_BUSY_PERCENT = 10.0
"""Of all cores, before a part begins."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much is measured.

    Args:
        seconds: of a single measurement.
        path_seconds: on the bad path, both ways.
        overlay_minutes: that the overlay stays open.
        times: that something is repeated.
        quick: leave out what only compares.
    """

    seconds: float = 10.0
    path_seconds: float = 60.0
    overlay_minutes: float = 2.0
    times: int = 5
    quick: bool = False

    @property
    def overlay_cuts(self) -> int:
        """Twenty in half an hour, and never fewer than four."""
        return max(4, round(self.overlay_minutes * 20 / 30))


def _latency(amounts: Amounts) -> Row:
    from streamgen.bench.webrtc_latency import measure_direct, measure_through_server

    measure = partial(in_process, side=_SIDE, fps=_FPS, seconds=amounts.seconds, limit_s=_LIMIT_S)
    rows = []
    for codec in ("vp8", "h264"):
        through = partial(measure, measure_through_server, codec=codec, mends=_ALL)
        row: Row = {
            "codec": codec,
            "without_a_server": measure(measure_direct, codec=codec, mends=_ALL),
            "through_the_server": through(server_mends=_ALL),
        }
        if not amounts.quick:
            row["through_a_stock_server"] = through(server_mends=())
        for name in [name for name in row if name.startswith("through")]:
            row[name]["added_ms"] = _added(row[name]["latency_ms"], row["without_a_server"]["latency_ms"])
        rows.append(row)
    return {"rows": rows}


def _added(through: Mapping[str, float], without: Mapping[str, float]) -> dict[str, float]:
    return {mark: round(through[mark] - without[mark], 2) for mark in ("p50", "p95")}


def _loss(amounts: Amounts) -> Row:
    from streamgen.bench.webrtc_loss import measure_single_losses

    options = {"side": _SIDE, "fps": _FPS, "times": amounts.times, "mends": _ALL, "server_mends": _ALL, "window_s": 1.5}
    codecs = ("vp8",) if amounts.quick else ("vp8", "h264")
    return {"rows": [in_process(measure_single_losses, _LIMIT_S, codec=codec, **options) for codec in codecs]}


def _path(amounts: Amounts) -> Row:
    from streamgen.bench.webrtc_loss import measure_bad_path

    ways = {"both": amounts.path_seconds}
    if not amounts.quick:
        ways |= {"up": amounts.path_seconds / 3, "down": amounts.path_seconds / 3}
    options = {"codec": "vp8", "side": _SIDE, "fps": _FPS, "mends": _ALL}
    return {
        "rows": [
            in_process(measure_bad_path, _LIMIT_S + seconds, way=way, seconds=seconds, **options)
            for way, seconds in ways.items()
        ]
    }


def _hostile(amounts: Amounts) -> Row:
    from streamgen.bench.webrtc_hostile import measure_hostile

    few = {"offers": 100, "mutated": 50, "vanishing": 3, "rounds": 1}
    many = {"offers": 100, "mutated": 200, "vanishing": 8, "rounds": 3}
    return in_process(measure_hostile, 2 * _LIMIT_S, **(few if amounts.quick else many))


def _click(amounts: Amounts) -> Row:
    from streamgen.bench.webrtc_chromium import measure_click

    return in_process(measure_click, _LIMIT_S, seconds=2.0, times=amounts.times)


def _glass(amounts: Amounts) -> Row:
    from streamgen.bench.webrtc_chromium import measure_glass

    codecs = ("auto",) if amounts.quick else ("auto", "h264")
    options = {"side": 256, "fps": 20.0, "warm": 3.0, "codecs": codecs, "strength": 0.3}
    return in_process(measure_glass, _LIMIT_S, seconds=2 * amounts.seconds, **options)


def _overlay(amounts: Amounts) -> Row:
    from streamgen.bench.webrtc_overlay import measure_overlay

    minutes = amounts.overlay_minutes
    return in_process(measure_overlay, _LIMIT_S + 60 * minutes, minutes=minutes, cuts=amounts.overlay_cuts)


# ---------------------------------------------------------------------------------------------------------------- mends


def _receiving(amounts: Amounts) -> Row:
    from streamgen.bench.webrtc_mends import measure_receiving

    measure = partial(in_process, measure_receiving, _LIMIT_S, seconds=amounts.seconds / 2)
    return {
        "stock": measure(mends=(), times=1, window_s=12.0),
        # What "receiving" hands on, several frames at once, only the decoder of "queues" takes.
        "mended": measure(mends=("receiving", "queues"), times=amounts.times, window_s=1.5),
    }


def _queues(amounts: Amounts) -> Row:
    from streamgen.bench.webrtc_mends import measure_queues

    measure = partial(in_process, measure_queues, _LIMIT_S, seconds=2.0, slow_seconds=2.0 if amounts.quick else 6.0)
    return {"stock": measure(mends=()), "mended": measure(mends=("queues",))}


def _sending(amounts: Amounts) -> Row:
    from streamgen.bench.webrtc_encoders import SIZES, measure_encoders
    from streamgen.bench.webrtc_mends import measure_loop

    encode = partial(in_process, measure_encoders, _LIMIT_S)
    sizes, frames = (SIZES[:1], 30) if amounts.quick else (SIZES, 90)
    loop = partial(in_process, measure_loop, _LIMIT_S, side=_SIDE, seconds=amounts.seconds / 2, busy_threads=6)
    rows: Row = {}
    for name, ours, mends in (("stock", False, ()), ("mended", True, ("sending",))):
        rows[name] = {
            "encoders": encode(ours=ours, sizes=sizes, fps=30.0, frames=frames)["rows"],
            "encoders_at_15_fps": encode(ours=ours, sizes=sizes[-2:-1] or sizes, fps=15.0, frames=frames)["rows"],
            "loop": loop(mends=mends),
        }
    return rows


def _playout(amounts: Amounts) -> Row:
    from streamgen.bench.webrtc_chromium import measure_playout

    measure = partial(in_process, measure_playout, _LIMIT_S, seconds=amounts.seconds / 2, jitter_ms=30.0)
    return {"stock": measure(mends=[name for name in _ALL if name != "playout"]), "mended": measure(mends=_ALL)}


def _channel(amounts: Amounts) -> Row:
    from streamgen.bench.webrtc_mends import measure_channel

    measure = partial(in_process, measure_channel, _LIMIT_S, messages=20)
    return {"stock": measure(mends=()), "mended": measure(mends=("channel",))}


def _pacing(amounts: Amounts) -> Row:
    from streamgen.bench.webrtc_pacing import measure_pacing

    options = {"side": _SIDE, "fps": _FPS, "mends": _ALL, "bottleneck_mbps": 3.0, "video_kbps": 1966}
    measure = partial(in_process, measure_pacing, _LIMIT_S, seconds=amounts.seconds, **options)
    codecs, buffers = (("vp8",), (30_000,)) if amounts.quick else (("vp8", "h264"), (30_000, 15_000))
    rows = [
        measure(codec=codec, buffer_bytes=buffer, pace=pace)
        for codec in codecs
        for buffer in buffers
        for pace in (0.0, 2.5)
    ]
    return {"rows": rows}


PARTS: Mapping[str, Callable[[Amounts], Row]] = {
    "latency": _latency,
    "loss": _loss,
    "path": _path,
    "click": _click,
    "glass": _glass,
    "hostile": _hostile,
    "receiving": _receiving,
    "queues": _queues,
    "sending": _sending,
    "playout": _playout,
    "channel": _channel,
    "pacing": _pacing,
    "overlay": _overlay,
}
"""In this order. Those named like a mend of aiortc measure what it is worth."""


# ------------------------------------------------------------------------------------------------------------------ run


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what the command line asks for; 1 when a part failed."""
    args = _arguments(argv)
    amounts = Amounts(args.seconds, args.path_seconds, args.overlay_minutes)
    if args.quick:
        amounts = Amounts(min(3.0, args.seconds), min(10.0, args.path_seconds), min(0.5, args.overlay_minutes), 2, True)
    results: Row = {}
    write_report(results, args.output)  # a path that cannot be written is better known before the minutes than after
    for name in args.only:
        print(f"measuring: {name}", file=sys.stderr, flush=True)
        results[name] = _measured(name, amounts)
        results["asked"] = [*figures(results)]
        write_report(results, args.output)
    for figure in results["asked"]:
        print(
            f"{'ok  ' if figure['within'] else 'MISS'} {figure['figure']}: {figure['found']} ({figure['asked']} asked)"
        )
    for name in args.only:
        if "error" in results[name]:
            print(f"FAIL {name}: {results[name]['error']}")
    print(f"written to {args.output}")
    return int(any("error" in results[name] for name in args.only))


def _measured(name: str, amounts: Amounts) -> Row:
    import psutil

    busy = psutil.cpu_percent(interval=1.0)
    began_s = time.monotonic()
    try:
        row = PARTS[name](amounts)
    except StreamgenError as error:  # one part that fails must not lose the others
        row = {"error": error.message}
    took_s = round(time.monotonic() - began_s, 1)
    return {"busy_percent_before": busy, "provisional": busy > _BUSY_PERCENT, "took_s": took_s, **row}


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=_parts, default=[*PARTS], metavar="LIST", help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement (default: 10)")
    parser.add_argument("--path-seconds", type=float, default=60.0, help="of loss and jitter (default: 60)")
    parser.add_argument("--overlay-minutes", type=float, default=2.0, help="that the overlay is open (default: 2)")
    parser.add_argument("--quick", action="store_true", help="three seconds of each, and only what is asked for")
    parser.add_argument("--output", type=Path, default=Path("webrtc.json"), help="JSON goes to %(default)s")
    return parser.parse_args(argv)


def _parts(text: str) -> list[str]:
    chosen = [name for name in text.split(",") if name]
    for name in chosen:
        if name not in PARTS:
            raise argparse.ArgumentTypeError(f"must be some of {', '.join(PARTS)}, got {name!r}")
    return chosen


if __name__ == "__main__":
    sys.exit(main())
