"""Compiled networks by shape, prepared in the background while eager ones serve."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from streamgen.backends.base import Backend, Compiled, Function
from streamgen.backends.eager import EagerBackend
from streamgen.engine.upscaling import enlarge_example, enlargements, sizes_of, upscaler
from streamgen.engine.whole_frame import empty_prompt, frame_example, whole_frame
from streamgen.models.base import Conditioning, Model
from streamgen.settings import FrameFormat

__all__ = ["Executables", "Shape", "eager_instead_of", "example_inputs"]

_LOG = logging.getLogger(__name__)
_KEPT_UNUSED = 4


@dataclass(frozen=True, slots=True)
class Shape:
    """What an executable is for.

    Args:
        part: ``encode``, ``denoise``, ``decode`` or ``enlarge``, one network call; ``frame``, everything from uint8 to
            uint8 that the model does.
        batch: rows.
        height: of the picture that is painted, or of the one to enlarge, pixels.
        width: likewise.
        steps: of a ``frame``; 0 elsewhere.
    """

    part: str
    batch: int
    height: int
    width: int
    steps: int = 0

    def __str__(self) -> str:
        steps = f", {self.steps} steps" if self.steps else ""
        return f"{self.part} {self.batch} x {self.width}x{self.height}{steps}"


class Executables:
    """Hands out the fastest executable that is ready for a shape.

    Args:
        model: whose networks are compiled.
        backend: compiles them.
        stand_in: serves a shape until its own network is ready; None makes the caller wait instead.
        exclusive: held while a CUDA graph is recorded: nothing else may be computed on the device meanwhile.
    """

    def __init__(
        self, model: Model, backend: Backend, stand_in: Backend | None, exclusive: AbstractContextManager[object]
    ) -> None:
        self.compilations = 0
        self.exclusive = exclusive
        self._model = model
        self._networks = _parts(model)
        self._backend = backend
        self._stand_in = stand_in
        # Encoded here, on the caller's thread: a model encodes on one thread only, and compiling has its own.
        self._prompt = empty_prompt(model)
        self._by_shape: OrderedDict[Shape, Future[Any]] = OrderedDict()
        self._compiler = ThreadPoolExecutor(1, thread_name_prefix="compile")

    def prepare(self, format: FrameFormat, batches: tuple[int, ...]) -> list[Future[Any]]:
        """Begin compiling for ``format`` at each batch size. Shapes that are known are not compiled again, unless that
        failed."""
        steps = range(1, self._model.spec.max_steps + 1) if self._backend.captures_frames else ()
        painted = format.painted
        if format.upscale > 1 and "enlarge" not in self._networks:
            self._networks["enlarge"] = upscaler(self._model.spec.device)
        shapes: list[Shape] = []
        for batch in batches:  # the smallest first: one session is the usual case
            size = (batch, painted.height, painted.width)
            shapes += [Shape(part, *size) for part in _parts(self._model)]
            shapes += [Shape("frame", *size, count) for count in steps]
            shapes += [Shape("enlarge", batch, height, width) for height, width in enlargements(format)]
        for shape in shapes:
            if shape in self._by_shape and _failed(self._by_shape[shape]):
                del self._by_shape[shape]
        return [self._future(shape) for shape in shapes]

    def beside(self, network: nn.Module, example: tuple[Tensor, ...]) -> Future[Compiled]:
        """Begin compiling a network that is no part of the model."""
        return self._compiler.submit(self._compile_beside, network, example)

    def stand_in(self, network: nn.Module) -> Compiled | None:
        """What serves until a network is compiled; None where it is to be waited for."""
        return None if self._stand_in is None else self._stand_in.compile(network, ())

    def lookup(self, part: str, batch: int, height: int, width: int) -> tuple[Compiled, bool]:
        """The network to use now, and whether it is the stand-in, which also serves when compiling failed."""
        future = self._future(Shape(part, batch, height, width))
        if self._stand_in is not None and (not future.done() or _failed(future)):
            return self._stand_in.compile(self._networks[part], ()), True
        compiled: Compiled = future.result()
        return compiled, False

    def frame(self, batch: int, format: FrameFormat, steps: int) -> Function | None:
        """All that the model does for a frame, in one launch; None while it is not ready, or where the backend has no
        such thing."""
        if not self._backend.captures_frames:
            return None
        painted = format.painted
        future = self._future(Shape("frame", batch, painted.height, painted.width, steps))
        if self._stand_in is not None and not future.done():
            return None
        return None if _failed(future) else future.result()  # waits only where there is no stand-in

    @property
    def prompt_names(self) -> tuple[str, ...]:
        """Names of the conditioning that a ``frame`` takes, in order."""
        return tuple(self._prompt)

    def settle(self) -> None:
        """Where there is no stand-in, wait for all that is being compiled. Call it before taking ``exclusive``, which
        the compiling thread may need."""
        if self._stand_in is None:
            wait(self._by_shape.values())

    def keep(self, formats: Iterable[FrameFormat]) -> None:
        """Drop what no format in use needs: shapes still waiting to be compiled, and most of those that are ready."""
        needed = {size for format in formats for size in sizes_of(format)}
        unused = [shape for shape in self._by_shape if (shape.height, shape.width) not in needed]
        sizes = list(dict.fromkeys((shape.height, shape.width) for shape in unused))  # least recently used first
        kept = set(sizes[-_KEPT_UNUSED:])
        for shape in unused:
            if self._by_shape[shape].cancel() or (shape.height, shape.width) not in kept:
                del self._by_shape[shape]

    def close(self) -> None:
        """Stop compiling; networks handed out keep working."""
        self._compiler.shutdown(wait=True, cancel_futures=True)
        self._by_shape.clear()

    def _future(self, shape: Shape) -> Future[Any]:
        if shape not in self._by_shape:
            self._by_shape[shape] = self._compiler.submit(self._compile, shape)
        self._by_shape.move_to_end(shape)
        return self._by_shape[shape]

    def _compile(self, shape: Shape) -> Any:
        self.compilations += 1
        try:
            compiled = self._capture(shape) if shape.part == "frame" else self._compile_part(shape)
        except Exception:
            _LOG.exception("%s cannot be compiled for %s", self._backend.name, shape)
            raise
        _LOG.info("%s is ready for %s", self._backend.name, shape)
        return compiled

    def _compile_part(self, shape: Shape) -> Compiled:
        size = (shape.batch, shape.height, shape.width)
        if shape.part == "enlarge":
            example = enlarge_example(*size, self._model.spec.device)
        else:
            example = example_inputs(self._model, *size, shape.part, prompt=self._prompt)
        return self._backend.compile(self._networks[shape.part], example)

    def _compile_beside(self, network: nn.Module, example: tuple[Tensor, ...]) -> Compiled:
        name = f"{type(network).__name__} {tuple(example[0].shape)}"
        try:
            compiled = self._backend.compile(network, example)
        except Exception:
            _LOG.exception("%s cannot compile %s", self._backend.name, name)
            raise
        _LOG.info("%s is ready for %s", self._backend.name, name)
        return compiled

    def _capture(self, shape: Shape) -> Function:
        # The parts were submitted before, to the same single thread, so they are done.
        parts = {
            part: self._by_shape[Shape(part, shape.batch, shape.height, shape.width)].result()
            for part in _parts(self._model)
        }
        example = frame_example(self._model, shape.batch, shape.height, shape.width, shape.steps, prompt=self._prompt)
        function = whole_frame(self._model, self.prompt_names, parts, shape.steps)
        return self._backend.capture(function, example, self.exclusive)


def eager_instead_of(backend: Backend, model: Model) -> Backend | None:
    """The eager backend that serves until ``backend`` is ready; None when it is that already."""
    if isinstance(backend, EagerBackend):
        return None
    return EagerBackend(backend.device, model.dtype, backend.threads)


def _parts(model: Model) -> dict[str, nn.Module]:
    """The model's networks by part."""
    parts = {"encode": model.encoder, "denoise": model.network, "decode": model.decoder}
    return {part: network for part, network in parts.items() if network is not None}


def _failed(future: Future[Any]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is not None


def example_inputs(
    model: Model, batch: int, height: int, width: int, part: str = "denoise", *, prompt: Conditioning | None = None
) -> tuple[Tensor, ...]:
    """Inputs of one part's exact shapes, with harmless values.

    ``prompt``: the model's ``empty_prompt``, where it is at hand.
    """
    device = model.spec.device
    pixels = torch.zeros((batch, 3, height, width), device=device)
    if part == "encode":
        return (pixels,)
    latents = torch.zeros((batch, *model.latent_shape(height, width)), device=device)
    if part == "decode":
        return (latents,)
    cond = {name: tensor.expand(batch, *tensor.shape) for name, tensor in (prompt or empty_prompt(model)).items()}
    cond |= model.source_conditioning(pixels, latents)
    t = torch.full((batch,), model.schedule.timesteps(1, 1.0)[0], device=device)
    return latents, t, *(cond[name].contiguous() for name in model.conditioning_names)
