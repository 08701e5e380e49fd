"""Compiled networks by shape, prepared in the background while an eager one serves."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from streamgen.backends.base import Backend, Compiled
from streamgen.models.base import Model
from streamgen.settings import FrameFormat

__all__ = ["Executables", "example_inputs"]

_LOG = logging.getLogger(__name__)
_KEPT_UNUSED = 4

Key = tuple[int, int, int]
"""(batch, height, width) of the picture."""


class Executables:
    """Hands out the fastest network that is ready for a shape.

    Args:
        model: whose network is compiled.
        backend: compiles it.
        stand_in: serves a shape until its own network is ready; None makes the caller wait instead.
    """

    def __init__(self, model: Model, backend: Backend, stand_in: Compiled | None) -> None:
        self.compilations = 0
        self._model = model
        self._backend = backend
        self._stand_in = stand_in
        self._by_shape: OrderedDict[Key, Future[Compiled]] = OrderedDict()
        self._compiler = ThreadPoolExecutor(1, thread_name_prefix="compile")

    def prepare(self, format: FrameFormat, batches: tuple[int, ...]) -> list[Future[Compiled]]:
        """Begin compiling for ``format`` at each batch size. Shapes that are known are not compiled again, unless that
        failed."""
        keys = [(batch, format.height, format.width) for batch in batches]
        for key in keys:
            if key in self._by_shape and _failed(self._by_shape[key]):
                del self._by_shape[key]
        return [self._future(key) for key in keys]

    def lookup(self, batch: int, format: FrameFormat) -> tuple[Compiled, bool]:
        """The network to use now, and whether it is the stand-in, which also serves when compiling failed."""
        future = self._future((batch, format.height, format.width))
        if self._stand_in is not None and (not future.done() or _failed(future)):
            return self._stand_in, True
        return future.result(), False

    def keep(self, formats: Iterable[FrameFormat]) -> None:
        """Drop what no format in use needs: shapes still waiting to be compiled, and most of those that are ready."""
        needed = {(format.height, format.width) for format in formats}
        unused = [key for key in self._by_shape if key[1:] not in needed]  # least recently used first
        for position, key in enumerate(unused):
            if self._by_shape[key].cancel() or position < len(unused) - _KEPT_UNUSED:
                del self._by_shape[key]

    def close(self) -> None:
        """Stop compiling; networks handed out keep working."""
        self._compiler.shutdown(wait=True, cancel_futures=True)

    def _future(self, key: Key) -> Future[Compiled]:
        if key not in self._by_shape:
            self._by_shape[key] = self._compiler.submit(self._compile, key)
        self._by_shape.move_to_end(key)
        return self._by_shape[key]

    def _compile(self, key: Key) -> Compiled:
        self.compilations += 1
        try:
            compiled = self._backend.compile(example_inputs(self._model, *key))
        except Exception:
            _LOG.exception("%s cannot be compiled for %d x %dx%d", self._backend.name, key[0], key[2], key[1])
            raise
        _LOG.info("%s is ready for %d x %dx%d", self._backend.name, key[0], key[2], key[1])
        return compiled


def _failed(future: Future[Compiled]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is not None


def example_inputs(model: Model, batch: int, height: int, width: int) -> tuple[Tensor, ...]:
    """Inputs of the network's exact shapes, with harmless values: x_t, t, then the conditioning in its order."""
    device = model.spec.device
    latents = torch.zeros((batch, *model.latent_shape(height, width)), device=device)
    cond = {name: tensor.expand(batch, *tensor.shape) for name, tensor in model.encode_prompt("").items()}
    cond |= model.source_conditioning(latents)
    t = torch.full((batch,), model.schedule.timesteps(1, 1.0)[0], device=device)
    return latents, t, *(cond[name].contiguous() for name in model.conditioning_names)
