"""Batches for one step: examples of the bank as other cameras, rooms and hands would have taken them."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streamgen.training.data import Pixels, to_tensor
from streamgen.training.matte.bank import Bank, Example

__all__ = ["augment", "draw_batch"]


def draw_batch(bank: Bank, random: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
    """Augmented examples: pictures [B, 3, 256, 256] in [-1, 1] and mattes [B, 1, 256, 256] in [0, 1]."""
    indices = random.integers(len(bank.pictures), size=count)
    drawn = [augment((bank.pictures[index], bank.mattes[index]), random) for index in indices]
    mattes = torch.from_numpy(np.stack([matte for _, matte in drawn]))[:, None].float() / 255
    return to_tensor([picture for picture, _ in drawn]), mattes


def augment(example: Example, random: np.random.Generator) -> Example:
    """One example moved, and seen by another camera in another light."""
    picture, matte = _move(example, random)
    light = _relit(picture.astype(np.float32) / np.float32(255), random)
    light = _blurred(light, random) if random.random() < 0.25 else light
    if random.random() < 0.5:
        light = light + random.standard_normal(light.shape, np.float32) * np.float32(random.uniform(0.005, 0.06))
    picture = np.clip(light * 255 + 0.5, 0, 255).astype(np.uint8)
    return (_compressed(picture, random) if random.random() < 0.3 else picture), matte


def _move(example: Example, random: np.random.Generator) -> Example:
    """Mirror, turn, stretch and shift both; borders are mirrored."""
    height, width = example[0].shape[:2]
    angle = random.normal(0, 6)
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1.0)
    stretch = np.diag([*(random.uniform(0.85, 1.35) * random.uniform(0.9, 1.1, 2)), 1.0])
    if random.random() < 0.5:
        stretch[0, 0] *= -1
    shift = random.uniform(-0.1, 0.1, 2) * (width, height)
    centre = np.array([[1, 0, width / 2 + shift[0]], [0, 1, height / 2 + shift[1]], [0, 0, 1]])
    back = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1]])
    total = (centre @ stretch @ back @ np.vstack([turn, [0, 0, 1]]))[:2]
    moved = [
        cv2.warpAffine(np.asarray(plane), total, (width, height), borderMode=cv2.BORDER_REFLECT_101)
        for plane in example
    ]
    return np.asarray(moved[0], np.uint8), np.asarray(moved[1], np.uint8)


def _relit(light: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """Exposure, contrast, white balance and saturation; dim rooms are common before a screen."""
    light = light ** random.uniform(0.65, 1.6)
    light = (light - 0.5) * random.uniform(0.7, 1.2) + 0.5 + random.uniform(-0.12, 0.1)
    light = light * random.uniform(0.88, 1.12, 3).astype(np.float32)
    grey = light.mean(-1, keepdims=True)
    if random.random() < 0.2:  # other clothes, at the price of other skin: there are few people to learn from
        light = light[..., random.permutation(3)]
    saturation = 0.0 if random.random() < 0.05 else random.uniform(0.5, 1.4)
    return np.asarray(np.clip(grey + (light - grey) * saturation, 0, 1), np.float32)


def _blurred(light: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """Out of focus, or from a camera of a lower resolution."""
    if random.random() < 0.5:
        return np.asarray(cv2.GaussianBlur(light, (0, 0), random.uniform(0.5, 1.8)))
    side = int(light.shape[0] * random.uniform(0.35, 0.8))
    small = cv2.resize(light, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, light.shape[1::-1], interpolation=cv2.INTER_LINEAR))


def _compressed(picture: Pixels, random: np.random.Generator) -> Pixels:
    """As a JPEG of low quality leaves it."""
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(25, 80))])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
