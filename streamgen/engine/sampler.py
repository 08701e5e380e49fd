"""Few-step sampling as pure functions of tensors.

A *lane* is one picture on its way down from noise: a session's newest frame, or, pipelined, one of the frames before.
Every lane has its own timesteps, prompt, noise and guidance, so lanes of different sessions share a network call, and
none depends on its neighbours. Nothing here reads a tensor's value, so all of it can be recorded as a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from streamgen.models.base import NoiseSchedule

__all__ = ["SAMPLERS", "Advance", "Denoise", "Guidance", "Lanes", "add_noise", "guide", "sample", "stack_rows"]

Denoise = Callable[[Tensor, Tensor, Sequence[int]], Tensor]
"""(x_t [R, C, h, w], t [R], rows) -> x_0 [R, C, h, w]. ``rows`` names the conditioning of each row: below L (the number
of lanes) that lane's prompt, from L on lane ``row - L``'s negative prompt."""

Advance = Callable[[NoiseSchedule, Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
"""(schedule, x_t, x_0, t [B], t_next [B], noise) -> x_next [B, C, h, w]: from a denoised picture to the next input."""


@dataclass(frozen=True, slots=True)
class Guidance:
    """Classifier-free guidance of each lane (Ho & Salimans 2022), in terms of x_0, of which the usual form in terms of
    the predicted noise is an affine image: x_0 = x_u + scale (x_c - x_u).

    Args:
        scale: [L] float32; 1 is none.
        modes: where x_u comes from, per lane. ``self``: it is ``anchor``, the frame itself (StreamDiffusion, Kodaira et
            al. 2023, section 3.2, the self-negative residual with delta 1). ``onetime``: from the negative prompt in
            the first step. ``full``: from the negative prompt in every step.
        anchor: [L, C, h, w], x_u until a negative prompt gives another.
    """

    scale: Tensor
    modes: Sequence[str]
    anchor: Tensor


@dataclass(frozen=True, slots=True)
class Lanes:
    """What is to be sampled.

    Args:
        x_t: [L, C, h, w] float32, each lane at its first level.
        levels: [L, S] float32 timesteps, descending; those behind a lane's length are ignored.
        lengths: how many steps each lane takes, 1 to S.
        noise: [L, S, C, h, w] float32, slice k for entering level k.
        guidance: None where no lane has any.
    """

    x_t: Tensor
    levels: Tensor
    lengths: Sequence[int]
    noise: Tensor
    guidance: Guidance | None = None


def sample(denoise: Denoise, schedule: NoiseSchedule, advance: Advance, lanes: Lanes) -> tuple[Tensor, Tensor | None]:
    """Denoise, advance to the next level, repeat: Song et al. 2023, "Consistency Models", algorithm 1, where
    ``advance`` adds new noise; a solver's step elsewhere.

    Returns:
        x_0 [L, C, h, w] of each lane's last step, and x_u likewise (None without guidance).
    """
    x_t, x_0 = lanes.x_t, lanes.x_t
    x_u = lanes.guidance.anchor if lanes.guidance else None
    count = len(lanes.lengths)
    for step in range(max(lanes.lengths)):
        active = [lane for lane in range(count) if lanes.lengths[lane] > step]
        negative = _negatives(lanes.guidance, active, step)
        t = lanes.levels[:, step]
        rows = [*active, *negative]
        made = denoise(_pick(x_t, rows, count), _pick(t, rows, count), [*active, *(count + row for row in negative)])
        x_0 = _put(x_0, made[: len(active)], active)
        if lanes.guidance is not None and x_u is not None:
            x_u = _put(x_u, made[len(active) :], negative)
            x_0 = _put(x_0, _pick(guide(x_0, x_u, lanes.guidance.scale), active, count), active)
        if step + 1 < max(lanes.lengths):
            x_t = advance(schedule, x_t, x_0, t, lanes.levels[:, step + 1], lanes.noise[:, step + 1])
    return x_0, x_u


def guide(x_0: Tensor, x_u: Tensor, scale: Tensor) -> Tensor:
    """x_u + scale (x_0 - x_u), [B, C, h, w] with scale [B]."""
    return x_u + scale.view(-1, 1, 1, 1) * (x_0 - x_u)


def add_noise(schedule: NoiseSchedule, x_0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """Diffuse x_0 [B, C, h, w] to timestep t [B] with noise [B, C, h, w]: alpha(t) x_0 + sigma(t) z."""
    return _per_row(schedule.alpha(t)) * x_0 + _per_row(schedule.sigma(t)) * noise


def _consistency(schedule: NoiseSchedule, x_t: Tensor, x_0: Tensor, t: Tensor, t_next: Tensor, noise: Tensor) -> Tensor:
    """Forget x_t and noise x_0 anew: LCM (Luo et al. 2023, algorithm 3) and sCM (Lu & Song 2024)."""
    return add_noise(schedule, x_0, noise, t_next)


def _euler(schedule: NoiseSchedule, x_t: Tensor, x_0: Tensor, t: Tensor, t_next: Tensor, noise: Tensor) -> Tensor:
    """Keep the noise that x_t holds: Euler's step of the probability flow (Karras et al. 2022), which in these variance
    preserving terms is DDIM with eta 0 (Song et al. 2021, equation 12). For Lightning and Hyper-SD."""
    held = (x_t - _per_row(schedule.alpha(t)) * x_0) / _per_row(schedule.sigma(t))
    return add_noise(schedule, x_0, held, t_next)


def _euler_ancestral(
    schedule: NoiseSchedule, x_t: Tensor, x_0: Tensor, t: Tensor, t_next: Tensor, noise: Tensor
) -> Tensor:
    """Keep part of the noise and renew the rest: k-diffusion's ancestral Euler step, with s = sigma / alpha."""
    alpha, alpha_next = _per_row(schedule.alpha(t)), _per_row(schedule.alpha(t_next))
    s, s_next = _per_row(schedule.sigma(t)) / alpha, _per_row(schedule.sigma(t_next)) / alpha_next
    s_up = torch.sqrt(s_next**2 * (s**2 - s_next**2) / s**2)
    s_down = torch.sqrt(s_next**2 - s_up**2)
    held = (x_t / alpha - x_0) / s
    return alpha_next * (x_0 + s_down * held + s_up * noise)


