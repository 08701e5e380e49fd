"""torch.compile with Inductor: fused C++ or Triton kernels, after a compilation of many seconds per shape."""

from __future__ import annotations

import shutil

import torch
from torch import Tensor

from streamgen.backends.base import Backend, Compiled
from streamgen.backends.eager import EagerBackend, cast_network, with_cast

__all__ = ["InductorBackend"]


class InductorBackend(Backend):
    """Compiles the network for each shape with static dimensions."""

    name = "inductor"
    quick_to_compile = False

    @classmethod
    def unavailable(cls, device: str) -> str | None:
        if device == "cpu" and not any(map(shutil.which, ("g++", "c++", "clang++", "cl"))):
            return "Inductor needs a C++ compiler on the PATH to compile for the CPU"
        return EagerBackend.unavailable(device)

    def compile(self, example: tuple[Tensor, ...]) -> Compiled:
        # A network of its own for each shape: torch.compile would otherwise count the second shape as a
        # recompilation and turn the first one's static kernels into dynamic ones.
        network = torch.compile(cast_network(self.network, self.dtype), dynamic=False)
        call = with_cast(network, self.dtype)
        call(*example)
        return call
