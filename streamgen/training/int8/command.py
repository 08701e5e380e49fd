"""Post-training quantisation by NNCF, whose graph OpenVINO runs in int8."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from streamgen.backends.openvino import quiet_openvino
from streamgen.backends.quantise import psnr_db
from streamgen.models.int8_graph import write_graph
from streamgen.models.tiny import TinyModel
from streamgen.models.tiny_unet import TinyUNet
from streamgen.models.tiny_weights import load_network
from streamgen.training.data import Photos, centre_crop, read_picture, to_tensor

__all__ = ["quantise"]

_LEAST_DB = 30.0
_HELD_OUT = 6


def quantise(args: argparse.Namespace) -> int:
    """Do what `streamgen train int8` promises."""
    nncf = _nncf()
    torch.set_num_threads(args.threads)
    weights = args.weights or TinyModel.default_weights
    network, names = load_network(weights)
    random = np.random.default_rng(0)
    photos = Photos(args.data, "train")
    samples = [_inputs(network, random, to_tensor([photos.draw(random)])) for _ in range(args.photos)]
    graph = _quantised(nncf, network, samples)
    path = write_graph(weights, network, lambda to: quiet_openvino().save_model(graph, to, compress_to_fp16=True))
    return _report(network, names, path, args.data)


def _nncf() -> Any:
    """The package, which no other command needs: it is asked for before there is anything to lose."""
    quiet_openvino()  # before NNCF, which imports it too
    return import_module("nncf")


def _quantised(nncf: Any, network: TinyUNet, samples: Sequence[tuple[Tensor, ...]]) -> Any:
    """The network as an int8 graph for pictures of any size."""
    graph = quiet_openvino().convert_model(network, example_input=samples[0])
    return nncf.quantize(
        graph,
        nncf.Dataset(samples, lambda inputs: [tensor.numpy() for tensor in inputs]),
        subset_size=len(samples),
        preset=nncf.QuantizationPreset.MIXED,
        # Noise reaches to 4 and the source to 1: one scale for both would cost the source two bits. The last layers
        # make the picture itself, and few numbers steer every normalisation.
        ignored_scope=nncf.IgnoredScope(
            patterns=[".*stem.*", ".*head.*", ".*full.*", ".*state.*", ".*gain.*", ".*offset.*"], validate=False
        ),
    )


def _inputs(network: TinyUNet, random: np.random.Generator, source: Tensor) -> tuple[Tensor, ...]:
    """What a first or a further step sees."""
    level = math.pi / 2 if random.random() < 0.7 else float(random.uniform(0.2, 1.4))
    noise = torch.from_numpy(random.standard_normal(source.shape, np.float32))
    x_t = math.cos(level) * source + math.sin(level) * noise
    row = int(random.integers(len(network.styles)))
    return x_t, torch.tensor([level]), torch.ones(1, 1), network.styles[row : row + 1].detach(), source


def _report(network: TinyUNet, names: list[str], path: Path, data: Path) -> int:
    """Print each style's PSNR on held-out photos; 0 when none is below what is allowed."""
    files = Photos(data, "val").files
    photos = to_tensor([centre_crop(read_picture(file)) for file in files[:: max(1, len(files) // _HELD_OUT)]])
    compiled = quiet_openvino().Core().compile_model(path, "CPU")
    worst = math.inf
    for name, ratio in zip(names, _ratios(network, compiled, photos), strict=True):
        Console().print(f"{name:14s} {ratio:5.1f} dB")
        worst = min(worst, ratio)
    Console().print(f"{path}: {path.with_suffix('.bin').stat().st_size / 1e6:.1f} MB, at worst {worst:.1f} dB")
    return 0 if worst >= _LEAST_DB else 1


@torch.no_grad()
def _ratios(network: TinyUNet, compiled: Any, photos: Tensor) -> Iterator[float]:
    noise = torch.randn(photos.shape[1:], generator=torch.Generator().manual_seed(0))[None]
    for row in range(len(network.styles)):
        style = network.styles[row : row + 1]
        fixed = (torch.tensor([math.pi / 2]), torch.ones(1, 1), style)
        wanted = torch.cat([network(noise, *fixed, photo[None]) for photo in photos])
        arguments = [[tensor.numpy() for tensor in (noise, *fixed, photo[None])] for photo in photos]
        made = torch.from_numpy(np.concatenate([compiled(inputs)[0] for inputs in arguments]))
        yield psnr_db(made.clamp(-1, 1), wanted.clamp(-1, 1), 2.0)
