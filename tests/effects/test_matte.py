"""Mattes over time, at another size, and in use."""

from __future__ import annotations

import torch
from torch import Tensor

from streamgen.effects.matte import enlarged, mixed, steadied

STILL = torch.zeros((1, 3, 64, 64))


def half(at: int, size: int = 64) -> Tensor:
    """[1, 1, size, size]: 1 left of a column."""
    plane = torch.zeros((1, 1, size, size))
    plane[..., :at] = 1
    return plane


def test_a_matte_that_flickers_before_a_still_picture_is_calmed() -> None:
    made = steadied(half(20), STILL, (STILL, half(30)))
    assert made[..., 20:30].min() > 0.5
    assert made[..., :20].min() == 1 and made[..., 30:].max() == 0


def test_a_still_picture_takes_over_a_new_matte_within_some_frames() -> None:
    matte = half(30)
    for _ in range(12):
        matte = steadied(half(20), STILL, (STILL, matte))
    assert matte[..., 20:30].max() < 0.05


def test_noise_of_a_camera_is_no_movement() -> None:
    random = torch.Generator().manual_seed(0)
    first, second = (STILL + 0.04 * torch.randn(STILL.shape, generator=random) for _ in range(2))
    made = steadied(half(20), second, (first, half(30)))
    assert made[..., 21:29].min() > 0.5


def test_nothing_lags_behind_what_moves() -> None:
    before, after = half(20).expand(1, 3, 64, 64), half(30).expand(1, 3, 64, 64)
    made = steadied(half(30), after, (before, half(20)))
    assert made[..., :29].min() > 0.99 and made[..., 31:].max() < 0.01


def test_another_scene_forgets_the_matte_even_where_its_colours_are_the_same() -> None:
    other = torch.ones((1, 3, 64, 64))
    other[..., :16] = 0
    made = steadied(half(0), other, (STILL, half(64)))
    assert made.max() < 0.01


def test_a_matte_is_enlarged_to_any_shape_and_its_edges_stay_where_they_are() -> None:
    made = enlarged(half(32), 128, 192)
    assert made.shape == (1, 1, 128, 192)
    assert made[..., :94].min() == 1 and made[..., 98:].max() == 0
    assert 0 < made[..., 95].min() < 1


def test_a_share_of_all_or_nothing_leaves_pixels_as_they_were() -> None:
    random = torch.Generator().manual_seed(1)
    plain, styled = (torch.randint(0, 256, (1, 8, 8, 3), generator=random, dtype=torch.uint8) for _ in range(2))
    made = mixed(plain, styled, half(4, 8))
    assert torch.equal(made[:, :, :4], styled[:, :, :4]) and torch.equal(made[:, :, 4:], plain[:, :, 4:])
    assert torch.equal(mixed(plain, plain, torch.full((1, 1, 8, 8), 0.3)), plain)
