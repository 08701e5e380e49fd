"""One command that measures a device: ``python bench/gpu.py``. Nothing is downloaded, see ``gpu_models``.

On a GPU every part runs in a process of its own: one that fails, hangs or leaves the device in a state that no later
one could use costs its own figures alone, and what it had found until then is kept.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamgen.bench.hardware import usable_cores
from streamgen.config import worker_environment

if TYPE_CHECKING:
    from streamgen.bench.gpu_measure import Rig

__all__ = ["PARTS", "Part", "main"]

Found = dict[str, Any]

_GPU_ONLY = "needs a CUDA device"
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Part:
    """One question.

    Args:
        measure: ``module:function`` in this package, with the arguments behind it after a colon.
        budget_s: it is ended after that, on a GPU.
        gpu_only: why a CPU skips it; empty when it does not.
        full_on_cpu: measured on a CPU also with the true architecture.
        asked: measured only when ``--only`` names it.
    """

    measure: str
    budget_s: float
    gpu_only: str = ""
    full_on_cpu: bool = False
    asked: bool = False


PARTS: dict[str, Part] = {
    "sd-turbo": Part("gpu_parts:sd_turbo", 300),
    "diffusers": Part("gpu_parts:diffusers", 300),
    "batch-8": Part("gpu_parts:batch", 540),
    "lcm-4-steps": Part("gpu_parts:lcm", 300),
    "sdxl-turbo": Part("gpu_parts:sdxl", 420),
    "sdxl-1024": Part("gpu_parts:sdxl_large", 480),
    "sdxl-1024-fp8": Part("gpu_parts:sdxl_large:fp8", 540, gpu_only="fp8 needs compute capability 8.9 or later"),
    "sdxl-1024-int8": Part("gpu_parts:sdxl_large:int8", 540, gpu_only="the measure is of GPU memory"),
    "sana-sprint-1024": Part("gpu_parts:sana", 420),
    "startup": Part("gpu_checks:startup", 540, full_on_cpu=True),
    "settings": Part("gpu_checks:settings", 540),
    "overhead": Part("gpu_checks:overhead", 300, full_on_cpu=True),
    "recipes": Part("gpu_parts:recipes", 540, gpu_only="it compares options of a compiler for GPUs", asked=True),
}
"""Measured in this order: what matters most comes first."""


def main(argv: list[str] | None = None) -> int:
    """Measure, print what was asked beside what was found, write JSON after every part."""
    args = _arguments(argv)
    os.environ.update(worker_environment(args.threads))  # before anything imports torch, which reads it then
    if args.part:
        _measure_here(args)
        return 0
    from streamgen import devices
    from streamgen.bench.figures import write_report

    if reason := devices.unavailable(args.device):
        print(f"{args.device} cannot be measured: {reason}", file=sys.stderr)
        return 2
    results: Found = {"command": _words(args), "versions": versions(args.device), "parts": {}}
    if args.tiny:
        results["note"] = "tiny networks: these figures show that the measuring works, and nothing else"
    write_report(results, args.output)  # a path that cannot be written is better known before the minutes than after
    ends_s = time.monotonic() + 60 * args.minutes
    for name in args.only:
        left_s = ends_s - time.monotonic()
        results["parts"][name] = _run_part(args, name, left_s)
        results["ratios"] = ratios(results["parts"])
        write_report(results, args.output)
        print(f"{name}: {json.dumps(results['parts'][name])}", flush=True)
    print("\n".join(verdicts(results)))
    print(f"written to {args.output}")
    return 0


def versions(device: str) -> Found:
    """Of everything whose version changes the figures."""
    import torch

    found: Found = {}
    for package in ("torch", "triton", "diffusers", "transformers", "accelerate", "peft", "torchao", "safetensors"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    if not device.startswith("cuda"):
        return found
    found |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}  # type: ignore[no-untyped-call]
    found["memory_gb"] = round(torch.cuda.get_device_properties(device).total_memory / 1e9, 1)
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        found["driver"] = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split("\n")[0]
    except (OSError, subprocess.CalledProcessError):
        found["driver"] = None
    return found


def ratios(parts: Found) -> Found:
    """How many times faster than diffusers' pipeline of the same run the engine is, by its p50."""
    from streamgen.bench.gpu_measure import verdict

    ours = parts.get("sd-turbo", {}).get("step_ms", {}).get("p50")
    theirs = parts.get("diffusers", {})
    found: Found = {}
    for kind, wanted in (("eager", 6.0), ("compiled", 2.0)):
        for way in ("uint8", "tensor"):
            p50 = theirs.get(f"{kind}_{way}_ms", {}).get("p50")
            if ours and p50:
                found[f"over_{kind}_{way}"] = verdict(p50 / ours, at_least=wanted)
    return found


