"""torch.compile with Inductor: fused C++ or Triton kernels, after a compilation of many seconds per shape."""

from __future__ import annotations

import shutil

import torch
from torch import Tensor, nn

from streamgen.backends.base import Backend, Compiled
from streamgen.backends.eager import EagerBackend, cast_network, with_cast

__all__ = ["InductorBackend"]

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
        # A network of its own for each shape, so that one shape's kernels stay static. Dynamo counts them all against
        # one limit, behind which it would go on eagerly without a word.
        torch._dynamo.config.recompile_limit = _MOST_SHAPES
        torch._dynamo.config.accumulated_recompile_limit = _MOST_SHAPES
        torch._dynamo.config.fail_on_recompile_limit_hit = True
        call = with_cast(torch.compile(cast_network(network, self.dtype), dynamic=False), self.dtype)
        call(*example)
        return call
