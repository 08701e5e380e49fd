"""Consistency sampling as pure functions of tensors.

Every row of a batch has its own timestep, so rows may belong to different sessions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from streamgen.models.base import NoiseSchedule

__all__ = ["add_noise", "sample", "stack_rows"]

Denoise = Callable[[Tensor, Tensor, Sequence[int]], Tensor]
"""(x_t [R, C, h, w], t [R], rows) -> x_0 [R, C, h, w]; ``rows`` are the batch rows that x_t and t stand for."""


def add_noise(schedule: NoiseSchedule, x_0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """Diffuse x_0 [B, C, h, w] to timestep t [B] with noise [B, C, h, w]: alpha(t) x_0 + sigma(t) z."""
    per_row = (-1, 1, 1, 1)
    return schedule.alpha(t).view(per_row) * x_0 + schedule.sigma(t).view(per_row) * noise


def sample(
    denoise: Denoise,
    schedule: NoiseSchedule,
    source: Tensor,
    noise: Sequence[Tensor],
    timesteps: Sequence[Sequence[float]],
) -> Tensor:
    """Multistep consistency sampling: denoise to x_0, noise x_0 to the next timestep, repeat.

    Song et al. 2023, "Consistency Models", algorithm 1. The deviation: the first x_t is the noised *source*, as in
    SDEdit (Meng et al. 2021), which at the last timestep is pure noise and so the same.

    Args:
        denoise: the consistency function.
        schedule: its noise schedule.
        source: [B, C, h, w], latents of the frames.
        noise: per row, [S, C, h, w] with S at least the length of that row's timesteps; one slice per step.
        timesteps: per row, descending; rows may differ in length, () returns that row's source.

    Returns:
        x_0: [B, C, h, w].
    """
    x_0 = source
    for step in range(max(map(len, timesteps), default=0)):
        rows = [row for row, of_row in enumerate(timesteps) if len(of_row) > step]
        t = torch.tensor([timesteps[row][step] for row in rows], dtype=torch.float32, device=source.device)
        noise_now = stack_rows([noise[row][step] for row in rows])
        if len(rows) == len(timesteps):
            x_0 = denoise(add_noise(schedule, x_0, noise_now, t), t, rows)
        else:
            x_t = add_noise(schedule, x_0[rows], noise_now, t)
            x_0 = x_0.index_copy(0, torch.tensor(rows, device=source.device), denoise(x_t, t, rows))
    return x_0


def stack_rows(rows: Sequence[Tensor]) -> Tensor:
    """Tensors [...] of B rows as one [B, ...]; a single row, the usual case on a CPU, is not copied."""
    return rows[0][None] if len(rows) == 1 else torch.stack(list(rows))