def verdicts(results: Found) -> Iterator[str]:
    """One line for everything that was asked for, wherever in ``results`` it stands."""
    for name, value in results.items():
        if isinstance(value, dict) and "asked" in value:
            yield f"{'yes' if value['met'] else 'NO ':3s}  {name}: {value['got']}, asked {value['asked']}"
        elif isinstance(value, dict):
            yield from (f"{line[:5]}{name} / {line[5:]}" for line in verdicts(value))
            if "error" in value:
                yield f"NO   {name}: {str(value['error']).splitlines()[-1]}"


def _run_part(args: argparse.Namespace, name: str, left_s: float) -> Found:
    part = PARTS[name]
    if args.device == "cpu" and part.gpu_only:
        return {"skipped": f"{_GPU_ONLY}: {part.gpu_only}"}
    if left_s < 30:
        return {"skipped": "the time given with --minutes was used up"}
    began_s = time.monotonic()
    if args.device == "cpu":
        found: Found = {}
        _collect(args, name, found, lambda: None)
    else:
        found = _run_apart(args, name, min(part.budget_s, left_s))
    return found | {"took_s": round(time.monotonic() - began_s, 1)}


def _run_apart(args: argparse.Namespace, name: str, budget_s: float) -> Found:
    """One part in a process of its own; what it wrote last is what it found."""
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder, "found.json")
        command = [sys.executable, "-m", "streamgen.bench.gpu", *_words(args), "--part", name, "--output", str(kept)]
        # What it prints is for the eyes. A session of its own, so that what it started ends with it.
        process = subprocess.Popen(command, cwd=_ROOT, stdout=sys.stderr, start_new_session=True)
        try:
            code = process.wait(budget_s)
            error = f"its process ended with {code}" if code else ""
        except subprocess.TimeoutExpired:
            error = f"not done after {budget_s:.0f} s"
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        found: Found = json.loads(kept.read_text()) if kept.exists() else {}
    return found | ({"error": error} if error and "error" not in found else {})


def _measure_here(args: argparse.Namespace) -> None:
    """The part that ``--part`` names, written anew with everything that it finds."""
    logging.basicConfig(level=logging.INFO, format="%(relativeCreated)8d ms  %(message)s")
    found: Found = {}

    def keep() -> None:
        fresh = args.output.with_suffix(".part")
        fresh.write_text(json.dumps(found))
        fresh.replace(args.output)

    _collect(args, args.part, found, keep)


def _collect(args: argparse.Namespace, name: str, found: Found, keep: Callable[[], None]) -> None:
    """Measure one part; whatever goes wrong in it is one of its results."""
    try:
        for more in _measure(PARTS[name])(_rig(args)):
            found.update(more)
            keep()
    except Exception as error:
        found["error"] = f"{type(error).__name__}: {error}"
        found["traceback"] = traceback.format_exc().splitlines()[-12:]
        keep()


def _measure(part: Part) -> Callable[[Rig], Iterator[Found]]:
    from importlib import import_module

    module, function, *arguments = part.measure.split(":")
    measure: Callable[..., Iterator[Found]] = getattr(import_module(f"streamgen.bench.{module}"), function)
    return lambda rig: measure(rig, *arguments)


def _rig(args: argparse.Namespace) -> Rig:
    import torch

    from streamgen.bench.gpu_measure import Rig
    from streamgen.bench.gpu_models import ARCHITECTURES, TINY

    torch.set_num_threads(args.threads)
    if args.tiny:
        return Rig(args.device, args.threads, args.seconds, TINY, 40, 256, small=128, large=256)
    quick = {"changes": 1000} if args.quick else {}
    return Rig(args.device, args.threads, args.seconds, ARCHITECTURES, **quick)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the engine on a device, with random weights of true size.")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, ... or cpu (default: cuda)")
    parser.add_argument("--only", default="", help=f"some of {','.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="shorter; on a CPU with tiny networks")
    parser.add_argument("--seconds", type=float, default=0, help="of each timing (default: 10, or 2 with --quick)")
    parser.add_argument("--minutes", type=float, default=90, help="of everything (default: 90)")
    parser.add_argument("--threads", type=int, default=usable_cores(), help="of a CPU (default: all)")
    parser.add_argument("--output", type=Path, help="JSON goes there (default: in bench/results)")
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    args.tiny = args.quick and args.device == "cpu"
    if args.seconds <= 0:
        args.seconds = 0.2 if args.tiny else 2 if args.quick else 10
    here = {name: part for name, part in PARTS.items() if args.tiny or args.device != "cpu" or part.full_on_cpu}
    args.only = args.only.split(",") if args.only else [name for name, part in here.items() if not part.asked]
    for name in args.only:
        if name not in PARTS:
            parser.error(f"--only must be some of {', '.join(PARTS)}, got {name!r}")
    if args.output is None:
        args.output = Path("bench", "results", "cpu_diffusion.json" if args.device == "cpu" else "gpu.json")
    return args


def _words(args: argparse.Namespace) -> list[str]:
    """The arguments that decide how a part is measured."""
    words = ["--device", args.device, "--seconds", f"{args.seconds:g}", "--threads", str(args.threads)]
    return [*words, "--quick"] if args.quick else words


if __name__ == "__main__":
    sys.exit(main())
