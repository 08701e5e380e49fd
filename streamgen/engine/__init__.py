"""Pure compute: the engine and the worker process around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamgen.config import ModelSpec
    from streamgen.engine.engine import Engine

__all__ = ["build_engine"]


def build_engine(
    spec: ModelSpec,
    backend: str = "auto",
    threads: int = 0,
    *,
    wait_for_compilation: bool = True,
    proven: bool = False,
) -> Engine:
    """Load the model, choose the backend and return an engine that serves.

    Args:
        spec: what to load.
        backend: ``auto`` or a name in ``BACKENDS``.
        threads: compute threads; 0 leaves one core free.
        wait_for_compilation: see ``Engine``.
        proven: a process before this one ran the model with this backend and precision: they are neither measured nor
            waited for.

    Raises:
        ConfigError: ``unknown_model`` and whatever else keeps the model from loading.
        WeightsError: ``weights_missing`` or ``weights_corrupt``.
        BackendUnavailable: ``unknown_backend``, ``backend_unavailable`` or ``device_unavailable``.
    """
    from dataclasses import replace

    from streamgen import devices
    from streamgen.engine.engine import Engine
    from streamgen.engine.select import choose_backend, proven_backend
    from streamgen.engine.threads import compute_threads, use_threads
    from streamgen.errors import BackendUnavailable
    from streamgen.models import load_model
    from streamgen.settings import FrameFormat

    count = compute_threads(threads)
    use_threads(count)
    spec = replace(spec, device=devices.choose(spec.device))
    if reason := devices.unavailable(spec.device):
        raise BackendUnavailable("device_unavailable", f"device {spec.device} cannot be used: {reason}", field="device")
    model = load_model(spec)
    if spec.quantise != "none":
        from streamgen.engine.quantised import quantise_network

        quantise_network(model, spec.quantise)
    chosen, report = proven_backend(model, backend, count) if proven else choose_backend(model, backend, count)
    # Measured on two cores: a CPU computes two rows no faster together than one after the other, so the first
    # session's frame may as well leave early. A GPU is idle most of the time with one row.
    max_batch = spec.max_batch or (1 if spec.device == "cpu" else 8)
    engine = Engine(model, chosen, report, max_batch, wait_for_compilation=wait_for_compilation)
    format = FrameFormat(width=model.spec.width, height=model.spec.height)
    try:
        engine.prepare(format, wait=wait_for_compilation or (chosen.quick_to_compile and not proven))
    except BaseException:
        engine.close_all()  # or its thread would go on compiling for nobody
        raise
    return engine
