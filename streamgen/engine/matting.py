"""Person mattes for the sessions that ask for one: the network, loaded when first needed, and what each one is for."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from streamgen.backends.base import Compiled
from streamgen.effects.matte import enlarged, steadied
from streamgen.engine.executables import Executables
from streamgen.engine.fit import normalise
from streamgen.engine.sampler import stack_rows
from streamgen.engine.state import Seen
from streamgen.engine.transparency import Shown, source_of
from streamgen.models.matte import MATTE_SIDE, MatteNet, load_matte
from streamgen.settings import StreamSettings

__all__ = ["Matting"]

_LOG = logging.getLogger(__name__)
_SIZE = (MATTE_SIDE, MATTE_SIDE)


class Matting:
    """Finds the person in what is shown. Costs nothing until somebody asks.

    Args:
        executables: compile the network.
        device: where to compute.
        buckets: batch sizes, ascending.
    """

    def __init__(self, executables: Executables, device: str, buckets: Sequence[int]) -> None:
        self._executables = executables
        self._device = device
        self._buckets = tuple(buckets)
        self._network: MatteNet | None = None
        self._compiled: dict[int, Future[Compiled]] = {}

    def prepare(self, settings: StreamSettings) -> None:
        """Load the network and begin to compile it, once, if these settings need it.

        Raises:
            WeightsError: ``weights_missing``, ``weights_corrupt``.
        """
        if self._network is not None or not _wants_matte(settings):
            return
        self._network = load_matte().to(self._device)
        for bucket in self._buckets:
            example = torch.zeros((bucket, 3, *_SIZE), device=self._device)
            self._compiled[bucket] = self._executables.beside(self._network, (example,))
        _LOG.info("the person matte is loaded, because a session asked for it")

    def matted(self, shown: list[Shown]) -> list[Shown]:
        """Pictures of one format, each with its share where its settings ask for one.

        Their sessions' settings have been prepared for.
        """
        wanted = [index for index, one in enumerate(shown) if _wants_matte(one.settings)]
        for one in shown:
            if not _wants_matte(one.settings):
                one.state.seen = None
        if not wanted:
            return shown
        sources = [source_of(shown[index], self._device) for index in wanted]
        mattes = self._mattes([shown[index] for index in wanted], stack_rows(sources))
        matted = list(shown)
        for index, source, matte in zip(wanted, sources, mattes, strict=True):
            share = matte if shown[index].settings.matte == "person" else 1 - matte
            matted[index] = replace(shown[index], fitted=source, share=share)
        return matted

    def _mattes(self, shown: Sequence[Shown], sources: Tensor) -> Tensor:
        """[B, 1, H, W] in [0, 1], 1 where a person is."""
        pictures = normalise(_squeezed(sources)).contiguous()
        raw = self._run(pictures)
        steady = stack_rows([_steadied(*row) for row in zip(shown, pictures, raw, strict=True)])
        return enlarged(steady, *sources.shape[1:3])

    def _run(self, pictures: Tensor) -> Tensor:
        """[B, 3, h, w] in [-1, 1] to [B, 1, h, w] in [0, 1]."""
        count = len(pictures)
        bucket = next(size for size in self._buckets if size >= count)
        missing = bucket - count
        padded = torch.cat([pictures, pictures[-1:].expand(missing, *pictures.shape[1:])]) if missing else pictures
        return self._compiled_for(bucket)(padded)[:count]

    def _compiled_for(self, bucket: int) -> Compiled:
        future = self._compiled[bucket]
        assert self._network is not None
        stand_in = self._executables.stand_in(self._network)
        if stand_in is not None and (not future.done() or future.exception() is not None):
            return stand_in
        return future.result()


def _wants_matte(settings: StreamSettings) -> bool:
    """A prompt stream shows nobody."""
    return settings.matte != "none" and settings.source != "prompt"


def _squeezed(sources: Tensor) -> Tensor:
    """uint8 [B, H, W, 3] to [B, 3, h, w], 0 to 255."""
    planes = sources.permute(0, 3, 1, 2)
    if planes.shape[-2:] == _SIZE:
        return planes
    if planes.device.type != "cpu":  # CUDA has no uint8 kernel for this
        planes = planes.float()
    return F.interpolate(planes, size=_SIZE, mode="bilinear", antialias=True)


def _steadied(shown: Shown, picture: Tensor, matte: Tensor) -> Tensor:
    """The matte [1, h, w] after those before it; what the next one is held to is noted."""
    size, state = shown.frame.pixels.shape[:2], shown.state
    seen = state.seen
    if seen is not None and seen.size == size:
        [matte] = steadied(matte[None], picture[None], (seen.picture[None], seen.matte[None]))
    state.seen = Seen(size, picture, matte)
    return matte
