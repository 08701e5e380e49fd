"""What a chroma key takes away, and the colours under what it took."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from streamgen.codec import decode, encode
from streamgen.effects.alpha import NO_KEY, bleed, chroma_key, key_numbers
from streamgen.frames import Pixels
from streamgen.wire import Codec

GREEN = (0, 200, 60)
RED = (200, 40, 40)
SIDE = 96
PATCH = slice(32, 64)


def hexadecimal(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def screen(behind: tuple[int, int, int] = GREEN, patch: tuple[int, int, int] = RED) -> Pixels:
    """A patch in the middle of a screen."""
    pixels = np.empty((SIDE, SIDE, 3), np.uint8)
    pixels[:] = behind
    pixels[PATCH, PATCH] = patch
    return pixels


def batch(*pictures: Pixels) -> Tensor:
    return torch.stack([torch.from_numpy(pixels) for pixels in pictures])


def key(colour: tuple[int, int, int] = GREEN, similarity: float = 0.4, smoothness: float = 0.2) -> Tensor:
    return torch.tensor([key_numbers(hexadecimal(colour), similarity, smoothness)])


def alpha_of(pixels: Pixels, keys: Tensor) -> np.ndarray:
    return chroma_key(batch(pixels), keys)[0, 0].numpy()


@pytest.mark.parametrize("patch", [RED, (255, 255, 255), (0, 0, 0), (128, 128, 128), (30, 60, 220), (222, 170, 140)])
def test_the_screen_goes_and_the_subject_stays_whatever_its_colour(patch: tuple[int, int, int]) -> None:
    alpha = alpha_of(screen(patch=patch), key())
    assert alpha[34:62, 34:62].min() == 1
    alpha[30:66, 30:66] = 0
    assert alpha.max() == 0


@pytest.mark.parametrize("colour", [(0, 255, 0), (0, 177, 64), (60, 110, 70), (0, 71, 187)])
def test_bright_and_dull_screens_need_the_same_settings(colour: tuple[int, int, int]) -> None:
    alpha = alpha_of(screen(colour, (128, 128, 128)), key(colour))
    assert alpha[48, 48] == 1 and alpha[0, 0] == 0


def test_shadows_on_the_screen_are_part_of_it_up_to_the_similarity() -> None:
    shadow = (0, 140, 42)
    assert alpha_of(screen(patch=shadow), key())[48, 48] == 0
    assert alpha_of(screen(patch=shadow), key(similarity=0.05))[48, 48] == 1


def test_smoothness_makes_the_edge_softer() -> None:
    half = (64, 164, 94)  # between the screen and grey
    hard = alpha_of(screen(patch=half), key(smoothness=0.0))[48, 48]
    soft = alpha_of(screen(patch=half), key(smoothness=0.4))[48, 48]
    assert hard == 1 and 0.2 < soft < 0.3


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (90, 90, 90)])
def test_a_grey_key_takes_greys_and_nothing_breaks(colour: tuple[int, int, int]) -> None:
    alpha = alpha_of(screen(colour), key(colour))
    assert alpha[48, 48] == 1 and alpha[0, 0] == 0


def test_rows_have_keys_of_their_own_or_none() -> None:
    blue = screen((0, 71, 187))
    keys = torch.cat([key(), torch.tensor([NO_KEY]), key((0, 71, 187))])
    alpha = chroma_key(batch(screen(), screen(), blue), keys)
    assert alpha[:, 0, 0, 0].tolist() == [0, 1, 0]
    assert alpha[1].min() == 1
    torch.testing.assert_close(alpha[2:], chroma_key(batch(blue), keys[2:]))


def test_solid_pixels_away_from_edges_keep_their_colours() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    alpha = torch.zeros(1, 1, SIDE, SIDE)
    alpha[..., PATCH, PATCH] = 1
    bled = bleed(batch(pixels), alpha)[0].numpy()
    np.testing.assert_array_equal(bled[34:62, 34:62], pixels[34:62, 34:62])


def test_what_is_transparent_takes_the_colour_of_what_is_solid_as_far_as_the_corners() -> None:
    alpha = torch.zeros(1, 1, SIDE, SIDE)
    alpha[..., PATCH, PATCH] = 1
    bled = bleed(batch(screen()), alpha)[0].numpy()
    assert np.abs(bled.astype(int) - RED).max() <= 1


def test_the_nearest_colour_counts() -> None:
    pixels = screen()
    pixels[:, 78:] = (255, 255, 255)
    alpha = torch.zeros(1, 1, SIDE, SIDE)
    alpha[..., PATCH, PATCH] = 1
    alpha[..., 78:] = 1
    bled = bleed(batch(pixels), alpha)[0].numpy().astype(int)
    assert np.abs(bled[40:56, 64:66] - RED).max() < 10
    assert np.abs(bled[40:56, 76:78] - 255).max() < 10


def test_a_strand_too_thin_to_be_solid_keeps_its_own_colour() -> None:
    pixels = screen(patch=GREEN)
    pixels[:, 48:50] = (60, 40, 30)
    alpha = torch.zeros(1, 1, SIDE, SIDE)
    alpha[..., 48:50] = 1
    assert np.abs(bleed(batch(pixels), alpha)[0, :, 48:50].numpy().astype(int) - (60, 40, 30)).max() <= 2


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_pictures_wholly_transparent_or_solid_are_no_special_case(level: float) -> None:
    bled = bleed(batch(screen()), torch.full((1, 1, SIDE, SIDE), level))
    assert bled.dtype == torch.uint8
    if level == 1:
        torch.testing.assert_close(bled, batch(screen()))


@pytest.mark.parametrize(("height", "width"), [(128, 1024), (160, 96), (96, 160)])
def test_any_size_of_a_format_can_be_bled(height: int, width: int) -> None:
    pixels = np.full((height, width, 3), 70, np.uint8)
    alpha = torch.zeros(1, 1, height, width)
    alpha[..., :40, :40] = 1
    assert (bleed(batch(pixels), alpha) == 70).all()


def test_nothing_of_the_key_is_left_at_the_edge_after_a_codec_with_half_chroma() -> None:
    moved = np.roll(screen(), (3, 5), (0, 1))  # no edge lies between two of the codec's blocks
    camera = decode(Codec.JPEG, encode(moved, Codec.JPEG, 85), SIDE, SIDE)
    alpha = chroma_key(batch(camera), key())
    bled = bleed(batch(camera), alpha)[0].numpy()
    shown = decode(Codec.JPEG, encode(bled, Codec.JPEG, 85), SIDE, SIDE).astype(int)
    seen = alpha[0, 0].numpy() > 0
    assert np.abs(shown - RED)[seen].max() <= 20
    assert np.abs(camera.astype(int) - RED)[seen].max() > 100  # what it would be without
