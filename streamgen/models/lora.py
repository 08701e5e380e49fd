"""LoRAs whose weights a client may change while frames flow, each session its own (Hu et al. 2021).

diffusers reads the many file formats; here its layers are replaced by ones that take a weight for every row of a batch,
as a tensor. So another weight is a value and not a new graph, and no session sees another's.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from streamgen.config import LoraSpec
from streamgen.errors import ConfigError, WeightsError

__all__ = ["LoraScales", "RowLora", "add_fused", "add_live", "replace_layers", "set_text_weights"]


class LoraScales:
    """The weights in force while a network runs: [B, N], a column for each LoRA. Set before every call of a network,
    which is never called by two threads."""

    def __init__(self) -> None:
        self.rows: Tensor | None = None


class RowLora(nn.Module):
    """A linear or convolutional layer and its LoRAs: base(x) + sum over n of scale[b, n] up_n(down_n(x)).

    All LoRAs of the layer are one pair of layers whose ranks are laid side by side, so several cost two calls as one
    does.

    Args:
        base: the layer itself.
        down: to the joint rank R.
        up: from it.
        columns: [R], which column of the scales each rank belongs to.
        scales: shared by all layers of a network.
    """

    columns: Tensor

    def __init__(self, base: nn.Module, down: nn.Module, up: nn.Module, columns: Tensor, scales: LoraScales) -> None:
        super().__init__()
        self.base, self.down, self.up = base, down, up
        self.register_buffer("columns", columns, persistent=False)
        self._scales = scales

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        rows = self._scales.rows
        assert rows is not None, "a network was called without weights for its LoRAs"
        inner = self.down(x)
        scale = rows[:, self.columns].to(inner.dtype)  # [B, R]
        if inner.dim() == 4:
            inner = inner * scale[:, :, None, None]
        else:
            inner = inner * scale.view(len(scale), *[1] * (inner.dim() - 2), -1)
        return cast(Tensor, self.base(x, *args, **kwargs) + self.up(inner))


def add_fused(pipe: Any, loras: Sequence[LoraSpec]) -> None:
    """Add LoRAs to the pipeline's own weights, for good.

    Raises:
        WeightsError: ``lora_unusable``.
    """
    for lora in loras:
        _read(pipe, lora)
        pipe.fuse_lora(lora_scale=lora.weight)
        pipe.unload_lora_weights()


def add_live(pipe: Any, loras: Sequence[LoraSpec]) -> None:
    """Load LoRAs beside the pipeline's weights. ``replace_layers`` makes them fast and per row.

    Raises:
        WeightsError: ``lora_unusable``.
        ConfigError: ``invalid_arguments`` for a name that is given twice.
    """
    names = [lora.name for lora in loras]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError("invalid_arguments", f"two LoRAs are named {name!r}", field="loras")
    for lora in loras:
        _read(pipe, lora)
    if loras:
        pipe.set_adapters(names, [1.0] * len(names))


def replace_layers(network: nn.Module, names: Sequence[str], scales: LoraScales) -> int:
    """Put a ``RowLora`` in the place of every LoRA layer of ``network`` and return how many there were.

    Raises:
        WeightsError: ``lora_unusable`` for a kind of adapter that is not a plain LoRA.
    """
    from peft.tuners.lora import LoraLayer

    found = [(name, module) for name, module in network.named_modules() if isinstance(module, LoraLayer)]
    for name, layer in found:
        parent = network.get_submodule(name.rpartition(".")[0])
        setattr(parent, name.rpartition(".")[2], _row_lora(layer, names, scales))
    return len(found)


def set_text_weights(pipe: Any, weights: Mapping[str, float]) -> None:
    """Weights of the LoRA layers in the pipeline's text encoders, which prompts are encoded with one at a time."""
    if not weights:
        return
    from peft.tuners.lora import LoraLayer

    for part in ("text_encoder", "text_encoder_2"):
        encoder = getattr(pipe, part, None)
        for module in encoder.modules() if encoder is not None else ():
            if isinstance(module, LoraLayer):
                for name, weight in weights.items():
                    if name in module.scaling:
                        module.set_scale(name, weight)


def _read(pipe: Any, lora: LoraSpec) -> None:
    if not hasattr(pipe, "load_lora_weights"):
        raise WeightsError("lora_unusable", f"{type(pipe).__name__} takes no LoRAs", field="loras")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # peft warns of a second LoRA as if it were a mistake
            pipe.load_lora_weights(lora.source, adapter_name=lora.name, use_safetensors=True)
    except (OSError, SafetensorError, ValueError, KeyError, RuntimeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(
            "lora_unusable", f"the LoRA {lora.source} cannot be used: {reason}", field="loras"
        ) from error


def _row_lora(layer: Any, names: Sequence[str], scales: LoraScales) -> RowLora:
    base = layer.get_base_layer()
    present = [name for name in names if name in layer.lora_A]
    if any(layer.use_dora.get(name) for name in present):
        raise WeightsError("lora_unusable", "a DoRA cannot be weighted per session; fuse it with --fused-lora")
    downs = [layer.lora_A[name].weight for name in present]
    ups = [layer.lora_B[name].weight * layer.scaling[name] for name in present]
    columns = torch.cat(
        [torch.full((len(down),), names.index(name)) for name, down in zip(present, downs, strict=True)]
    )
    down = _layer_like(layer.lora_A[present[0]], torch.cat(downs))
    up = _layer_like(layer.lora_B[present[0]], torch.cat(ups, dim=1))
    return RowLora(base, down, up, columns.to(base.weight.device), scales)


def _layer_like(layer: nn.Module, weight: Tensor) -> nn.Module:
    """A layer of the kind of ``layer`` without bias, with these weights."""
    like: nn.Module
    out_features, in_features = weight.shape[:2]
    if isinstance(layer, nn.Conv2d):
        like = nn.Conv2d(in_features, out_features, layer.kernel_size, layer.stride, layer.padding, bias=False)  # type: ignore[arg-type]
    else:
        like = nn.Linear(in_features, out_features, bias=False)
    like.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
    return like
