"""The person matte: its network, its weights file, and whether the packaged one finds a person."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from skimage import data
from torch import Tensor

from streamgen.errors import WeightsError
from streamgen.models.matte import MATTE_WEIGHTS, MatteNet, load_matte, save_matte


def picture(pixels: object) -> Tensor:
    """uint8 [H, W, 3] to [1, 3, 256, 256] in [-1, 1]."""
    planes = torch.as_tensor(pixels).permute(2, 0, 1)[None].float()
    return F.interpolate(planes, size=(256, 256), mode="bilinear", antialias=True) / 127.5 - 1


def settled_network() -> MatteNet:
    """Random weights, and normalisations that have seen something."""
    torch.manual_seed(0)
    network = MatteNet()
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(2, 3, 64, 64))
    return network.eval()


@pytest.mark.parametrize("size", [(256, 256), (64, 96)])
def test_every_pixel_gets_a_probability(size: tuple[int, int]) -> None:
    matte = settled_network()(torch.randn(2, 3, *size))
    assert matte.shape == (2, 1, *size)
    assert matte.min() >= 0 and matte.max() <= 1


def test_rows_of_a_batch_know_nothing_of_each_other() -> None:
    network = settled_network()
    rows = torch.randn(3, 3, 64, 64)
    with torch.inference_mode():
        together = network(rows)
        torch.testing.assert_close(together[1:2], network(rows[1:2]), rtol=1e-4, atol=1e-5)


def test_what_is_saved_is_loaded_within_half_precision(tmp_path: Path) -> None:
    network = settled_network()
    save_matte(network, tmp_path / "matte.safetensors")
    loaded = load_matte(tmp_path / "matte.safetensors")
    rows = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert (loaded(rows) - network(rows)).abs().max() < 0.01
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in loaded.modules())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no weights file") as raised:
        load_matte(tmp_path / "gone.safetensors")
    assert raised.value.code == "weights_missing"


@pytest.mark.parametrize("damage", ["garbage", "another network"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "matte.safetensors"
    if damage == "garbage":
        path.write_bytes(b"\x08\0\0\0\0\0\0\0not json")
    else:
        path.write_bytes((MATTE_WEIGHTS.parent / "tiny.safetensors").read_bytes())
    with pytest.raises(WeightsError) as raised:
        load_matte(path)
    assert raised.value.code == "weights_corrupt"


def test_the_packaged_weights_are_small() -> None:
    assert MATTE_WEIGHTS.stat().st_size <= 1_000_000


def test_the_packaged_matte_finds_a_face_before_a_camera_and_not_what_is_behind_it() -> None:
    with torch.inference_mode():
        matte = load_matte()(picture(data.astronaut()[:220, 120:340]))[0, 0]
    assert matte[70:190, 90:180].mean() > 0.8  # the face of the astronaut
    assert matte[:40, :50].mean() < 0.1 and matte[:40, 215:].mean() < 0.1


def test_the_packaged_matte_finds_nobody_where_nobody_is() -> None:
    with torch.inference_mode():
        assert load_matte()(picture(data.rocket())).mean() < 0.1
