import math

import pytest
import torch
from torch import Tensor

from streamgen.engine.conditioning import Transition, slerp

SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)


def pair(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(3, 5, 16, generator=generator) for _ in range(2))
    return first.to(dtype), (2.0 * second).to(dtype)


def angle(a: Tensor, b: Tensor) -> Tensor:
    return torch.acos(torch.cosine_similarity(a.double(), b.double(), dim=-1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_ends_of_an_arc_are_exact_and_its_type_stays(dtype: torch.dtype) -> None:
    start, end = pair(dtype)
    assert slerp(start, end, 0.0) is start
    assert slerp(start, end, 1.0) is end
    assert slerp(start, end, 0.5).dtype == dtype


@pytest.mark.parametrize("share", SHARES)
def test_lengths_change_linearly_on_the_way(share: float) -> None:
    start, end = pair()
    wanted = torch.lerp(start.norm(dim=-1), end.norm(dim=-1), share)
    torch.testing.assert_close(slerp(start, end, share).norm(dim=-1), wanted)


@pytest.mark.parametrize("share", SHARES)
def test_directions_turn_at_constant_speed(share: float) -> None:
    start, end = pair()
    between = slerp(start, end, share)
    torch.testing.assert_close(angle(start, between), share * angle(start, end), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(angle(between, end), (1 - share) * angle(start, end), rtol=1e-4, atol=1e-4)


def test_a_right_angle_is_halved_on_the_circle() -> None:
    halfway = slerp(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), 0.5)
    torch.testing.assert_close(halfway, torch.full((2,), math.sqrt(0.5)))


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]),
        ([1.0, 2.0, 3.0], [2.0, 4.0, 6.001]),
        ([1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]),
        ([0.0, 0.0, 0.0], [1.0, 2.0, 3.0]),
        ([1.0, 2.0, 3.0], [0.0, 0.0, 0.0]),
        ([1e-9, 0.0, 0.0], [0.0, 1e-9, 0.0]),
    ],
)
@pytest.mark.parametrize("share", SHARES)
def test_vectors_without_an_arc_between_them_are_interpolated_linearly(
    start: list[float], end: list[float], share: float
) -> None:
    a, b = torch.tensor(start), torch.tensor(end)
    torch.testing.assert_close(slerp(a, b, share), torch.lerp(a, b, share))


def test_single_numbers_are_interpolated_linearly() -> None:
    torch.testing.assert_close(slerp(torch.tensor([[2.0]]), torch.tensor([[4.0]]), 0.25), torch.tensor([[2.5]]))


def test_each_vector_of_a_tensor_goes_its_own_way() -> None:
    start = torch.tensor([[1.0, 0.0], [3.0, 0.0]])
    end = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    torch.testing.assert_close(slerp(start, end, 0.5), torch.tensor([[math.sqrt(0.5)] * 2, [2.0, 0.0]]))


def test_a_transition_leaves_its_start_and_arrives_at_its_end() -> None:
    start, end = ({"style": tensor, "pooled": tensor[0, 0]} for tensor in pair())
    fade = Transition(start, end, start_s=10.0, duration_s=2.0)
    assert fade.at(9.0) == fade.at(10.0) == start
    assert fade.at(12.0) is end
    torch.testing.assert_close(fade.at(11.0)["style"], slerp(start["style"], end["style"], 0.5))


def test_a_transition_of_no_time_is_over_at_once() -> None:
    start, end = ({"style": tensor} for tensor in pair())
    assert Transition(start, end, 0.0, 0.0).at(0.0) is end
