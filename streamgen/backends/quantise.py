"""Linear layers with small weights, through torchao: a model that did not fit then does.

Convolutions keep theirs. Linear layers hold seven eighths of the weights of SDXL, half of SANA's and a third of
SD-Turbo's.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from streamgen.errors import BackendUnavailable, ConfigError

__all__ = ["SCHEMES", "QuantisationReport", "psnr_db", "quantise", "weight_bytes"]

_LOG = logging.getLogger(__name__)
_FP8_CAPABILITY = (8, 9)
_INT4_CAPABILITY = (8, 0)
_INT4_GROUP = 128


@dataclass(frozen=True, slots=True)
class QuantisationReport:
    """What became of a network's weights.

    Args:
        scheme: a name in ``SCHEMES``.
        layers: linear layers whose weights are smaller now.
        bytes_before: of all parameters.
        bytes_after: likewise.
    """

    scheme: str
    layers: int
    bytes_before: int
    bytes_after: int


def _int8(ao: Any) -> Any:
    """8-bit weights, one scale a row, multiplied at the activations' precision: any device."""
    return ao.Int8WeightOnlyConfig(set_inductor_config=False)


def _fp8(ao: Any) -> Any:
    """8-bit floating point weights and activations, one scale a row, multiplied by the tensor cores as they are."""
    return ao.Float8DynamicActivationFloat8WeightConfig(granularity=ao.PerRow(), set_inductor_config=False)


def _int4(ao: Any) -> Any:
    """4-bit weights, one scale for 128 of them, for torch's own kernel; rows of other lengths stay as they are."""
    packing = import_module("torchao.quantization.quantize_.workflows").Int4PackingFormat.TILE_PACKED_TO_4D
    return ao.Int4WeightOnlyConfig(group_size=_INT4_GROUP, int4_packing_format=packing, set_inductor_config=False)


SCHEMES: dict[str, Callable[[Any], Any]] = {"int8": _int8, "fp8": _fp8, "int4": _int4}
"""Name to a function from the module ``torchao.quantization`` to its configuration."""


def quantise(module: nn.Module, scheme: str) -> QuantisationReport:
    """Replace the weights of ``module``'s linear layers, in place, on the device they are on.

    Raises:
        ConfigError: ``unknown_scheme``, or ``missing_package`` without torchao.
        BackendUnavailable: ``quantisation_unavailable`` when the device has no arithmetic for it.
    """
    if scheme not in SCHEMES:
        raise ConfigError(
            "unknown_scheme", f"quantise must be none or one of {sorted(SCHEMES)}, got {scheme!r}", field="quantise"
        )
    weights = [layer.weight for layer in module.modules() if isinstance(layer, nn.Linear)]
    if weights and (reason := _incapable(scheme, weights[0])):
        raise BackendUnavailable("quantisation_unavailable", f"{scheme} cannot run: {reason}", field="quantise")
    ao = _torchao()
    before = weight_bytes(module)
    ao.quantize_(module, SCHEMES[scheme](ao), filter_fn=lambda layer, name: isinstance(layer, nn.Linear))
    layers = sum(
        isinstance(layer, nn.Linear) and hasattr(layer.weight, "__tensor_flatten__") for layer in module.modules()
    )
    report = QuantisationReport(scheme, layers, before, weight_bytes(module))
    _LOG.info("%s: %d layers, %.0f to %.0f MB", scheme, layers, report.bytes_before / 1e6, report.bytes_after / 1e6)
    return report


def weight_bytes(module: nn.Module) -> int:
    """Bytes of all parameters, those of quantised ones included."""
    return sum(_bytes(parameter) for parameter in module.parameters())


def psnr_db(made: Tensor, wanted: Tensor, peak: float) -> float:
    """Peak signal to noise ratio of ``made`` against ``wanted``, dB; infinite when they are equal, minus infinity when
    either is not a number somewhere: NaN would be less than no bound.

    Args:
        made: any shape.
        wanted: the same shape.
        peak: span of the values: 255 for uint8, 2 for [-1, 1].
    """
    error = float((made.double() - wanted.double()).square().mean())
    if math.isnan(error):
        return -math.inf
    return math.inf if error == 0 else float(10 * torch.log10(torch.tensor(peak**2 / error)))


def _bytes(tensor: Tensor) -> int:
    """torchao's tensors say of themselves what they stand for; what they hold is what they are made of."""
    if not hasattr(tensor, "__tensor_flatten__"):
        return tensor.numel() * tensor.element_size()
    names, _ = tensor.__tensor_flatten__()
    return sum(_bytes(getattr(tensor, name)) for name in names)


def _incapable(scheme: str, weight: Tensor) -> str | None:
    """Why the device of ``weight`` cannot compute with it, in one lowercase clause; None when it can."""
    needed = {"fp8": _FP8_CAPABILITY, "int4": _INT4_CAPABILITY}.get(scheme)
    if needed is None:
        return None
    wanted = f"it needs an NVIDIA GPU of compute capability {needed[0]}.{needed[1]} or later"
    if weight.device.type != "cuda":
        return f"{wanted}, not {weight.device.type}"
    found = torch.cuda.get_device_capability(weight.device)
    if found < needed:
        return f"{wanted}, this one has {found[0]}.{found[1]}"
    if weight.dtype != torch.bfloat16:
        return f"its kernels want weights in bfloat16, these are in {str(weight.dtype).removeprefix('torch.')}"
    return None


def _torchao() -> Any:
    if find_spec("torchao") is None:
        raise ConfigError(
            "missing_package", "quantised weights need the package torchao: pip install torchao", field="quantise"
        )
    return import_module("torchao.quantization")
