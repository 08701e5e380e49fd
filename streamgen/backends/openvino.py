"""OpenVINO: the fastest way found to run a small convolutional network on a CPU."""

from __future__ import annotations

import sys
import threading
import warnings
from importlib import import_module
from importlib.util import find_spec
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from streamgen.backends.base import Backend, Compiled, quantised_variant

__all__ = ["OpenVinoBackend", "quiet_openvino"]

_PRECISION = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}
"""What is left of the arithmetic in floating point runs at this precision."""


class OpenVinoBackend(Backend):
    """Converts the network once and compiles it for each shape with static dimensions."""

    name = "openvino"
    runs_quantised = True

    @classmethod
    def unavailable(cls, device: str) -> str | None:
        if device != "cpu":
            return f"it is used for the CPU here, not for {device}"
        if find_spec("openvino") is None:
            return "the package openvino is not installed"
        return None

    @classmethod
    def dtypes(cls, device: str) -> tuple[str, ...]:
        fast = "BF16" in quiet_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        return ("float32", "bfloat16") if fast else ("float32",)

    def compile(self, network: nn.Module, example: tuple[Tensor, ...]) -> Compiled:
        openvino = quiet_openvino()
        small = quantised_variant(network) if self.dtype == "int8" else None
        graph = openvino.Core().read_model(small) if small else _converted(network, example).clone()
        ports = zip(graph.inputs, example, strict=True)
        graph.reshape({port: openvino.PartialShape(list(tensor.shape)) for port, tensor in ports})
        options = {
            "INFERENCE_PRECISION_HINT": _PRECISION[self.dtype],
            "INFERENCE_NUM_THREADS": self.threads,
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
        }
        request = openvino.Core().compile_model(graph, "CPU", options).create_infer_request()

        def call(*tensors: Tensor) -> Tensor:
            inputs = [tensor.contiguous().numpy() for tensor in tensors]
            result = request.infer(inputs, share_inputs=True, share_outputs=True)
            # The buffer belongs to the request and is overwritten by the next call: hand out a copy.
            return torch.from_numpy(result[0]).clone()

        return call


_GRAPHS: WeakKeyDictionary[nn.Module, Any] = WeakKeyDictionary()
_CONVERTING = threading.Lock()


def _converted(network: nn.Module, example: tuple[Tensor, ...]) -> Any:
    """The network as a graph with free dimensions; converted once, for every precision and shape."""
    with _CONVERTING:
        if network not in _GRAPHS:
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore")  # the tracer reports shape checks, which hold for every shape
                # OpenVINO would trace by itself, and have the trace checked, which takes a second and a half.
                traced = torch.jit.trace(network, example, strict=False, check_trace=False)  # type: ignore[no-untyped-call]
                _GRAPHS[network] = quiet_openvino().convert_model(traced, example_input=example)
        return _GRAPHS[network]


def quiet_openvino() -> Any:
    """The package without its telemetry, which by default reports every conversion to its maker.

    Its tools use a stub when the module cannot be imported; a None in ``sys.modules`` is how Python says that.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return import_module("openvino")
