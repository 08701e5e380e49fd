"""stable-fast (chengzeyi/stable-fast 1.0.5, 2024): TorchScript with fused kernels, for those who still run it.

Never run on a GPU by the authors of streamgen: only the reasons it gives for not being there and the calls it makes are
tested. Its last release was made for torch 2.1 to 2.3 with CUDA 11.8 or 12.1 and Python 3.11 or earlier.
"""

from __future__ import annotations

import logging
from importlib import import_module
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from streamgen import devices
from streamgen.backends.agreement import require_agreement
from streamgen.backends.base import Backend, Compiled
from streamgen.backends.eager import cast_network, with_cast

__all__ = ["StableFastBackend"]

_LOG = logging.getLogger(__name__)
_TOO_NEW = (2, 12)
_TOLERANCE = 0.03  # half precision, rounded in another order, differs by under 1 %


class StableFastBackend(Backend):
    """Traces and fuses the network, and lets stable-fast capture it as a CUDA graph of its own."""

    name = "stable-fast"
    quick_to_compile = False

    @classmethod
    def unavailable(cls, device: str) -> str | None:
        if device.partition(":")[0] != "cuda":
            return f"it is for CUDA devices, not for {device}"
        if find_spec("sfast") is None:
            return "the package stable-fast is not installed, which was made for torch 2.1 to 2.3"
        if tuple(int(part) for part in torch.__version__.split(".")[:2]) >= _TOO_NEW:
            return f"torch {torch.__version__} is too new: stable-fast does not build with 2.12 or later"
        try:
            import_module("sfast")
            import_module("sfast.compilers.diffusion_pipeline_compiler")
        except (ImportError, OSError, RuntimeError, AttributeError) as error:
            return f"stable-fast cannot be imported: {' '.join(str(error).split())[:200]}"
        if not hasattr(torch.ops.sfast, "cublas_lowp_linear"):
            return "stable-fast was built without CUDA"
        return devices.unavailable(device)

    @classmethod
    def dtypes(cls, device: str) -> tuple[str, ...]:
        return ("float32", "float16")

    def compile(self, network: nn.Module, example: tuple[Tensor, ...]) -> Compiled:
        compiler = import_module("sfast.compilers.diffusion_pipeline_compiler")
        config = compiler.CompilationConfig.Default()
        config.enable_cuda_graph = True
        config.enable_triton = find_spec("triton") is not None
        # Both accumulate in float16 and lose what the picture needs.
        config.prefer_lowp_gemm = False
        config.enable_fused_linear_geglu = False
        # compile_unet changes the object that it is given, so it gets one of its own around the same weights.
        fast = with_cast(compiler.compile_unet(cast_network(network, self.dtype), config), self.dtype)
        plain = with_cast(cast_network(network, self.dtype), self.dtype)
        require_agreement(self.name, fast, plain, example, _TOLERANCE)
        _LOG.info("stable-fast agrees with the network within %.0f %%", 100 * _TOLERANCE)
        return fast
