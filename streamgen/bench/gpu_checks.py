"""What must hold on any device: a quick start, settings that cost nothing, an engine that adds next to nothing."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from streamgen import devices
from streamgen.backends.base import Compiled
from streamgen.backends.eager import EagerBackend
from streamgen.bench.figures import spread
from streamgen.bench.gpu_checkpoint import save_checkpoint
from streamgen.bench.gpu_measure import Rig, make_engine, opened, verdict
from streamgen.bench.pictures import moving_pictures
from streamgen.engine.engine import Engine
from streamgen.engine.select import BackendReport
from streamgen.frames import Frame
from streamgen.settings import StreamSettings

__all__ = ["overhead", "settings", "startup"]

Found = dict[str, Any]

_ROOT = Path(__file__).parents[2]
_MOST_START_S = 240
_PROMPTS = 16


def startup(rig: Rig) -> Iterator[Found]:
    """From the start of a process, with SD-Turbo's weights on disk, to its first frame and to its compiled ones.

    The second start finds kernels in the compiler's cache on disk. Weights come out of the system's page cache, as on a
    machine that was used before.
    """
    with tempfile.TemporaryDirectory() as folder:
        weights, cache = Path(folder, "weights"), Path(folder, "cache")
        size_gb = save_checkpoint(rig.architectures["sd-turbo"], weights, rig.device, getattr(torch, rig.dtype))
        yield {"weights_gb": size_gb}
        devices.give_back_memory(rig.device)
        for name in ("first start", "second start") if rig.backend == "cuda-graph" else ("first start",):
            found = _start(rig, weights, cache)
            if rig.backend == "cuda-graph":
                found["first_frame"] = verdict(found["first_frame_s"], at_most=6)
            if found["compiled_after_s"]:
                found["gap"] = verdict(found["longest_gap_ms"], at_most=100)
            yield {name: found}


def settings(rig: Rig) -> Iterator[Found]:
    """Thousands of random changes of the settings: nothing may be compiled or captured, and memory must stay flat."""
    model = rig.model("sd-turbo", rig.small, steps=4)
    engine = make_engine(rig, model)
    with opened(engine, rig.small, StreamSettings()) as ready_s:
        yield {"ready_s": round(ready_s, 1)}
        chance = random.Random(0)
        warm_up = max(200, 4 * _PROMPTS) if rig.changes > 1000 else 2 * _PROMPTS
        _change(engine, rig, chance, warm_up)  # the prompts are cached now, and the allocator has what it needs
        before = _counts(engine, rig)
        times_ms = _change(engine, rig, chance, rig.changes)
        after = _counts(engine, rig)
    engine.close_all()
    yield {
        "changes": rig.changes,
        "change_and_step_ms": spread(times_ms),
        "new": {name: round(after[name] - before[name], 3) for name in before},
        "nothing_compiled": verdict(after["compilations"] - before["compilations"], at_most=0),
        "no_graph_traced": verdict(after["traced"] - before["traced"], at_most=0),
        "memory_growth_mb": verdict(1000 * (after["in_use_gb"] - before["in_use_gb"]), at_most=16),
    }


def overhead(rig: Rig) -> Iterator[Found]:
    """What the engine adds to its calls of the three networks: the time of a step that is spent outside of them.

    Inside and outside of one and the same step, because two runs on a shared machine differ by more than is asked.
    """
    model = rig.model("sd-turbo", rig.small)
    backend = _Timed(rig.device, model.dtype, rig.threads)
    engine = Engine(model, backend, BackendReport("eager", model.dtype, "asked for"), 1, wait_for_compilation=True)
    frame = Frame(moving_pictures(rig.small, rig.small, 1)[0])
    inside_ms: list[float] = []
    with opened(engine, rig.small, StreamSettings(strength=0.5)):

        def step_ms() -> float:
            backend.inside_ms = 0.0
            began_s = time.perf_counter()
            engine.step([("0", frame)], began_s)
            inside_ms.append(backend.inside_ms)
            return 1000 * (time.perf_counter() - began_s)

        step_ms()  # warms up
        inside_ms.clear()
        began_s = time.monotonic()
        all_ms = [step_ms()]
        while len(all_ms) < 3 or time.monotonic() - began_s < rig.seconds:
            all_ms.append(step_ms())
    engine.close_all()
    yield {
        "side": rig.small,
        "dtype": model.dtype,
        "threads": rig.threads,
        "frames": len(all_ms),
        "step_ms": spread(all_ms),
        "networks_ms": spread(inside_ms),
        "overhead_percent": verdict(100 * (sum(all_ms) / sum(inside_ms) - 1), at_most=3),
    }


class _Timed(EagerBackend):
    """Adds up the time inside its networks."""

    inside_ms = 0.0

    def compile(self, network: nn.Module, example: tuple[Tensor, ...]) -> Compiled:
        call = super().compile(network, example)

        def timed(*tensors: Tensor) -> Tensor:
            devices.wait(self.device)
            began_s = time.perf_counter()
            made = call(*tensors)
            devices.wait(self.device)
            self.inside_ms += 1000 * (time.perf_counter() - began_s)
            return made

        return timed


def _start(rig: Rig, weights: Path, cache: Path) -> Found:
    command = [
        *(sys.executable, "-m", "streamgen.bench.gpu_start", str(weights)),
        *("--device", rig.device, "--dtype", rig.dtype, "--side", str(rig.small), "--backend", rig.backend),
        *("--threads", str(rig.threads), "--cache", str(cache), "--seconds", str(_MOST_START_S)),
    ]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the started process failed: {done.stderr.strip()[-2000:]}")
    found: Found = json.loads(done.stdout.splitlines()[-1])
    return found


def _change(engine: Engine, rig: Rig, chance: random.Random, count: int) -> list[float]:
    """Change the settings and step, ``count`` times; milliseconds of both together."""
    frames = [Frame(pixels) for pixels in moving_pictures(rig.small, rig.small, 4)]
    times_ms = []
    for index in range(count):
        began_s = time.perf_counter()
        engine.update("0", _random_settings(chance), index, began_s)
        engine.step([("0", frames[index % 4])], began_s)
        times_ms.append(1000 * (time.perf_counter() - began_s))
    return times_ms


def _random_settings(chance: random.Random) -> StreamSettings:
    blend = [
        {"prompt": f"prompt {chance.randrange(_PROMPTS)}", "weight": chance.uniform(0.1, 2)}
        for _ in range(chance.choice([0, 0, 0, 2, 3]))
    ]
    return StreamSettings.model_validate(
        {
            "prompt": f"prompt {chance.randrange(_PROMPTS)}",
            "prompts_blend": blend,
            "negative_prompt": f"prompt {chance.randrange(_PROMPTS)}",
            "strength": chance.uniform(0.05, 1),
            "steps": chance.randint(1, 4),
            "seed": chance.randrange(2**32),
            "seed_speed": chance.choice([0.0, 0.0, chance.uniform(0, 10)]),
            "guidance": chance.choice([0.0, 1.0, chance.uniform(1, 4)]),
            "guidance_mode": chance.choice(["self", "onetime", "full"]),
            "stream_batch": chance.random() < 0.2,
            "feedback": chance.choice([0.0, 0.0, 0.5]),
            "transition_ms": chance.choice([0, 200, 1000]),
        }
    )


def _counts(engine: Engine, rig: Rig) -> dict[str, float]:
    from torch._dynamo.utils import counters

    devices.give_back_memory(rig.device)
    return {
        "compilations": engine.compilations,
        "traced": counters["stats"]["unique_graphs"],
        "in_use_gb": devices.allocated_bytes(rig.device) / 1e9,
    }
