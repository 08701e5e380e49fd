"""Our own feed-forward style teachers: one network that paints in the manner of single paintings (Johnson et al. 2016).

It is the embedded network itself, trained on whole pictures by what SqueezeNet sees instead of by a teacher. It only
makes training targets.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from streamgen.errors import ConfigError
from streamgen.models.tiny_unet import TinyUNet
from streamgen.models.tiny_weights import load_network, save_network
from streamgen.training.average import follow
from streamgen.training.core.recipe import PAINTINGS
from streamgen.training.data import Photos, read_picture, to_tensor
from streamgen.training.features import Features
from streamgen.training.losses import Taps
from streamgen.training.painting import painting_grams, painting_loss
from streamgen.training.schedule import ramp_and_cool

__all__ = ["Painters", "train_painters"]

_CROP = 192
_RATE = 1.2e-3
_GRADIENT_NORM = 1.0


class Painters:
    """The trained network."""

    def __init__(self, network: TinyUNet, names: list[str]) -> None:
        self._network = network
        self._names = names

    @classmethod
    def load(cls, path: Path) -> Painters:
        """Read what ``train_painters`` wrote. Raises `WeightsError` when there is no such file or it is another one."""
        return cls(*load_network(path))

    @torch.no_grad()
    def __call__(self, source: Tensor, name: str) -> Tensor:
        """Paint [B, 3, H, W] in [-1, 1] in the manner of a key of `PAINTINGS`; the same noise for every picture."""
        noise = torch.randn(source.shape[1:], generator=torch.Generator().manual_seed(0)).expand_as(source)
        rows = torch.full((len(source),), self._names.index(name))
        return _paint(self._network, source, noise, rows)


def train_painters(data: Path, path: Path, features: Features, start: TinyUNet, steps: int, seed: int) -> None:
    """Train a network on `PAINTINGS` and write it to ``path``.

    Args:
        data: folder with photos and paintings.
        path: of the file to be.
        features: pictures and paintings are compared with.
        start: a network that paints already, in other manners: it learns a new one in a tenth of the steps.
        steps: of training.
        seed: of every draw.

    Raises:
        ConfigError: ``data_missing`` when a painting is not in the data folder.
    """
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    photos, wanted = Photos(data, "train"), _all_grams(data, features)
    network, average = _beginner(start), _beginner(start).eval().requires_grad_(False)
    optimizer = torch.optim.Adam(network.parameters(), betas=(0.9, 0.99))
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = _RATE * ramp_and_cool(step, step / steps)
        source = to_tensor([_crop(photos.draw(random), random) for _ in PAINTINGS])
        rows = torch.arange(len(PAINTINGS))
        picture = _paint(network, source, torch.randn(source.shape), rows)
        loss = painting_loss(features, picture, source, wanted).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), _GRADIENT_NORM)
        optimizer.step()
        follow(average, network, step)
    save_network(average, list(PAINTINGS), path)


def _beginner(start: TinyUNet) -> TinyUNet:
    """A copy of ``start`` whose styles are all the mean of its own."""
    network = TinyUNet(len(PAINTINGS))
    state = start.state_dict() | {"styles": start.styles.detach().mean(0).repeat(len(PAINTINGS), 1)}
    network.load_state_dict(state)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _paint(network: TinyUNet, source: Tensor, noise: Tensor, rows: Tensor) -> Tensor:
    level, strength = torch.full((len(source),), math.pi / 2), torch.ones(len(source), 1)
    picture: Tensor = network(noise, level, strength, network.styles[rows], source)
    return picture


def _all_grams(data: Path, features: Features) -> Taps:
    grams = []
    for name, beginning in PAINTINGS.items():
        file = next(iter(sorted((data / "paintings").glob(f"{beginning}*"))), None)
        if file is None:
            lacking = f"no painting {beginning}* for {name} in {data / 'paintings'}"
            raise ConfigError("data_missing", lacking, field="data")
        grams.append(painting_grams(features, read_picture(file)))
    return {tap: torch.cat([gram[tap] for gram in grams]) for tap in grams[0]}


def _crop(photo: np.ndarray, random: np.random.Generator) -> np.ndarray:
    top, left = (int(random.integers(side - _CROP + 1)) for side in photo.shape[:2])
    return photo[top : top + _CROP, left : left + _CROP]
