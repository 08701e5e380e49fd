import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from streamgen.training.features import STRUCTURE_TAPS
from streamgen.training.losses import (
    grams,
    grid_distance,
    imitation_loss,
    sameness,
    structure_distance,
    temporal_distance,
    texture_distance,
)


@pytest.fixture(autouse=True)
def one_thread_and_one_seed() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def pictures(batch: int = 2) -> Tensor:
    return torch.rand(batch, 3, 64, 64) * 2 - 1


def taps(batch: int = 2) -> dict[str, Tensor]:
    return {tap: torch.rand(batch, 4, 8, 8) for tap in STRUCTURE_TAPS}


def test_a_picture_is_at_no_distance_from_itself() -> None:
    picture, features = pictures(), taps()
    zero = torch.zeros(2)
    torch.testing.assert_close(texture_distance(grams(features), grams(features)), zero)
    torch.testing.assert_close(structure_distance(features, features), zero)
    torch.testing.assert_close(grid_distance(picture, picture), zero)
    torch.testing.assert_close(imitation_loss(picture, picture, zero, zero, torch.ones(2)), zero)


def test_texture_does_not_depend_on_place() -> None:
    features = taps()
    moved = {tap: torch.roll(values, (3, 5), dims=(2, 3)) for tap, values in features.items()}
    torch.testing.assert_close(texture_distance(grams(moved), grams(features)), torch.zeros(2), atol=1e-6, rtol=0)
    assert (structure_distance(moved, features) > 0.1).all()


def test_a_dark_goal_does_not_make_the_texture_explode() -> None:
    found, wanted = taps(), taps()
    for values in wanted.values():
        values[0] *= 1e-4
    assert texture_distance(grams(found), grams(wanted)).max() < 10


def test_losses_are_judged_row_by_row() -> None:
    goal = pictures()
    picture = torch.stack([goal[0], -goal[1]])
    loss = imitation_loss(picture, goal, torch.zeros(2), torch.zeros(2), torch.zeros(2))
    assert loss[0] == 0
    assert loss[1] > 0.3


def test_a_grain_in_a_flat_cell_costs_more_where_lines_are_crisp() -> None:
    goal = torch.zeros(2, 3, 64, 64)
    picture = 0.1 * torch.randn(1, 3, 64, 64).expand(2, -1, -1, -1)
    free, crisp = imitation_loss(picture, goal, torch.zeros(2), torch.zeros(2), torch.tensor([0.0, 1.0]))
    assert crisp > 1.3 * free


def test_a_pattern_on_the_pixel_shuffle_grid_is_found() -> None:
    reference = pictures()
    dots = torch.zeros(1, 1, 64, 64)
    dots[..., ::4, ::4] = 0.5
    free = F.avg_pool2d(torch.randn_like(reference), 5, 1, 2)
    assert (grid_distance(reference + dots, reference) > 5 * grid_distance(reference + 0.05 * free, reference)).all()


def test_a_rendering_that_moves_with_its_source_is_steady() -> None:
    first = pictures()
    assert temporal_distance(first, torch.roll(first, (2, -1), dims=(2, 3)), [(2, -1)] * len(first)).max() == 0
    assert temporal_distance(first, torch.roll(first, (2, -1), dims=(2, 3)), [(0, 0)] * len(first)).min() > 0.1


def test_strokes_that_differ_enough_are_not_the_same_and_light_does_not_count() -> None:
    first = pictures()
    stripes = torch.tensor([0.4, -0.4]).repeat(32)
    assert sameness(first, first + stripes, 0.1).max() == 0
    torch.testing.assert_close(sameness(first, first + 0.5, 0.1), torch.full((len(first),), 0.1))
