"""What a server left running has to stand: many sessions, workers that are killed, its own overhead, an hour of comings
and goings.

    python bench/endurance.py [--only crowd,faults,overhead,soak] [--soak-minutes 60]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from streamgen.bench.endurance_crowd import measure_crowd
from streamgen.bench.endurance_faults import measure_faults
from streamgen.bench.endurance_overhead import measure_overhead
from streamgen.bench.endurance_soak import measure_soak
from streamgen.bench.figures import write_report

__all__ = ["PARTS", "main"]

PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "crowd": lambda args: measure_crowd(seconds=args.seconds),
    "overhead": lambda args: measure_overhead(seconds=args.seconds),
    "faults": lambda args: measure_faults(kills=args.kills),
    "soak": lambda args: measure_soak(minutes=args.soak_minutes),
}


def main(arguments: list[str], result: Path) -> int:
    """Measure and write ``result``; parts that are not measured keep what it says of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between them")
    parser.add_argument("--seconds", type=float, default=30.0, help="of crowd and overhead (default: 30)")
    parser.add_argument("--kills", type=int, default=20, help="of the worker (default: 20)")
    parser.add_argument("--soak-minutes", type=float, default=60.0, help="(default: 60)")
    args = parser.parse_args(arguments)
    wanted = args.only.split(",")
    if unknown := set(wanted) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    for name in wanted:
        figures = PARTS[name](args)
        print(f"{name}: {figures}", flush=True)
        write_report({name: figures}, result.with_name(f"{result.stem}_{name}.json"))
    return 0
