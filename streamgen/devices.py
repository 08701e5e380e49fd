"""Everything that depends on the kind of device, in one place. torch is imported when a function is called."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

__all__ = [
    "allocated_bytes",
    "choose",
    "convolution_ms",
    "end_if_lost",
    "fast_dtype",
    "give_back_memory",
    "is_lost",
    "peak_bytes",
    "to_host",
    "unavailable",
    "upload",
    "wait",
]

_LOG = logging.getLogger(__name__)
_KINDS = {
    "cuda": "torch finds no CUDA device",
    "mps": "torch finds no Metal device",
    "xpu": "torch finds no XPU device",
}


def choose(device: str) -> str:
    """``device``, or for ``auto`` the first NVIDIA or AMD GPU that torch can use, else the CPU; logged."""
    if device != "auto":
        return device
    reason = unavailable("cuda")
    _LOG.info("device %s: %s", "cuda" if reason is None else "cpu", reason or "torch finds a GPU")
    return "cuda" if reason is None else "cpu"


def unavailable(device: str) -> str | None:
    """Why torch cannot compute on ``device`` here, in one lowercase clause; None when it can.

    ROCm builds of torch call their devices ``cuda``.
    """
    import torch

    kind, _, index = device.partition(":")
    if kind == "cpu":
        return None
    if kind not in _KINDS:
        return f"torch knows no device called {device}"
    module = torch.backends.mps if kind == "mps" else getattr(torch, kind)
    if not module.is_available():
        return _KINDS[kind]
    count = 1 if kind == "mps" else module.device_count()
    if index and int(index) >= count:
        return f"torch finds {count} devices of this kind, counted from 0"
    return None


def fast_dtype(device: str, half: str = "bfloat16") -> str:
    """The precision that a large network runs fastest in: ``bfloat16``, ``float16`` or ``float32``.

    On a CPU this is measured, because bfloat16 without hardware for it is several times slower than float32.

    Args:
        device: where it runs.
        half: which of the two halves the network prefers where both are fast.
    """
    import torch

    kind = device.partition(":")[0]
    if kind == "cuda":
        return half if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    if kind in ("mps", "xpu"):
        return "float16"
    return "bfloat16" if convolution_ms(torch.bfloat16) < convolution_ms(torch.float32) else "float32"


def convolution_ms(dtype: torch.dtype) -> float:
    """Best of several runs of a middle-sized convolution on the CPU, milliseconds."""
    import torch

    convolution = torch.nn.Conv2d(96, 96, 3, padding=1).to(dtype)
    x = torch.zeros(1, 96, 64, 64, dtype=dtype).to(memory_format=torch.channels_last)
    times: list[float] = []
    with torch.inference_mode():
        for _ in range(10):
            began_s = time.perf_counter()
            convolution(x)
            times.append(time.perf_counter() - began_s)
    return 1000 * min(times)


def upload(values: Sequence[float] | Sequence[Sequence[float]], device: str) -> torch.Tensor:
    """Host numbers as a float32 tensor on ``device``, without waiting for what the device is busy with."""
    import torch

    if not device.startswith("cuda"):
        return torch.tensor(values, dtype=torch.float32, device=device)
    return torch.tensor(values, dtype=torch.float32, pin_memory=True).to(device, non_blocking=True)


def to_host(tensor: torch.Tensor) -> torch.Tensor:
    """``tensor`` in the host's memory, and complete: the one place where the host waits for a frame.

    From CUDA through page-locked memory, which torch keeps for the next time; the driver would copy twice otherwise.
    """
    import torch

    if tensor.device.type != "cuda":
        return tensor.cpu()
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    host.copy_(tensor, non_blocking=True)
    torch.cuda.current_stream(tensor.device).synchronize()
    return host


def wait(device: str) -> None:
    """Return when everything that was asked of ``device`` is done. For measuring; the hot path never calls it."""
    module = _accelerator(device)
    if module is not None:
        module.synchronize()


def allocated_bytes(device: str) -> int:
    """Bytes in use by tensors on ``device``; on a CPU, the resident memory of this process."""
    module = _accelerator(device)
    if module is None:
        return _resident()
    return int(module.current_allocated_memory() if _is_mps(device) else module.memory_allocated(device))


def peak_bytes(device: str) -> int:
    """The most bytes that tensors on ``device`` ever used; on a CPU, the present resident memory."""
    module = _accelerator(device)
    if module is None or _is_mps(device):
        return allocated_bytes(device)
    return int(module.max_memory_allocated(device))


def give_back_memory(device: str) -> None:
    """Return the memory of tensors that nobody holds any more to the system."""
    gc.collect()
    module = _accelerator(device)
    if module is not None:
        module.empty_cache()


def is_lost(error: BaseException) -> bool:
    """Whether ``error`` leaves the device unusable for this process, as an illegal memory access does; running out of
    memory does not."""
    import torch

    if isinstance(error, torch.OutOfMemoryError):
        return False
    kind = getattr(torch, "AcceleratorError", None)  # since torch 2.8; a RuntimeError with this text before
    return (kind is not None and isinstance(error, kind)) or (
        isinstance(error, RuntimeError) and str(error).startswith("CUDA error")
    )


def end_if_lost(error: Exception) -> None:
    """Raise an error after which a process can compute nothing more on its device. The server starts another one."""
    if is_lost(error):
        raise error


def _is_mps(device: str) -> bool:
    return device.partition(":")[0] == "mps"


def _accelerator(device: str) -> Any:
    """``torch.cuda``, ``torch.mps`` or ``torch.xpu``; None for a CPU."""
    import torch

    kind = device.partition(":")[0]
    return None if kind == "cpu" else getattr(torch, kind)


def _resident() -> int:
    import psutil

    resident: int = psutil.Process().memory_info().rss
    return resident