SAMPLERS: dict[str, Advance] = {
    "consistency": _consistency,
    "euler": _euler,
    "euler-ancestral": _euler_ancestral,
}
"""How to go from one step to the next, by the name that ``Model.sampler`` gives."""


def stack_rows(rows: Sequence[Tensor]) -> Tensor:
    """Tensors [...] of B rows as one [B, ...]; a single row, the usual case on a CPU, is not copied."""
    return rows[0][None] if len(rows) == 1 else torch.stack(list(rows))


def _negatives(guidance: Guidance | None, active: Sequence[int], step: int) -> list[int]:
    """Lanes whose negative prompt is computed in this step."""
    if guidance is None:
        return []
    modes = guidance.modes
    return [lane for lane in active if modes[lane] == "full" or (modes[lane] == "onetime" and step == 0)]


def _pick(tensor: Tensor, rows: Sequence[int], count: int) -> Tensor:
    return tensor if list(rows) == list(range(count)) else torch.stack([tensor[row] for row in rows])


def _put(into: Tensor, values: Tensor, rows: Sequence[int]) -> Tensor:
    """``into`` [L, ...] with ``rows`` replaced. Slices and stacks instead of an index tensor, whose upload a CUDA graph
    could not record."""
    if not rows:
        return into
    if list(rows) == list(range(len(into))):
        return values
    places = {row: index for index, row in enumerate(rows)}
    return torch.stack([values[places[row]] if row in places else into[row] for row in range(len(into))])


def _per_row(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)
