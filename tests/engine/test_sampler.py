from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from streamgen.engine.sampler import add_noise, sample
from tests.engine.toy import ToySchedule

SCHEDULE = ToySchedule()


def test_noise_is_added_by_each_rows_own_timestep() -> None:
    x_0, noise = torch.ones(2, 1, 2, 2), torch.full((2, 1, 2, 2), 3.0)
    x_t = add_noise(SCHEDULE, x_0, noise, torch.tensor([0.0, torch.pi / 2]))
    torch.testing.assert_close(x_t[0], torch.ones(1, 2, 2))
    torch.testing.assert_close(x_t[1], torch.full((1, 2, 2), 3.0))


def test_every_step_denoises_what_the_one_before_it_made() -> None:
    seen: list[tuple[list[float], list[int]]] = []

    def denoise(x_t: Tensor, t: Tensor, rows: Sequence[int]) -> Tensor:
        seen.append((t.tolist(), list(rows)))
        return torch.full_like(x_t, float(len(seen)))

    noise = [torch.zeros(3, 1, 2, 2)] * 2
    x_0 = sample(denoise, SCHEDULE, torch.zeros(2, 1, 2, 2), noise, [[1.5], [1.5, 1.0, 0.5]])
    assert seen == [([1.5, 1.5], [0, 1]), ([1.0], [1]), ([0.5], [1])]
    assert x_0[0].unique().tolist() == [1.0]
    assert x_0[1].unique().tolist() == [3.0]


def test_a_row_without_timesteps_is_its_source() -> None:
    source = torch.randn(1, 1, 4, 4, generator=torch.Generator().manual_seed(1))

    def denoise(x_t: Tensor, t: Tensor, rows: Sequence[int]) -> Tensor:
        raise AssertionError("nothing to denoise")

    torch.testing.assert_close(sample(denoise, SCHEDULE, source, [torch.zeros(1, 1, 4, 4)], [[]]), source)
