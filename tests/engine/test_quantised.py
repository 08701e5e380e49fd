from __future__ import annotations

import pytest
from torch import nn

from streamgen.config import ModelSpec
from streamgen.engine import quantised
from streamgen.engine.quantised import quantise_network
from streamgen.models.tiny import TinyModel
from streamgen.models.tiny_unet import TinyUNet


def coarse(module: nn.Module, scheme: str) -> None:
    """Weights of linear layers in steps, as a quantiser would leave them."""
    steps = {"int8": 128, "int4": 8}[scheme]
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            scale = layer.weight.abs().max() / steps
            layer.weight.data = (layer.weight / scale).round() * scale


def test_what_smaller_weights_cost_is_measured_and_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(quantised, "quantise", coarse)
    caplog.set_level("INFO")
    ratios = {}
    for scheme in ("int8", "int4"):
        model = TinyModel.load(ModelSpec(width=128, height=128))
        assert isinstance(model.network, TinyUNet)
        ratios[scheme] = quantise_network(model, scheme)
    assert ratios["int8"] > ratios["int4"] + 10
    assert ratios["int8"] > 30
    assert f"int8: x_0 stays within {ratios['int8']:.1f} dB PSNR" in caplog.text
