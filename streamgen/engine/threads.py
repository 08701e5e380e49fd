"""How many threads compute, so that a core stays free for the codecs and the event loop."""

from __future__ import annotations

import os

__all__ = ["compute_threads", "use_threads"]


def compute_threads(asked: int = 0) -> int:
    """``asked`` if above 0, else every core of this process but one, at least 1."""
    if asked > 0:
        return asked
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores - 1)


def use_threads(threads: int) -> None:
    """Make torch compute with ``threads`` threads in this process."""
    import torch

    torch.set_num_threads(threads)
