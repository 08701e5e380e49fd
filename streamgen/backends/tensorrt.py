"""TensorRT through the package torch_tensorrt: minutes to build an engine for each shape, fast afterwards.

Never run on a GPU by the authors of streamgen: only the reasons it gives for not being there and the calls it makes are
tested.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from torch import Tensor, nn

from streamgen import devices
from streamgen.backends.agreement import require_agreement
from streamgen.backends.base import Backend, Compiled
from streamgen.backends.eager import cast_network, with_cast
from streamgen.backends.inductor import compiled_once

__all__ = ["TensorRtBackend"]

_TOLERANCE = 0.03  # half precision, rounded in another order, differs by under 1 %


class TensorRtBackend(Backend):
    """Builds an engine for each shape with ``torch.compile(backend="torch_tensorrt")``."""

    name = "tensorrt"
    quick_to_compile = False

    @classmethod
    def unavailable(cls, device: str) -> str | None:
        if device.partition(":")[0] != "cuda":
            return f"it is for CUDA devices, not for {device}"
        if find_spec("torch_tensorrt") is None:
            return "the package torch_tensorrt is not installed"
        try:
            import_module("torch_tensorrt")
        except (ImportError, OSError, RuntimeError) as error:
            return f"torch_tensorrt cannot be imported: {' '.join(str(error).split())[:200]}"
        return devices.unavailable(device)

    @classmethod
    def dtypes(cls, device: str) -> tuple[str, ...]:
        return ("float32", "float16")

    def compile(self, network: nn.Module, example: tuple[Tensor, ...]) -> Compiled:
        import_module("torch_tensorrt")  # importing it is what makes its compiler known to torch
        # Explicit typing keeps every layer at the network's own precision; a subgraph that cannot be built is an error
        # instead of a silent return to torch.
        options = {"use_explicit_typing": True, "pass_through_build_failures": True}
        built = compiled_once(cast_network(network, self.dtype), backend="torch_tensorrt", options=options)
        fast = with_cast(built, self.dtype)
        plain = with_cast(cast_network(network, self.dtype), self.dtype)
        require_agreement(self.name, fast, plain, example, _TOLERANCE)
        return fast
