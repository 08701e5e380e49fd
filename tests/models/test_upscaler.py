"""The upscaler's network: what it starts from, its sizes and values, and its file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from streamgen.backends.eager import EagerBackend
from streamgen.errors import WeightsError
from streamgen.frames import Pixels
from streamgen.models.upscaler import DEFAULT_WEIGHTS, Upscaler, load_upscaler, save_upscaler

LARGEST = 1_000_000


def batch_of(pixels: Pixels) -> torch.Tensor:
    return torch.from_numpy(pixels)[None]


def psnr_db(made: torch.Tensor, wanted: torch.Tensor) -> float:
    return float(10 * torch.log10(255**2 / (made.float() - wanted.float()).square().mean()))


def test_untrained_it_is_bicubic_interpolation() -> None:
    pictures = torch.rand(2, 3, 20, 34, generator=torch.Generator().manual_seed(0))
    bicubic = F.interpolate(pictures, scale_factor=2, mode="bicubic")
    torch.testing.assert_close(Upscaler().enlarge(pictures), bicubic, atol=1e-5, rtol=0)


def test_bytes_and_numbers_are_enlarged_alike() -> None:
    network = load_upscaler()
    pixels = torch.randint(256, (1, 20, 34, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        numbers = network.enlarge(pixels.permute(0, 3, 1, 2).float() / 255)
    wanted = numbers.mul(255).clamp(0, 255).permute(0, 2, 3, 1)
    made = network(pixels)
    assert made.dtype == torch.uint8 and made.shape == (1, 40, 68, 3)
    assert (made.float() - wanted).abs().max() < 0.51


@pytest.mark.parametrize("level", [0, 1, 100, 254, 255])
def test_an_even_area_stays_as_it_is_up_to_its_edges(level: int) -> None:
    made = load_upscaler()(torch.full((1, 32, 32, 3), level, dtype=torch.uint8))
    assert (made.int() - level).abs().max() <= 2


def test_a_row_does_not_depend_on_its_neighbours(picture: Pixels) -> None:
    network = load_upscaler()
    both = network(torch.cat([batch_of(picture), batch_of(255 - picture)]))
    torch.testing.assert_close(both[:1], network(batch_of(picture)), atol=1, rtol=0)


def test_the_packaged_weights_show_more_than_bicubic_interpolation() -> None:
    from skimage.data import astronaut

    whole = torch.from_numpy(np.ascontiguousarray(astronaut()[:256, 128:384])).permute(2, 0, 1)[None].float()
    small = F.interpolate(whole, scale_factor=0.5, mode="bicubic", antialias=True).round().clamp(0, 255)
    bicubic = F.interpolate(small, scale_factor=2, mode="bicubic").round().clamp(0, 255)
    made = load_upscaler()(small.to(torch.uint8).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    assert psnr_db(made, whole) > psnr_db(bicubic, whole) + 1.0


def test_a_backend_takes_bytes_and_returns_bytes(picture: Pixels) -> None:
    network = load_upscaler()
    call = EagerBackend("cpu", "bfloat16", 1).compile(network, (batch_of(picture),))
    assert torch.equal(call(batch_of(picture)), network(batch_of(picture)))


def test_openvino_makes_the_same_picture(picture: Pixels) -> None:
    pytest.importorskip("openvino")
    from streamgen.backends.openvino import OpenVinoBackend

    network = load_upscaler()
    made = OpenVinoBackend("cpu", "float32", 1).compile(network, (batch_of(picture),))(batch_of(picture))
    assert made.dtype == torch.uint8
    assert (made.int() - network(batch_of(picture)).int()).abs().max() <= 1


def test_weights_survive_their_file(tmp_path: Path) -> None:
    network = Upscaler()
    torch.nn.init.normal_(network.last.weight)
    save_upscaler(network, tmp_path / "weights.safetensors")
    loaded = load_upscaler(tmp_path / "weights.safetensors")
    for name, value in network.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value.half().float())
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_the_packaged_weights_are_small() -> None:
    assert DEFAULT_WEIGHTS.stat().st_size <= LARGEST


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        load_upscaler(tmp_path / "none.safetensors")
    assert caught.value.code == "weights_missing"


@pytest.mark.parametrize("damage", ["noise", "no metadata", "a missing tensor"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "weights.safetensors"
    if damage == "noise":
        path.write_bytes(b"no safetensors")
    elif damage == "no metadata":
        save_file(load_file(DEFAULT_WEIGHTS), path)
    else:
        kept = {name: value for name, value in load_file(DEFAULT_WEIGHTS).items() if name != "last.bias"}
        save_file(kept, path, metadata={"format": "streamgen.upscaler", "version": "1"})
    with pytest.raises(WeightsError) as caught:
        load_upscaler(path)
    assert caught.value.code == "weights_corrupt"
