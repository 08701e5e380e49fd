"""A function whose inputs and outputs stay where they are, as a recorded graph needs it.

What records is an argument, so that everything but the recording runs, and is tested, without a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from streamgen.backends.base import Function

__all__ = ["Fence", "Recorder", "StaticFunction"]


class Fence(Protocol):
    """Tells the host when uploads are done."""

    def mark(self) -> None:
        """Stand behind everything that was asked of the device until now."""

    def wait(self) -> None:
        """Return when the device has passed the last mark; at once when there is none."""


class Recorder(Protocol):
    """Records computations on one device."""

    device: torch.device

    def record(
        self, compute: Callable[[], tuple[Tensor, ...]], exclusive: AbstractContextManager[object]
    ) -> tuple[Callable[[], object], tuple[Tensor, ...]]:
        """Run ``compute`` until nothing in it is lazy, record it while holding ``exclusive``, and return what replays
        it and its results."""

    def is_remote(self, tensor: Tensor) -> bool:
        """Whether ``tensor`` is in the host's memory and the device cannot read it there."""

    def host_buffer(self, like: Tensor) -> Tensor:
        """Host memory of the shape and type of ``like`` that the device can copy from by itself."""

    def fence(self) -> Fence:
        """A new fence on the device."""


class StaticFunction:
    """``function`` recorded over buffers: a call copies its arguments in, replays and returns the recorded results.

    The results are the same tensors every time and are overwritten by the next replay of anything that the recorder
    recorded. ``function`` must not write to its arguments. Not thread-safe.

    An argument that is still the same tensor with the same contents is not copied again. A tensor in the host's memory
    always is, because numpy may have written to it without torch knowing.

    Args:
        function: tensors in, tensors out, of fixed shapes.
        example: arguments with harmless values; they decide shapes and types.
        recorder: where and how it is recorded.
        exclusive: held around the recording itself.
    """

    def __init__(
        self,
        function: Function,
        example: tuple[Tensor, ...],
        recorder: Recorder,
        exclusive: AbstractContextManager[object],
    ) -> None:
        self._slots = [_Slot(tensor, recorder) for tensor in example]
        self._fence = recorder.fence()
        self._fill(example)
        buffers = tuple(slot.buffer for slot in self._slots)
        self._replay, self._results = recorder.record(lambda: function(*buffers), exclusive)

    def __call__(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Arguments of the example's shapes, on the host or the device. Returns without waiting for the device.

        Raises:
            ValueError: another number or shape of arguments than recorded.
        """
        self._fill(tensors)
        self._replay()
        return self._results

    def _fill(self, tensors: tuple[Tensor, ...]) -> None:
        # The device may still be reading the host buffers for the call before; its computing is not waited for.
        self._fence.wait()
        for slot, tensor in zip(self._slots, tensors, strict=True):
            slot.fill(tensor)
        self._fence.mark()


@dataclass(frozen=True, slots=True)
class _Contents:
    """What a buffer was filled with.

    Two tensors hold the same when they look at the same memory of one and the same base in the same way, and the base
    has not been written to since. ``base`` is held, so that its memory cannot become another tensor's meanwhile.
    """

    base: Tensor
    version: int
    address: int
    stride: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, tensor: Tensor) -> _Contents | None:
        """None when torch does not count what is written to ``tensor``: one that was made in inference mode."""
        if tensor.is_inference():
            return None
        base = tensor if tensor._base is None else tensor._base
        return cls(base, tensor._version, tensor.data_ptr(), tensor.stride(), tensor.dtype)

    def same_as(self, other: _Contents | None) -> bool:
        return (
            other is not None
            and self.base is other.base  # == on tensors would compare elements
            and (self.version, self.address, self.stride, self.dtype)
            == (other.version, other.address, other.stride, other.dtype)
        )


class _Slot:
    """One argument: its buffer on the device, and a host buffer once something was uploaded."""

    def __init__(self, like: Tensor, recorder: Recorder) -> None:
        self.buffer = torch.empty(like.shape, dtype=like.dtype, device=recorder.device)
        self._recorder = recorder
        self._host: Tensor | None = None
        self._contents: _Contents | None = None

    def fill(self, tensor: Tensor) -> None:
        if tensor.shape != self.buffer.shape:  # copy_ would broadcast without a word
            raise ValueError(f"recorded for the shape {tuple(self.buffer.shape)}, got {tuple(tensor.shape)}")
        if self._recorder.is_remote(tensor):
            self._upload(tensor)
            return
        if tensor.dtype != self.buffer.dtype:  # nor round
            raise ValueError(f"recorded for {self.buffer.dtype}, got {tensor.dtype}")
        contents = _Contents.of(tensor)
        if contents is None or not contents.same_as(self._contents):
            self.buffer.copy_(tensor, non_blocking=True)
        self._contents = contents

    def _upload(self, tensor: Tensor) -> None:
        if self._host is None:
            self._host = self._recorder.host_buffer(self.buffer)
        self._host.copy_(tensor)
        self.buffer.copy_(self._host, non_blocking=True)
        self._contents = None
