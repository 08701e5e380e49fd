"""How a network becomes fast on a device: the table of backends."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from streamgen.errors import BackendUnavailable

if TYPE_CHECKING:
    from streamgen.backends.base import Backend

__all__ = ["BACKENDS", "load_backend"]

BACKENDS: dict[str, str] = {
    "eager": "streamgen.backends.eager:EagerBackend",
    "openvino": "streamgen.backends.openvino:OpenVinoBackend",
    "inductor": "streamgen.backends.inductor:InductorBackend",
    "cuda-graph": "streamgen.backends.cuda_graph:CudaGraphBackend",
    "tensorrt": "streamgen.backends.tensorrt:TensorRtBackend",
    "stable-fast": "streamgen.backends.stable_fast:StableFastBackend",
}
"""Backend name to ``module:class``. The module is imported when the backend is asked for."""


def load_backend(name: str) -> type[Backend]:
    """The class of the backend ``name``; call its ``unavailable(device)`` before using it.

    Raises:
        BackendUnavailable: ``unknown_backend``.
    """
    if name not in BACKENDS:
        raise BackendUnavailable(
            "unknown_backend", f"backend must be auto or one of {sorted(BACKENDS)}, got {name!r}", field="backend"
        )
    module, _, attribute = BACKENDS[name].partition(":")
    backend: type[Backend] = getattr(import_module(module), attribute)
    return backend
