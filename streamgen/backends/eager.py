"""PyTorch as it is: always there, ready at once, the reference for every other backend."""

from __future__ import annotations

import copy
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from streamgen import devices
from streamgen.backends.base import Backend, Compiled

__all__ = ["EagerBackend", "cast_network", "with_cast"]


class EagerBackend(Backend):
    """Runs the network eagerly, in channels_last, at the chosen precision."""

    name = "eager"

    def __init__(self, device: str, dtype: str, threads: int) -> None:
        super().__init__(device, dtype, threads)
        self._calls: WeakKeyDictionary[nn.Module, Compiled] = WeakKeyDictionary()

    @classmethod
    def unavailable(cls, device: str) -> str | None:
        return devices.unavailable(device)

    def compile(self, network: nn.Module, example: tuple[Tensor, ...]) -> Compiled:
        if network not in self._calls:
            self._calls[network] = with_cast(cast_network(network, self.dtype), self.dtype)
        return self._calls[network]


def cast_network(network: nn.Module, dtype: str) -> nn.Module:
    """``network`` at ``dtype`` in channels_last, which convolutions on CPU and tensor cores want.

    What comes back is an object of its own, so that two threads may run both, but for the weights: those are shared
    where they are at ``dtype`` already or the network has a true ``casts_inputs``. A large one must not be in memory
    twice.
    """
    kind: torch.dtype = getattr(torch, dtype)
    if getattr(network, "casts_inputs", False) or all(weight.dtype == kind for weight in network.parameters()):
        shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
        network = copy.deepcopy(network, shared)
    else:
        network = copy.deepcopy(network).to(dtype=kind)
    network = network.eval().requires_grad_(False)
    for parameter in network.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network


def with_cast(network: Compiled, dtype: str) -> Compiled:
    """Wrap ``network`` so that it takes and returns float32; what has one dimension stays float32 inside.

    A network with a true ``casts_inputs`` gets everything as it is: its arithmetic around the weights needs float32.
    """
    kind: torch.dtype = getattr(torch, dtype)
    if getattr(network, "casts_inputs", False):
        return torch.inference_mode()(network)

    @torch.inference_mode()
    def call(*tensors: Tensor) -> Tensor:
        return network(*(_cast(tensor, kind) for tensor in tensors)).float()

    return call


def _cast(tensor: Tensor, kind: torch.dtype) -> Tensor:
    if tensor.dim() == 1:
        return tensor
    layout = torch.channels_last if tensor.dim() == 4 else torch.preserve_format
    return tensor.to(dtype=kind, memory_format=layout)
