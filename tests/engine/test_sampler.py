from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from streamgen.engine.sampler import SAMPLERS, Guidance, Lanes, add_noise, sample
from tests.engine.toy import ToySchedule

SCHEDULE = ToySchedule()


def test_noise_is_added_by_each_rows_own_timestep() -> None:
    x_0, noise = torch.ones(2, 1, 2, 2), torch.full((2, 1, 2, 2), 3.0)
    x_t = add_noise(SCHEDULE, x_0, noise, torch.tensor([0.0, torch.pi / 2]))
    torch.testing.assert_close(x_t[0], torch.ones(1, 2, 2))
    torch.testing.assert_close(x_t[1], torch.full((1, 2, 2), 3.0))


def lanes(*timesteps: Sequence[float], source: float = 0.0, guidance: Guidance | None = None) -> Lanes:
    """One lane of 2x2 zeros for each list of timesteps."""
    longest = max(map(len, timesteps))
    levels = torch.tensor([[*steps, *[steps[-1]] * (longest - len(steps))] for steps in timesteps])
    x_t = torch.full((len(timesteps), 1, 2, 2), source)
    noise = torch.zeros(len(timesteps), longest, 1, 2, 2)
    return Lanes(x_t, levels, [len(steps) for steps in timesteps], noise, guidance)


def test_every_step_denoises_what_the_one_before_it_made() -> None:
    seen: list[tuple[list[float], list[int]]] = []

    def denoise(x_t: Tensor, t: Tensor, rows: Sequence[int]) -> Tensor:
        seen.append((t.tolist(), list(rows)))
        return torch.full_like(x_t, float(len(seen)))

    x_0, _ = sample(denoise, SCHEDULE, SAMPLERS["consistency"], lanes([1.5], [1.5, 1.0, 0.5]))
    assert seen == [([1.5, 1.5], [0, 1]), ([1.0], [1]), ([0.5], [1])]
    assert x_0[0].unique().tolist() == [1.0]
    assert x_0[1].unique().tolist() == [3.0]


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_keeps_the_variance_that_the_schedule_promises(name: str) -> None:
    generator = torch.Generator().manual_seed(1)
    x_0, held, noise = (torch.randn(1, 1, 200, 200, generator=generator) for _ in range(3))
    t, t_next = torch.tensor([1.2]), torch.tensor([0.7])
    x_t = add_noise(SCHEDULE, torch.zeros_like(x_0), held, t)
    x_next = SAMPLERS[name](SCHEDULE, x_t, torch.zeros_like(x_0), t, t_next, noise)
    assert float(x_next.std()) == pytest.approx(float(torch.sin(t_next)), rel=0.02)


def test_eulers_step_keeps_the_noise_and_consistency_renews_it() -> None:
    generator = torch.Generator().manual_seed(1)
    x_0, held, noise = (torch.randn(1, 1, 8, 8, generator=generator) for _ in range(3))
    t, t_next = torch.tensor([1.2]), torch.tensor([0.7])
    x_t = add_noise(SCHEDULE, x_0, held, t)
    for name, kept in (("euler", held), ("consistency", noise)):
        x_next = SAMPLERS[name](SCHEDULE, x_t, x_0, t, t_next, noise)
        torch.testing.assert_close(x_next, add_noise(SCHEDULE, x_0, kept, t_next))


def guidance(scale: float, *modes: str) -> Guidance:
    count = len(modes)
    return Guidance(torch.full((count,), scale), list(modes), torch.full((count, 1, 2, 2), 10.0))


@pytest.mark.parametrize(
    ("mode", "calls", "wanted"),
    [
        ("self", [[0], [0]], 10 + 2 * (1 - 10)),  # away from the anchor
        ("onetime", [[0, 1], [0]], 5 + 2 * (1 - 5)),  # away from the negative prompt's first picture
        ("full", [[0, 1], [0, 1]], 5 + 2 * (1 - 5)),
    ],
)
def test_guidance_steers_away_from_what_its_mode_says(mode: str, calls: list[list[int]], wanted: float) -> None:
    seen: list[list[int]] = []

    def denoise(x_t: Tensor, t: Tensor, rows: Sequence[int]) -> Tensor:
        seen.append(list(rows))
        return torch.stack([torch.full((1, 2, 2), 1.0 if row == 0 else 5.0) for row in rows])

    x_0, _ = sample(denoise, SCHEDULE, SAMPLERS["consistency"], lanes([1.5, 1.0], guidance=guidance(2.0, mode)))
    assert seen == calls
    assert x_0.unique().tolist() == [wanted]


def test_guidance_one_changes_nothing_whatever_its_neighbour_does() -> None:
    def denoise(x_t: Tensor, t: Tensor, rows: Sequence[int]) -> Tensor:
        return torch.stack([torch.full((1, 2, 2), 1.0 + row) for row in rows])

    mixed = Guidance(torch.tensor([1.0, 3.0]), ["self", "full"], torch.zeros(2, 1, 2, 2))
    x_0, _ = sample(denoise, SCHEDULE, SAMPLERS["consistency"], lanes([1.5], [1.5], guidance=mixed))
    assert x_0[0].unique().tolist() == [1.0]
    assert x_0[1].unique().tolist() == [4.0 + 3 * (2.0 - 4.0)]  # its negative prompt is row 3
