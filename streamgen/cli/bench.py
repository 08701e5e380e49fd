"""``streamgen bench``: the figures of this machine as a table and as JSON."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamgen.cli.options import add_engine_arguments, between, config_of, start_compute, terminable
from streamgen.config import ServerConfig
from streamgen.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

    from streamgen.bench.loopback import Server

__all__ = ["MEASUREMENTS", "add_arguments", "run", "table"]

Row = dict[str, Any]
Measurement = Callable[[ServerConfig, argparse.Namespace], Iterator[Row]]

_EXAMPLES = """examples:
  streamgen bench
  streamgen bench --only flood --flood-seconds 60 --output flood.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``streamgen bench``."""
    parser.epilog = _EXAMPLES
    parser.add_argument(
        "--only", default=",".join(MEASUREMENTS), metavar="LIST", help="which of: %(default)s (default: all of them)"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("streamgen-bench.json"), metavar="FILE", help="JSON goes to %(default)s"
    )
    parser.add_argument("--seconds", type=between(1, 3600), default=10, help="of each measurement (default: 10)")
    parser.add_argument("--steps", type=between(1, 4), default=1, help="denoising steps of the engine (default: 1)")
    parser.add_argument("--fps", type=between(1, 60), default=20, help="sent while measuring latency (default: 20)")
    parser.add_argument("--flood-seconds", type=between(3, 3600), default=30, help="of overload (default: 30)")
    parser.add_argument("--flood-fps", type=between(1, 60), default=60, help="sent as overload (default: 60)")
    parser.add_argument("--flood-side", type=int, default=512, help="width and height then (default: 512)")
    add_engine_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Measure, print a table, write JSON."""
    from rich.console import Console

    from streamgen.bench.figures import write_report
    from streamgen.bench.hardware import hardware, usable_cores

    chosen = [name for name in args.only.split(",") if name]
    for name in chosen:
        if name not in MEASUREMENTS:
            raise ConfigError("invalid_arguments", f"--only must be some of {', '.join(MEASUREMENTS)}, got {name!r}")
    config = config_of(args)
    # The engine is measured alone on the machine, so no core is left free for codecs and an event loop.
    start_compute(config.threads or usable_cores())
    results: dict[str, list[Row]] = {}
    write_report(results, args.output)  # a path that cannot be written is better known before the minutes than after
    console = Console()
    with terminable(), console.status("measuring") as status:
        for name in chosen:
            status.update(f"measuring: {name}")
            results[name] = list(MEASUREMENTS[name](config, args))
    here = hardware()
    console.print(table(results))
    console.print(f"{here['processor']}, {here['cores']} cores{', ' + here['gpu'] if here['gpu'] else ''}")
    write_report(results, args.output)
    console.print(f"written to {args.output}")
    return 0


def measure_engine(config: ServerConfig, args: argparse.Namespace) -> Iterator[Row]:
    """The engine alone at 256x256 and 512x512."""
    from streamgen.bench.engine import measure_engine
    from streamgen.bench.hardware import usable_cores

    for side in (256, 512):
        yield measure_engine(config, config.threads or usable_cores(), side, args.steps, args.seconds)


def measure_latency(config: ServerConfig, args: argparse.Namespace) -> Iterator[Row]:
    """Through the server at 256x256."""
    from streamgen.bench.latency import measure_latency

    with _server(config) as server:
        yield measure_latency(server, 256, args.fps, args.seconds)


def measure_flood(config: ServerConfig, args: argparse.Namespace) -> Iterator[Row]:
    """More frames than the engine can make."""
    from streamgen.bench.flood import measure_flood
    from streamgen.settings import parse_format

    side = parse_format({"width": args.flood_side, "height": args.flood_side}).width
    with _server(config) as server:
        yield measure_flood(server, side, args.flood_fps, args.flood_seconds)


def measure_codec(config: ServerConfig, args: argparse.Namespace) -> Iterator[Row]:
    """JPEG at the sizes of the others."""
    from streamgen.bench.codec import measure_codec

    for side in (256, 512):
        yield measure_codec(side, min(args.seconds, 2))


@contextmanager
def _server(config: ServerConfig) -> Iterator[Server]:
    from streamgen.bench.loopback import running_server

    with running_server(config) as server:
        yield server


MEASUREMENTS: dict[str, Measurement] = {
    "engine": measure_engine,
    "latency": measure_latency,
    "flood": measure_flood,
    "codec": measure_codec,
}
"""Run in this order."""


def table(results: dict[str, list[Row]]) -> Table:
    """One line for each thing whose spread was measured."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    lines = Table("", "size", "fps", "p50 ms", "p95 ms", "p99 ms", "notes", box=SIMPLE_HEAD, padding=(0, 1))
    for column in lines.columns[2:6]:
        column.justify = "right"
    for name, rows in results.items():
        for row in rows:
            for label, spread, note in _LINES[name](row):
                fps = row.get("fps_out", row.get("fps")) if label == name else None
                figures = (f"{spread[mark]:.1f}" for mark in ("p50", "p95", "p99"))
                lines.add_row(label, row["size"], "" if fps is None else f"{fps:.1f}", *figures, note)
    return lines


Line = tuple[str, dict[str, float], str]


def _engine_lines(row: Row) -> list[Line]:
    steps = f"{row['steps']} step{'s' if row['steps'] > 1 else ''}"
    note = f"{row['backend']} {row['dtype']}, {row['threads']} threads, {steps}, {row['memory_mb']:.0f} MB"
    return [("engine", row["step_ms"], note)]


def _latency_lines(row: Row) -> list[Line]:
    note = f"{row['fps_in']} fps in, {row['missing']} missing, ready in {row['server_ready_s']} s"
    inside = [(f"  {name}", spread, "") for name, spread in row["stages_ms"].items()]
    return [("latency", row["glass_to_glass_ms"], note), *inside]


def _flood_lines(row: Row) -> list[Line]:
    memory = row["memory_mb"]
    note = f"{row['fps_in']} fps in, {row['missing']} dropped, {memory.get('first')} to {memory.get('last')} MB"
    return [
        ("flood", row["first_ms"], f"first seconds; {note}"),
        ("  at the end", row["last_ms"], f"{row['change_percent']:+.1f}%"),
    ]


def _codec_lines(row: Row) -> list[Line]:
    return [
        ("  encode", row["encode_ms"], f"JPEG, quality {row['quality']}, {row['kilobytes']} kB"),
        ("  decode", row["decode_ms"], ""),
    ]


_LINES: dict[str, Callable[[Row], list[Line]]] = {
    "engine": _engine_lines,
    "latency": _latency_lines,
    "flood": _flood_lines,
    "codec": _codec_lines,
}
