"""Another model in the place of the one that serves: loaded beside it by a thread, taken over between two frames.

Both models are in memory until the new one has taken over. Where there is no room for two, loading fails, and the old
one goes on as if nothing had been asked.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from streamgen import devices
from streamgen.config import ModelSpec
from streamgen.engine.messages import WorkerInfo, WorkerLaunch
from streamgen.errors import ConfigError, StreamgenError, WorkerError
from streamgen.settings import FrameFormat

if TYPE_CHECKING:
    from streamgen.engine.engine import Engine

__all__ = ["Loaded", "ModelSwap", "describe", "spec_of", "start_of"]

_LOG = logging.getLogger(__name__)
_T = TypeVar("_T")
_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Loaded:
    """An engine that is ready to take over.

    Args:
        engine: it has the formats compiled that were in use when it was begun.
        info: what the worker says of itself once it has taken over.
    """

    engine: Engine
    info: WorkerInfo


class ModelSwap:
    """Loads one model at a time in the background. Poll ``loaded`` and ``freed`` between frames.

    Args:
        launch: what may be loaded, and how.
        build: makes an engine of a model; slow.
        ring: called on another thread when there is something to poll for.
    """

    def __init__(self, launch: WorkerLaunch, build: Callable[[ModelSpec], Engine], ring: Callable[[], None]) -> None:
        self._launch = launch
        self._build = build
        self._ring = ring
        self._loading: Future[Loaded] | None = None
        self._retiring: list[Future[int]] = []

    def begin(self, name: str, loras: tuple[str, ...] | None, formats: Iterable[FrameFormat]) -> None:
        """Begin to load a model, and to compile it for ``formats``.

        Raises:
            WorkerError: ``switch_pending`` while another one is being loaded.
            ConfigError: ``unknown_model``.
        """
        if self._loading is not None:
            raise WorkerError("switch_pending", "another model is being loaded", retryable=True)
        spec = spec_of(self._launch, name, loras)
        wanted = tuple(formats)
        self._loading = self._in_background(lambda: self._load(name, spec, wanted))

    def loaded(self) -> Loaded | None:
        """The engine that was begun, once, when it is ready; None while there is none.

        Raises:
            StreamgenError: what kept the model from loading, once.
        """
        if self._loading is None or not self._loading.done():
            return None
        loading, self._loading = self._loading, None
        return loading.result()

    def retire(self, engines: list[Engine]) -> None:
        """Close engines and give back their memory. The list must be their last holder: it is emptied."""
        self._retiring.append(self._in_background(lambda: _retire(engines)))

    def freed(self) -> list[int]:
        """Bytes that each retired engine gave back, once."""
        done = [future for future in self._retiring if future.done()]
        self._retiring = [future for future in self._retiring if future not in done]
        return [future.result() for future in done if not _failed(future)]

    def _load(self, name: str, spec: ModelSpec, formats: tuple[FrameFormat, ...]) -> Loaded:
        engine: Engine | None = None
        try:
            engine = self._build(spec)
            for format in formats:
                engine.prepare(format, wait=True, rows=1)  # larger batches follow in the background
            return Loaded(engine, describe(engine, name, self._launch))
        except Exception as error:  # the edge of a thread of the worker: whatever it was, the old model goes on
            _LOG.exception("the model %s could not be loaded", name)
            failure = error if isinstance(error, StreamgenError) else None
            reason = str(error) or type(error).__name__
        if engine is not None:
            engine.close_all()  # it would go on compiling, and live as long as that takes
            engine = None
        # Here, where the failure's traceback holds no half of a model any more.
        devices.give_back_memory(devices.choose(spec.device))
        raise _bare(failure or WorkerError("switch_failed", f"the model {name} could not be loaded: {reason}"))

    def _in_background(self, call: Callable[[], _T]) -> Future[_T]:
        future: Future[_T] = Future()

        def run() -> None:
            try:
                result = call()
            except Exception as error:  # the edge of a thread: whoever polls gets it
                future.set_exception(error)
            else:
                future.set_result(result)
            self._ring()

        # A daemon: a process that is told to stop does not wait for a model that takes minutes to load.
        threading.Thread(target=run, name="streamgen-swap", daemon=True).start()
        return future


def spec_of(launch: WorkerLaunch, name: str, loras: tuple[str, ...] | None) -> ModelSpec:
    """What to load. LoRAs that were fused stay in any case: the model needs them for few steps.

    Raises:
        ConfigError: ``unknown_model``.
    """
    spec = launch.models.get(name)
    if spec is None:
        raise ConfigError("unknown_model", f"there is no model named {name!r} on this server", field="model")
    if loras is None:
        return spec
    return replace(spec, loras=tuple(lora for lora in spec.loras if lora.fused or lora.name in loras))


def start_of(launch: WorkerLaunch) -> tuple[ModelSpec, str]:
    """What to load first, and the backend to run it with: the one of the process before, where there was one.

    Raises:
        ConfigError: ``unknown_model``.
    """
    spec = spec_of(launch, launch.model, launch.loras)
    if launch.choice is None:
        return spec, launch.backend
    backend, dtype = launch.choice
    _LOG.info("%s runs in %s with %s, as before", launch.model, dtype, backend)
    return replace(spec, dtype=dtype), backend


def describe(engine: Engine, name: str, launch: WorkerLaunch) -> WorkerInfo:
    """What a worker says of the model that ``engine`` holds."""
    model, report = engine.model, engine.report
    return WorkerInfo(
        model=name,
        styles=model.styles,
        backend=f"{report.chosen} {report.dtype}",
        device=model.spec.device,
        unused=tuple(sorted(model.unused_settings)),
        loras=dict(model.loras),
        models=tuple(launch.models),
        width=model.spec.width,
        height=model.spec.height,
        max_steps=model.spec.max_steps,
        takes_reference=model.takes_reference,
        choice=(report.chosen, report.dtype),
        frame_ms=report.ms,
    )


def _failed(future: Future[int]) -> bool:
    """A failure to let go is for the log: the model that serves must go on."""
    error = future.exception()
    if error is not None:
        _LOG.error("a model could not give its memory back", exc_info=error)
    return error is not None


def _retire(engines: list[Engine]) -> int:
    device, exclusive = engines[0].model.spec.device, engines[0].exclusive
    before = devices.allocated_bytes(device)
    while engines:
        engines.pop().close_all()
    with exclusive:  # no memory may be given back while a CUDA graph is recorded
        devices.give_back_memory(device)
    freed = before - devices.allocated_bytes(device)
    _LOG.info("the model that served before gave back %.0f MiB of %s", freed / _MIB, device)
    return freed


def _bare(error: StreamgenError) -> StreamgenError:
    """The error without what it was raised in: the frames of its traceback would keep a half-loaded model alive."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
