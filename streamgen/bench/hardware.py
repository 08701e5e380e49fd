"""What a figure was measured on. A figure without it says nothing."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["hardware", "usable_cores"]


@cache
def hardware() -> dict[str, Any]:
    """Name of the processor, usable cores, memory, GPU and the versions that matter; None for what is not there."""
    return {
        "processor": _processor(),
        "cores": usable_cores(),
        "memory_gb": _memory_gb(),
        "gpu": _gpu(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": _torch(),
    }


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    if names:
        return names[0]
    if platform.system() == "Darwin":
        asked = subprocess.run(
            ["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=False
        )
        if asked.returncode == 0:
            return asked.stdout.strip()
    return platform.processor() or platform.machine()


def _memory_gb() -> float | None:
    try:
        import psutil
    except ModuleNotFoundError:
        return None
    total: int = psutil.virtual_memory().total
    return round(total / 2**30, 1)


def _gpu() -> str | None:
    try:
        import torch
    except ModuleNotFoundError:
        return None
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


def _torch() -> str | None:
    try:
        import torch
    except ModuleNotFoundError:
        return None
    return str(torch.__version__)
