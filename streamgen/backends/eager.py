"""PyTorch as it is: always there, ready at once, the reference for every other backend."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from streamgen.backends.base import Backend, Compiled

__all__ = ["EagerBackend", "cast_network", "with_cast"]


class EagerBackend(Backend):
    """Runs the network eagerly, in channels_last, at the chosen precision."""

    name = "eager"

    def __init__(self, network: nn.Module, device: str, dtype: str, threads: int) -> None:
        super().__init__(network, device, dtype, threads)
        self._call = with_cast(cast_network(network, dtype), dtype)

    @classmethod
    def unavailable(cls, device: str) -> str | None:
        if device.startswith("cuda") and not torch.cuda.is_available():
            return "torch finds no CUDA device"
        return None

    def compile(self, example: tuple[Tensor, ...]) -> Compiled:
        return self._call


def cast_network(network: nn.Module, dtype: str) -> nn.Module:
    """A copy of ``network`` at ``dtype`` in channels_last, which convolutions on CPU and tensor cores want."""
    cast = copy.deepcopy(network).to(dtype=getattr(torch, dtype)).eval().requires_grad_(False)
    for parameter in cast.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return cast


def with_cast(network: Compiled, dtype: str) -> Compiled:
    """Wrap ``network`` so that it takes and returns float32; the timestep stays float32 inside."""
    kind: torch.dtype = getattr(torch, dtype)

    @torch.inference_mode()
    def call(x_t: Tensor, t: Tensor, *cond: Tensor) -> Tensor:
        x_t = x_t.to(dtype=kind, memory_format=torch.channels_last)
        return network(x_t, t, *(tensor.to(kind) for tensor in cond)).float()

    return call
