"""A data folder made here: photos of noise, and random networks in the shape of the real ones."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from streamgen.training.core.recipe import PAINTINGS

SQUEEZE = {"fire2": (96, 16, 64), "fire3": (128, 16, 64), "fire4": (128, 32, 128), "fire5": (256, 32, 128)}
SQUEEZE |= {"fire6": (256, 48, 192), "fire7": (384, 48, 192)}


def random_weights(random: np.random.Generator, *shape: int) -> np.ndarray:
    return (random.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float16)


def write_features(path: Path, random: np.random.Generator) -> None:
    arrays = {"c.conv1.weight": random_weights(random, 96, 3, 7, 7), "c.conv1.bias": np.zeros(96, np.float16)}
    for name, (wide, narrow, out) in SQUEEZE.items():
        for layer, shape in {
            "conv1x1_1": (narrow, wide, 1, 1),
            "conv1x1_2": (out, narrow, 1, 1),
            "conv3x3_2": (out, narrow, 3, 3),
        }.items():
            arrays[f"c.{name}_{layer}.weight"] = random_weights(random, *shape)
            arrays[f"c.{name}_{layer}.bias"] = np.zeros(shape[0], np.float16)
    np.savez(path, **arrays)


def write_multistyle(path: Path, random: np.random.Generator) -> None:
    layers = {"contract.0": (32, 3, 9), "contract.1": (32, 32, 3), "contract.2": (32, 32, 3)}
    layers |= {f"res.{block}.{half}": (32, 32, 3) for block in range(6) for half in range(2)}
    layers |= {"expand.0": (8, 32, 3), "expand.1": (4, 8, 3), "expand.2": (3, 4, 9)}
    arrays = {}
    for name, (out, into, size) in layers.items():
        arrays[f"{name}.w"] = random_weights(random, out, into, size, size).astype(np.float32)
        arrays[f"{name}.norm.gamma"] = np.ones((26, out), np.float32)
        arrays[f"{name}.norm.beta"] = np.zeros((26, out), np.float32)
    np.savez(path, **arrays)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with four photos, the paintings and both networks."""
    root, random = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for name in ("photos", "teachers", "features", "paintings"):
        (root / name).mkdir()
    with (root / "photos.csv").open("w", newline="") as table:
        rows = csv.writer(table)
        rows.writerow(["file", "split"])
        for number in range(4):
            rows.writerow([f"face_{number}.png", "val" if number == 3 else "train"])
            pixels = np.kron(random.integers(0, 256, (10, 14, 3)), np.ones((9, 9, 1))).astype(np.uint8)
            Image.fromarray(pixels).save(root / "photos" / f"face_{number}.png")
    for name in PAINTINGS.values():
        pixels = np.kron(random.integers(0, 256, (12, 16, 3)), np.ones((8, 8, 1))).astype(np.uint8)
        Image.fromarray(pixels).save(root / "paintings" / f"{name}.png")
    write_features(root / "features" / "squeezenet_v1_0_dc.npz", random)
    write_multistyle(root / "teachers" / "multistyle26.npz", random)
    return root
