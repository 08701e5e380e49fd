from __future__ import annotations

import numpy as np
import pytest
from torch import Tensor

from streamgen.engine.fit import download, normalise, quantise, upload
from streamgen.frames import Pixels
from streamgen.settings import FrameFormat


def to_tensor(pixels: Pixels, format: FrameFormat) -> Tensor:
    """As the engine does it: float32 [3, height, width]."""
    return normalise(upload([pixels], format, "cpu").permute(0, 3, 1, 2))[0]


def to_pixels(tensor: Tensor) -> Pixels:
    return download(quantise(tensor[None]))[0]


def test_a_frame_of_the_right_size_comes_back_bit_for_bit(picture: Pixels) -> None:
    tensor = to_tensor(picture, FrameFormat(width=128, height=128))
    assert tensor.shape == (3, 128, 128)
    assert float(tensor.min()) >= -1 and float(tensor.max()) <= 1
    np.testing.assert_array_equal(to_pixels(tensor), picture)


def test_cover_fills_the_format_from_the_middle_of_the_frame() -> None:
    wide = np.zeros((128, 384, 3), np.uint8)
    wide[:, 128:256] = 200
    assert (to_pixels(to_tensor(wide, FrameFormat(width=128, height=128))) == 200).all()


def test_contain_shows_the_whole_frame_with_black_around_it() -> None:
    wide = np.full((128, 256, 3), 200, np.uint8)
    fitted = to_pixels(to_tensor(wide, FrameFormat(width=256, height=256, fit="contain")))
    assert (fitted[:64] == 0).all() and (fitted[192:] == 0).all()
    assert (fitted[64:192] == 200).all()


@pytest.mark.parametrize("fit", ["cover", "contain"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (900, 1), (37, 53), (1080, 1920)])
def test_any_frame_size_fits_any_format(fit: str, shape: tuple[int, int]) -> None:
    pixels = np.full((*shape, 3), 90, np.uint8)
    tensor = to_tensor(pixels, FrameFormat.model_validate({"width": 160, "height": 128, "fit": fit}))
    assert tensor.shape == (3, 128, 160)


@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (1, 2)])
def test_a_frame_of_a_pixel_fills_the_widest_and_the_tallest_format(shape: tuple[int, int]) -> None:
    pixels = np.full((*shape, 3), 90, np.uint8)
    for width, height in ((1024, 128), (128, 1024)):
        assert (to_pixels(to_tensor(pixels, FrameFormat(width=width, height=height))) == 90).all()


def test_values_outside_the_range_are_clipped() -> None:
    tensor = to_tensor(np.zeros((128, 128, 3), np.uint8), FrameFormat(width=128, height=128))
    assert (to_pixels(tensor - 3) == 0).all()
    assert (to_pixels(tensor + 5) == 255).all()


def test_frames_that_fit_are_not_copied_and_frames_of_any_size_go_together() -> None:
    fits, large = np.full((128, 128, 3), 10, np.uint8), np.full((256, 256, 3), 20, np.uint8)
    format = FrameFormat(width=128, height=128)
    assert np.shares_memory(upload([fits], format, "cpu").numpy(), fits)
    together = upload([fits, large], format, "cpu")
    assert together.shape == (2, 128, 128, 3)
    assert (together[0] == 10).all() and (together[1] == 20).all()
