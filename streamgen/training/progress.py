"""What a course does around its steps: show progress, save now and then, and end politely."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from streamgen.training.plan import Counted, Plan

__all__ = ["complete", "take_steps"]

_SAVE_EVERY_S = 120.0
_LONGEST_STEP_S = 10.0


def complete(run: Counted, work: Callable[[], None], save: Callable[[], None]) -> int:
    """Do the work of a run and save it, however it ends: 0 when completed, 130 when interrupted by Ctrl-C or SIGTERM.

    A run without a step has nothing to save.
    """
    # A service manager or container stops a run politely; that must not cost it the last minutes.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        work()
    except KeyboardInterrupt:
        return 130
    finally:
        if run.step:
            save()
        signal.signal(signal.SIGTERM, before)
    return 0


def take_steps(
    run: Counted,
    plan: Plan,
    step: Callable[[], str],
    save: Callable[[], None],
    *,
    log_every: int,
    preview: Callable[[], None] | None = None,
    preview_every: int = 1,
    until: float = math.inf,
    clock_s: Callable[[], float] = time.monotonic,
) -> None:
    """Train until the plan is done or step ``until`` is reached.

    Args:
        run: counts its steps itself; the time is added here.
        plan: when to stop.
        step: takes one and says how it went.
        save: called every two minutes; the end is up to `complete`.
        log_every: so many steps make a line where there is no terminal.
        preview: shows what has been learned.
        preview_every: so many steps.
        until: a step before which the plan may be left.
        clock_s: seconds that never run back.
    """
    console, saved_s = Console(), clock_s()
    with _bar(console) as progress:
        task = progress.add_task("", total=1.0)
        while plan.done(run) < 1 and run.step < until:
            began_s = clock_s()
            told = step()
            # A process that was stopped and continued must not believe that it trained meanwhile.
            run.trained_s += min(clock_s() - began_s, _LONGEST_STEP_S)
            told = f"step {run.step}  {told}"
            progress.update(task, completed=plan.done(run), description=told)
            if run.step % log_every == 0 and not console.is_terminal:
                console.print(f"{run.trained_s / 60:5.1f} min {told}", soft_wrap=True)
            if preview is not None and run.step % preview_every == 0:
                preview()
            if clock_s() - saved_s > _SAVE_EVERY_S:
                save()
                saved_s = clock_s()


def _bar(console: Console) -> Progress:
    columns = (
        BarColumn(),
        TextColumn("{task.percentage:5.1f}%"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    return Progress(*columns, console=console, disable=not console.is_terminal)
