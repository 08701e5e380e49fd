"""``streamgen evaluate``: judge the embedded models on held-out data, and write a report with contact sheets."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from streamgen.cli.options import between, start_compute, terminable
from streamgen.errors import ConfigError, MediaError

__all__ = ["PARTS", "add_arguments", "run"]

PARTS = ("core", "temporal", "prompts", "matte", "upscaler", "speed", "weights")

_EXAMPLES = """examples:
  streamgen evaluate --data DATA --out runs/report
  streamgen evaluate --data DATA --weights runs/core/tiny.safetensors --quick
  streamgen evaluate --sheet docs/pictures/styles.jpg
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``streamgen evaluate``."""
    parser.epilog = _EXAMPLES
    parser.add_argument("--data", type=Path, help="folder with photos.csv, photos/, clips/, teachers/ and features/")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/report"), help="report.json, index.html and sheets go to %(default)s"
    )
    parser.add_argument("--weights", type=Path, help="of the core (default: the packaged ones)")
    parser.add_argument(
        "--painters",
        type=Path,
        help="the core's teachers taught by paintings (default: painters.safetensors beside the weights, or in "
        "DATA/teachers)",
    )
    parser.add_argument("--parts", default=",".join(PARTS), metavar="LIST", help="which of: %(default)s (default: all)")
    parser.add_argument("--quick", action="store_true", help="fewer pictures: two minutes instead of ten on two cores")
    parser.add_argument("--threads", type=between(0, 1024), default=0, help="compute threads (default: 0, all cores)")
    parser.add_argument(
        "--markdown", action="store_true", help="print all figures as Markdown instead of a short table"
    )
    parser.add_argument(
        "--sheet", type=Path, metavar="FILE", help="write a JPEG of all styles on pictures that anyone may show"
    )


def run(args: argparse.Namespace) -> int:
    """Measure, write the report after every part, print a table; 0 when everything was measured, 1 when parts are
    missing."""
    chosen = [name for name in args.parts.split(",") if name]
    for name in chosen:
        if name not in PARTS:
            raise ConfigError("invalid_arguments", f"--parts must be some of {', '.join(PARTS)}, got {name!r}")
    if args.data is None and args.sheet is None:
        raise ConfigError("invalid_arguments", "--data is needed, or --sheet", field="data")
    if args.weights is not None and not args.weights.is_file():
        raise ConfigError("weights_missing", f"no weights file at {args.weights}", field="weights")
    from streamgen.bench.hardware import usable_cores

    threads = args.threads or usable_cores()
    start_compute(threads)
    with terminable():
        if args.sheet is not None:
            _show_styles(args, threads)
        return 0 if args.data is None else _judge(args, chosen, threads)


def _show_styles(args: argparse.Namespace, threads: int) -> None:
    from streamgen.engine.threads import use_threads
    from streamgen.models.tiny import TinyModel
    from streamgen.training.report.showpiece import save_showpiece

    use_threads(threads)
    save_showpiece(args.weights or TinyModel.default_weights, args.sheet)
    print(f"written to {args.sheet}")


def _judge(args: argparse.Namespace, chosen: list[str], threads: int) -> int:
    from rich.console import Console

    from streamgen.bench.figures import report
    from streamgen.engine.threads import use_threads
    from streamgen.training.report.parts import measure

    use_threads(threads)
    parts = _parts(args, threads)
    results: dict[str, Any] = {}
    _write(report(results), args.out)  # a path that cannot be written is better known before the minutes than after
    console = Console(stderr=args.markdown)
    with console.status("measuring") as status:
        for name in chosen:
            status.update(f"measuring: {name}")
            results[name] = measure(parts[name])
            _write(report(results), args.out)
    if args.markdown:
        from streamgen.training.report.tables import markdown

        print(markdown(results, report({})["hardware"]))
    else:
        console.print(_short_table(results))
    console.print(f"written to {args.out / 'index.html'}")
    return 1 if any("missing" in found for found in results.values()) else 0


def _parts(args: argparse.Namespace, threads: int) -> Mapping[str, Callable[[], dict[str, Any]]]:
    from streamgen.bench import ensemble
    from streamgen.models.tiny import TinyModel
    from streamgen.training.core.exam import find_painters
    from streamgen.training.report.parts import PARTS, Request

    weights = args.weights or TinyModel.default_weights
    painters = args.painters or find_painters(args.data, weights)
    request = Request(args.data, args.out, weights, painters, args.quick)
    speed = partial(ensemble.measure, args.weights, threads, 0.4 if args.quick else 2.0)
    return {name: partial(part, request) for name, part in PARTS.items()} | {"speed": speed}


def _write(made: dict[str, Any], out: Path) -> None:
    """Raises `MediaError`: ``cannot_write``."""
    from streamgen.training.report.page import page

    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in (("report.json", json.dumps(made, indent=2) + "\n"), ("index.html", page(made))):
            part = out / f".{name}.part"
            part.write_text(text, encoding="utf-8")
            part.replace(out / name)
    except OSError as error:
        raise MediaError("cannot_write", f"cannot write {out}: {error.strerror}", field="out") from None


def _short_table(results: dict[str, Any]) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from streamgen.training.report.asked import verdicts

    table = Table("figure", "asked", "found", "met", box=SIMPLE_HEAD, padding=(0, 1))
    words = {True: "yes", False: "[bold]no[/bold]", None: ""}
    for line in verdicts(results):
        table.add_row(line.figure, line.asked, line.found, words[line.met])
    return table
