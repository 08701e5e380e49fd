"""Shared by every test: one compute thread, and pictures made by code."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

# Before torch is imported: spinning OpenMP threads beside a busy neighbour are twenty times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pytest

from streamgen.frames import Pixels


@pytest.fixture(scope="session", autouse=True)
def one_compute_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def logs_as_they_were() -> Iterator[None]:
    """Commands that a test runs in this process set up logging for the whole of it."""
    root, ours = logging.getLogger(), logging.getLogger("streamgen")
    before = list(root.handlers), root.level, ours.level
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])


@pytest.fixture(scope="session")
def picture() -> Pixels:
    """uint8 [128, 128, 3]: smooth gradients with a bright square, different in every corner."""
    y, x = np.mgrid[0:128, 0:128]
    pixels = np.stack([x * 2, y * 2, 255 - x - y // 2], axis=-1).clip(0, 255).astype(np.uint8)
    pixels[40:70, 50:90] = (250, 240, 60)
    return pixels
