"""The fastest way on NVIDIA: Inductor's kernels, and the whole frame as one CUDA graph.

At one row a few-step UNet is some three hundred kernels of a few microseconds, and launching them one by one costs as
much as computing them. A graph is launched once.
"""

from __future__ import annotations

import logging
import shutil
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from streamgen import devices
from streamgen.backends.base import Backend, Compiled, Function
from streamgen.backends.eager import cast_network, with_cast
from streamgen.backends.inductor import compiled_once
from streamgen.backends.static_buffers import StaticFunction

__all__ = ["CudaGraphBackend", "CudaRecorder"]

_LOG = logging.getLogger(__name__)
_WARM_UPS = 3  # before a capture, as torch's notes on CUDA graphs have it: libraries make handles and workspaces lazily


class CudaGraphBackend(Backend):
    """Compiles networks for each shape and captures whole frames.

    Without Triton and what it needs, torch's own kernels are captured instead, and the log says so.
    """

    name = "cuda-graph"
    quick_to_compile = False
    captures_frames = True
    options: ClassVar[Mapping[str, bool]] = {
        "conv_1x1_as_mm": True,
        "coordinate_descent_tuning": True,
        "coordinate_descent_check_all_directions": True,
        "epilogue_fusion": False,
        "triton.cudagraphs": False,  # one graph of the whole frame takes the place of one for each network
    }
    """Inductor's. What torch's authors found best for SDXL ("Accelerating Generative AI Part III", 2024)."""

    def __init__(self, device: str, dtype: str, threads: int) -> None:
        super().__init__(device, dtype, threads)
        self._recorder: CudaRecorder | None = None
        self._uncompiled = _triton_missing()
        if self._uncompiled is not None:
            _LOG.warning("cuda-graph captures torch's own kernels, uncompiled and slower: %s", self._uncompiled)

    @classmethod
    def unavailable(cls, device: str) -> str | None:
        if device.partition(":")[0] != "cuda":
            return f"it is for CUDA devices, not for {device}"
        return devices.unavailable(device)

    @classmethod
    def dtypes(cls, device: str) -> tuple[str, ...]:
        return ("float32", devices.fast_dtype(device))

    @property
    def recorder(self) -> CudaRecorder:
        """Made when it is first needed, because it touches the device."""
        if self._recorder is None:
            self._recorder = CudaRecorder(self.device)
        return self._recorder

    def compile(self, network: nn.Module, example: tuple[Tensor, ...]) -> Compiled:
        plain = cast_network(network, self.dtype)
        if self._uncompiled is not None:
            return with_cast(plain, self.dtype)
        call = with_cast(compiled_once(plain, options=dict(self.options)), self.dtype)
        with self.recorder.beside():
            call(*example)
            call(*example)  # the first run compiles and tunes; this one finds out whether anything was left
        return call

    def capture(
        self, function: Function, example: tuple[Tensor, ...], exclusive: AbstractContextManager[object]
    ) -> Function:
        """As ``Backend.capture``. All captures share one pool of memory: the results of a replay are overwritten by the
        next replay of *anything* that this backend captured."""
        return StaticFunction(function, example, self.recorder, exclusive)


class CudaRecorder:
    """Records CUDA graphs on one device, one stream and one pool of memory.

    Args:
        device: a CUDA device, with or without its number.
    """

    def __init__(self, device: str) -> None:
        index = torch.device(device).index
        self.device = torch.device("cuda", torch.cuda.current_device() if index is None else index)
        self._stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        self._beside = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Compute on a stream of its own while others use the device, and wait for it in the end.

        Not on the stream of the captures: cuBLAS has one workspace for each stream, and a captured frame that another
        thread replays meanwhile would find somebody else's numbers in its own.
        """
        with torch.cuda.device(self.device), torch.cuda.stream(self._beside):
            self._beside.wait_stream(torch.cuda.default_stream(self.device))
            yield
            self._beside.synchronize()

    def record(
        self, compute: Callable[[], tuple[Tensor, ...]], exclusive: AbstractContextManager[object]
    ) -> tuple[Callable[[], object], tuple[Tensor, ...]]:
        with self.beside():
            for _ in range(_WARM_UPS):
                compute()
        graph = torch.cuda.CUDAGraph()
        # thread_local, because a thread that decodes or compiles may allocate meanwhile. The stream is entered twice:
        # torch.cuda.graph does not leave it when a capture fails.
        with (
            torch.cuda.device(self.device),
            exclusive,
            _own_workspaces(),
            torch.cuda.stream(self._stream),
            torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"),
        ):
            results = compute()
        return graph.replay, results

    def is_remote(self, tensor: Tensor) -> bool:
        return tensor.device.type == "cpu"

    def host_buffer(self, like: Tensor) -> Tensor:
        return torch.empty(like.shape, dtype=like.dtype, pin_memory=True)

    def fence(self) -> CudaFence:
        return CudaFence(self.device)


class CudaFence:
    """An event on the stream that the calling thread works on."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]

    def mark(self) -> None:
        self._event.record(torch.cuda.current_stream(self._device))

    def wait(self) -> None:
        self._event.synchronize()


@contextmanager
def _own_workspaces() -> Iterator[None]:
    """Let what is captured meanwhile take its cuBLAS workspaces from the graphs' own pool, and nobody else use them.

    A workspace that lies in torch's cache would be freed with the first graph that is dropped, while others still hold
    its address. Inductor's own CUDA graphs do the same (``torch._inductor.cudagraph_trees.clear_cublas_manager``).
    """
    torch._C._cuda_clearCublasWorkspaces()
    try:
        yield
    finally:
        torch._C._cuda_clearCublasWorkspaces()


def _triton_missing() -> str | None:
    """What Triton needs and this machine has not, in one lowercase clause; None when it can compile.

    It builds its launcher with a C compiler against Python's headers, and fails in the middle of a compilation
    otherwise.
    """
    from torch.utils._triton import has_triton

    if find_spec("triton") is None:
        return "the package triton is not installed"
    if not has_triton():
        return "triton cannot use this device"
    if not any(map(shutil.which, ("cc", "gcc", "clang", "cl"))):
        return "triton needs a C compiler on the PATH"
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        return "triton needs Python's headers (the package python3-dev of many systems)"
    return None
