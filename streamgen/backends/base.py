"""What every backend offers the engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn

__all__ = ["Backend", "Compiled"]

Compiled = Callable[..., Tensor]
"""A network made fast: float32 tensors in (first two: x_t [B, C, h, w] and t [B]), float32 x_0 [B, C, h, w] out."""


class Backend(ABC):
    """One way to run a network on one device at one precision.

    Args:
        network: in float32; never modified.
        device: torch device name.
        dtype: ``float32`` or ``bfloat16``, one of ``dtypes(device)``.
        threads: compute threads.
    """

    name: ClassVar[str]
    quick_to_compile: ClassVar[bool] = True
    """False when preparing one shape takes many seconds, so that measuring it at start-up is out of the question."""

    def __init__(self, network: nn.Module, device: str, dtype: str, threads: int) -> None:
        self.network = network
        self.device = device
        self.dtype = dtype
        self.threads = threads

    @classmethod
    @abstractmethod
    def unavailable(cls, device: str) -> str | None:
        """Why this backend cannot run on ``device`` here, in one lowercase clause; None when it can."""

    @classmethod
    def dtypes(cls, device: str) -> tuple[str, ...]:
        """Precisions worth measuring on ``device``, the safest first."""
        return ("float32", "bfloat16")

    @abstractmethod
    def compile(self, example: tuple[Tensor, ...]) -> Compiled:
        """Prepare the network for the exact shapes of ``example``. May take seconds; safe in another thread."""
