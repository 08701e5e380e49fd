"""From sessions' frames to the lanes of one sampling run, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from streamgen import devices
from streamgen.engine.pipeline import Waiting
from streamgen.engine.sampler import SAMPLERS, Guidance, Lanes, stack_rows
from streamgen.engine.state import StreamState
from streamgen.engine.steering import guidance_scale
from streamgen.frames import Frame
from streamgen.models.base import Conditioning, Model

__all__ = ["Lane", "Row", "finish", "lanes_of", "stack_conditioning", "stack_lanes"]


@dataclass(frozen=True, slots=True)
class Row:
    """One frame of one session in one step.

    Args:
        session: its name.
        frame: the newest one.
        state: of the session.
        levels: timesteps of this frame, descending.
        noise: [S, C, h, w] of this moment.
        cond: unbatched conditioning of this moment, without what is made from the frame.
        dreams: its picture starts from noise alone, and the frame says only when.
    """

    session: str
    frame: Frame
    state: StreamState
    levels: tuple[float, ...]
    noise: Tensor
    cond: Conditioning
    dreams: bool

    @property
    def pipelined(self) -> bool:
        """Whether its steps run in company of other frames of the session."""
        return self.state.settings.stream_batch and len(self.levels) > 1


@dataclass(frozen=True, slots=True)
class Lane:
    """One picture on its way down, as far as this sampling run takes it.

    Args:
        row: whose it is.
        at: what it was, with its input to the first level of this run.
        levels: the timesteps of this run.
        noise: [S, C, h, w], slice k for entering level k.
    """

    row: Row
    at: Waiting
    levels: tuple[float, ...]
    noise: Tensor

    @property
    def following(self) -> float:
        """The timestep behind this run's last; that itself where there is none."""
        levels = self.row.levels
        return levels[min(levels.index(self.levels[-1]) + 1, len(levels) - 1)]


def lanes_of(row: Row, source: Tensor, start: Tensor, cond: Conditioning) -> list[Lane]:
    """The lanes of one row: one that takes every step, or in a pipelined session one for each frame under way.

    Args:
        row: the session's newest frame.
        source: [C, h, w], its latents.
        start: [C, h, w], its first x_t.
        cond: unbatched conditioning made from it.
    """
    newest = Waiting(row.frame, start, source, source, cond)
    if not row.pipelined:
        return [Lane(row, newest, row.levels, row.noise)]
    row.state.pipeline.start(row.levels)
    under_way = [newest, *row.state.pipeline.waiting]
    return [Lane(row, at, row.levels[step : step + 1], row.noise[step:]) for step, at in enumerate(under_way)]


def stack_lanes(model: Model, lanes: Sequence[Lane], device: str) -> tuple[Lanes, Tensor]:
    """The lanes' tensors, batched, and the level behind each one's last [L]."""
    longest = max(len(lane.levels) for lane in lanes)
    padded = [[*lane.levels, *lane.levels[-1:] * (longest - len(lane.levels)), lane.following] for lane in lanes]
    levels = devices.upload(padded, device)
    scales = [guidance_scale(model, lane.row.state.settings) for lane in lanes]
    guidance = None
    if any(scale != 1 for scale in scales):
        modes = [_mode(lane, scale) for lane, scale in zip(lanes, scales, strict=True)]
        anchor = stack_rows([lane.at.anchor for lane in lanes])
        guidance = Guidance(devices.upload(scales, device), modes, anchor)
    stacked = Lanes(
        x_t=stack_rows([lane.at.x_t for lane in lanes]),
        levels=levels[:, :longest],
        lengths=[len(lane.levels) for lane in lanes],
        noise=stack_rows([_padded(lane.noise, longest) for lane in lanes]),
        guidance=guidance,
    )
    return stacked, levels[:, longest]


def stack_conditioning(lanes: Sequence[Lane], guidance: Guidance | None) -> Conditioning:
    """Every lane's conditioning [L, ...], followed by every lane's negative one when any is needed [2 L, ...]."""
    rows = [lane.row.cond | lane.at.cond for lane in lanes]
    if guidance is not None and any(mode != "self" for mode in guidance.modes):
        # A lane without a negative prompt has a row all the same, which is not looked at.
        rows += [lane.row.cond | lane.row.state.unreferred | lane.row.state.negative | lane.at.cond for lane in lanes]
    return {name: stack_rows([row[name] for row in rows]) for name in rows[0]}


def finish(
    model: Model, lanes: Sequence[Lane], sampled: Lanes, following: Tensor, x_0: Tensor, x_u: Tensor | None
) -> list[tuple[Waiting, Tensor] | None]:
    """One entry for each row, in the order of the lanes: the frame that is done and its latents [C, h, w], or None
    while the session's pipeline is filling. Frames that are not done go back to their pipelines."""
    done: dict[int, tuple[Waiting, Tensor] | None] = {}
    under_way: dict[int, list[Waiting]] = {}
    for index, lane in enumerate(lanes):
        row = id(lane.row)
        done.setdefault(row, None)
        if lane.levels[-1] == lane.row.levels[-1]:
            done[row] = (lane.at, x_0[index])
            continue
        one = slice(index, index + 1)
        t, t_next = sampled.levels[one, 0], following[one]
        x_next = SAMPLERS[model.sampler](model.schedule, sampled.x_t[one], x_0[one], t, t_next, lane.noise[1:2])
        anchor = lane.at.anchor if x_u is None else x_u[index]
        waiting = Waiting(lane.at.frame, x_next[0], anchor, lane.at.source, lane.at.cond)
        under_way.setdefault(row, []).append(waiting)
    for lane in lanes:
        lane.row.state.pipeline.waiting = under_way.get(id(lane.row), [])
    return list(done.values())


def _mode(lane: Lane, scale: float) -> str:
    """Where this lane's guidance comes from, in this run."""
    mode = lane.row.state.settings.guidance_mode
    if scale == 1:
        return "self"  # changes nothing and costs nothing
    if mode == "self":
        return "full" if lane.row.dreams else mode  # without a frame there is nothing of its own to steer away from
    is_behind = lane.levels[0] != lane.row.levels[0]
    return "self" if mode == "onetime" and is_behind else mode  # its anchor is the negative prompt's picture already


def _padded(noise: Tensor, steps: int) -> Tensor:
    """At least ``steps`` slices; those added are never looked at."""
    missing = steps - len(noise)
    return noise[:steps] if missing <= 0 else torch.cat([noise, noise[-1:].expand(missing, *noise.shape[1:])])
