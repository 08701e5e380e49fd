"""torch.compile with Inductor: fused C++ or Triton kernels, after a compilation of many seconds per shape."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from streamgen.backends.base import Backend, Compiled
from streamgen.backends.eager import EagerBackend, cast_network, with_cast

__all__ = ["InductorBackend", "compiled_once"]

_MOST_SHAPES = 100_000


class InductorBackend(Backend):
    """Compiles the network for each shape with static dimensions."""

    name = "inductor"
    quick_to_compile = False

    @classmethod
    def unavailable(cls, device: str) -> str | None:
        if device == "cpu" and not any(map(shutil.which, ("g++", "c++", "clang++", "cl"))):
            return "Inductor needs a C++ compiler on the PATH to compile for the CPU"
        return EagerBackend.unavailable(device)

    def compile(self, network: nn.Module, example: tuple[Tensor, ...]) -> Compiled:
        call = with_cast(compiled_once(cast_network(network, self.dtype)), self.dtype)
        call(*example)
        return call


def compiled_once(network: nn.Module, **options: Any) -> Compiled:
    """``torch.compile`` with static shapes, for arguments shaped like those of the first call. Call it in inference
    mode.

    Dynamo compiles again, without a word and for minutes, when an argument has other strides, even those of an axis of
    length 1, and when one was made in inference mode and the one before was not. So every argument is seen through an
    alias that differs in neither.

    Args:
        network: of one shape; another needs a network of its own, so that its kernels stay static.
        options: of ``torch.compile``.
    """
    # Dynamo counts all shapes against one limit, behind which it would go on eagerly.
    torch._dynamo.config.recompile_limit = _MOST_SHAPES
    torch._dynamo.config.accumulated_recompile_limit = _MOST_SHAPES
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    compiled: Callable[..., Tensor] = torch.compile(network, dynamic=False, **options)
    strides: list[tuple[int, ...]] = []

    def call(*tensors: Tensor) -> Tensor:
        if not strides:
            strides.extend(tensor.stride() for tensor in tensors)
        return compiled(*map(_alias, tensors, strides))

    return call


def _alias(tensor: Tensor, stride: tuple[int, ...]) -> Tensor:
    """An inference tensor over the memory of ``tensor`` with this stride; over a copy where the layout differs."""
    differs = any(
        length > 1 and one != other for length, one, other in zip(tensor.shape, tensor.stride(), stride, strict=True)
    )
    if differs:
        tensor = torch.empty_strided(tensor.shape, stride, dtype=tensor.dtype, device=tensor.device).copy_(tensor)
    alias = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
    return alias.set_(tensor.untyped_storage(), tensor.storage_offset(), tensor.shape, stride)
