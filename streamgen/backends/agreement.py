"""Does a compiled network still compute what the network computes? Asked once, of compilers that are not trusted."""

from __future__ import annotations

import torch
from torch import Tensor

from streamgen.backends.base import Compiled
from streamgen.errors import BackendUnavailable

__all__ = ["require_agreement"]


def require_agreement(
    backend: str, fast: Compiled, plain: Compiled, example: tuple[Tensor, ...], tolerance: float
) -> None:
    """Compare both on random tensors shaped like ``example``; arguments of one dimension, such as timesteps, are the
    example's own.

    Args:
        backend: named in the error.
        fast: what is asked about.
        plain: the reference.
        example: arguments.
        tolerance: most error allowed, |fast - plain| / |plain| over all elements.

    Raises:
        BackendUnavailable: ``backend_unavailable`` with the error that was found.
    """
    generator = torch.Generator().manual_seed(0)
    inputs = [tensor if tensor.dim() <= 1 else _noise(tensor, generator) for tensor in example]
    wanted = plain(*inputs).float()
    error = float((fast(*inputs).float() - wanted).norm() / wanted.norm().clamp_min(1e-12))
    if not error <= tolerance:  # also when it is not a number
        raise BackendUnavailable(
            "backend_unavailable",
            f"backend {backend} cannot run: its result differs from the network's own by {error:.1%}, "
            f"more than {tolerance:.0%}",
            field="backend",
        )


def _noise(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator).to(like)
