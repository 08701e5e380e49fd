from __future__ import annotations

import pytest
import torch

from streamgen.models.schedules import VarianceSchedule, lcm_timesteps, trailing_timesteps

ALPHAS_CUMPROD = torch.linspace(0.999, 0.005, 1000)


@pytest.mark.parametrize(
    ("steps", "strength", "levels"),
    [(1, 1.0, [999]), (2, 1.0, [999, 499]), (4, 1.0, [999, 749, 499, 249]), (1, 0.5, [499]), (2, 0.5, [499, 249])],
)
def test_trailing_levels_end_where_the_noise_is_purest(steps: int, strength: float, levels: list[int]) -> None:
    assert trailing_timesteps(steps, strength, 1000) == levels


@pytest.mark.parametrize(
    ("steps", "strength", "levels"),
    [(1, 1.0, [999]), (4, 1.0, [999, 759, 499, 259]), (2, 0.5, [499, 259]), (4, 0.04, [39, 19]), (1, 0.001, [19])],
)
def test_latent_consistency_levels_are_those_of_the_distillation(
    steps: int, strength: float, levels: list[int]
) -> None:
    assert lcm_timesteps(steps, strength, 1000) == levels


@pytest.mark.parametrize("spaced", [lcm_timesteps, trailing_timesteps])
def test_levels_descend_and_can_be_looked_up_at_every_strength(spaced: object) -> None:
    schedule = VarianceSchedule(ALPHAS_CUMPROD, spaced, full_noise=True)  # type: ignore[arg-type]
    for strength in (0.001, 0.01, 0.3, 0.77, 1.0):
        for steps in range(1, 5):
            levels = schedule.timesteps(steps, strength)
            assert levels == sorted(levels, reverse=True)
            assert 1 <= len(levels) <= steps
            t = torch.tensor(levels)
            torch.testing.assert_close(schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2, torch.ones(len(levels)))
    assert schedule.timesteps(2, 0.0) == []


def test_a_run_without_a_source_starts_from_noise_alone() -> None:
    noise, t = torch.randn(1, 4, 8, 8), torch.tensor([999.0])
    full = VarianceSchedule(ALPHAS_CUMPROD, lcm_timesteps, full_noise=True)
    euler = VarianceSchedule(ALPHAS_CUMPROD, trailing_timesteps, full_noise=False)
    assert torch.equal(full.start(None, noise, t), noise)
    torch.testing.assert_close(euler.start(None, noise, t), euler.sigma(t).view(-1, 1, 1, 1) * noise)
