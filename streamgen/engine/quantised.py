"""Smaller weights for a loaded model, and what they cost its pictures."""

from __future__ import annotations

import logging

import torch

from streamgen.backends.quantise import psnr_db, quantise
from streamgen.engine.executables import example_inputs
from streamgen.models.base import Model

__all__ = ["quantise_network"]

_LOG = logging.getLogger(__name__)


@torch.inference_mode()
def quantise_network(model: Model, scheme: str) -> float:
    """Quantise the linear layers of ``model.network`` in place; return and log how close x_0 stays to what it was, dB.

    Measured on one call at the model's own size: noise in, at the level of half strength, with an empty prompt.

    Raises:
        ConfigError, BackendUnavailable: as ``backends.quantise.quantise``.
    """
    spec = model.spec
    x_t, t, *cond = example_inputs(model, 1, spec.height, spec.width)
    x_t = torch.randn(x_t.shape, generator=torch.Generator().manual_seed(0)).to(x_t)
    t = torch.full_like(t, model.schedule.timesteps(1, 0.5)[0])
    wanted = model.network(x_t, t, *cond)
    quantise(model.network, scheme)
    ratio = psnr_db(model.network(x_t, t, *cond), wanted, float(wanted.max() - wanted.min()))
    _LOG.info("%s: x_0 stays within %.1f dB PSNR of the weights as they were", scheme, ratio)
    return ratio
