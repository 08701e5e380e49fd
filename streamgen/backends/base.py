"""What every backend offers the engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import ClassVar

from torch import Tensor, nn

__all__ = ["Backend", "Compiled", "Function", "quantised_variant"]

Compiled = Callable[..., Tensor]
"""A module made fast: the module's own arguments in (float32), its result out (float32). One with a true
``casts_inputs`` takes and returns what it says itself."""
Function = Callable[..., tuple[Tensor, ...]]
"""Tensors in, tensors out, all of fixed shapes; no Python value of a tensor is read inside."""


class Backend(ABC):
    """One way to run networks on one device at one precision.

    Args:
        device: torch device name.
        dtype: ``float32``, ``bfloat16`` or ``float16``, one of ``dtypes(device)``; or ``int8`` where it
            ``runs_quantised``: networks without such a variant then run in float32.
        threads: compute threads.
    """

    name: ClassVar[str]
    quick_to_compile: ClassVar[bool] = True
    """False when preparing one shape takes many seconds, so that measuring it at start-up is out of the question."""
    runs_quantised: ClassVar[bool] = False
    """True when ``int8`` is a precision for networks that come with a ``quantised_variant``."""
    captures_frames: ClassVar[bool] = False
    """True when ``capture`` can turn the computation of a whole frame into one launch."""

    def __init__(self, device: str, dtype: str, threads: int) -> None:
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
    def compile(self, network: nn.Module, example: tuple[Tensor, ...]) -> Compiled:
        """Prepare ``network``, which is never modified, for the exact shapes of ``example``.

        May take seconds; safe in another thread. Of the arguments, tensors of one dimension ([B], such as timesteps)
        reach the network in float32, all others at the backend's precision.
        """

    def capture(
        self, function: Function, example: tuple[Tensor, ...], exclusive: AbstractContextManager[object]
    ) -> Function:
        """Record what ``function`` does with tensors shaped like ``example``, to be replayed in one launch.

        Only where ``captures_frames``. The results of a replay are overwritten by the next one. Held around the
        recording itself, ``exclusive`` keeps every other computation off the device meanwhile.
        """
        raise NotImplementedError(f"{self.name} captures no frames")


def quantised_variant(network: nn.Module) -> Path | None:
    """Where the int8 graph that a network comes with lies; None when it has none."""
    path: Path | None = getattr(network, "quantised", None)
    return path
