"""One batch of frames of one format through the model: encode, sample, hold still, decode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from streamgen import devices
from streamgen.effects.feedback import hold_still
from streamgen.engine.executables import Executables
from streamgen.engine.fit import normalise, quantise
from streamgen.engine.lanes import Lane, Row, finish, lanes_of, stack_conditioning, stack_lanes
from streamgen.engine.pipeline import Waiting
from streamgen.engine.sampler import SAMPLERS, sample, stack_rows
from streamgen.engine.steering import guidance_scale
from streamgen.engine.upscaling import enlargements
from streamgen.frames import Frame
from streamgen.models.base import Conditioning, Model
from streamgen.settings import FrameFormat

__all__ = ["Pictures", "Stylist"]


@dataclass(frozen=True, slots=True)
class Pictures:
    """What became of a batch.

    Args:
        frames: for every row the frame that is done, None while its pipeline is filling.
        pixels: uint8 [D, H, W, 3] on the device, one for each frame that is done; None when none is.
        warm_up: a stand-in computed some of it.
    """

    frames: list[Frame | None]
    pixels: Tensor | None
    warm_up: bool


class Stylist:
    """Computes batches with whatever executables are ready.

    Args:
        model: what is computed.
        executables: its compiled parts.
        buckets: batch sizes there are executables for, ascending.
    """

    def __init__(self, model: Model, executables: Executables, buckets: Sequence[int]) -> None:
        self._model = model
        self._executables = executables
        self._buckets = tuple(buckets)

    def stylise(self, rows: Sequence[Row], pixels: Tensor) -> Pictures:
        """Compute one frame of each row.

        Args:
            rows: of one format, each with at least one level.
            pixels: uint8 [B, H, W, 3], their frames, fitted to what the model paints; on the host or the device.
        """
        return self._enlarged(self._painted(rows, pixels), rows[0].state.format)

    def _enlarged(self, pictures: Pictures, format: FrameFormat) -> Pictures:
        """As large as the output."""
        pixels, warm_up = pictures.pixels, pictures.warm_up
        if pixels is None:
            return pictures
        for height, width in enlargements(format):
            calls = _Calls(self._executables, self._buckets, height, width)
            pixels = calls.run("enlarge", pixels)
            warm_up |= calls.warm_up
        return Pictures(pictures.frames, pixels, warm_up)

    def _painted(self, rows: Sequence[Row], pixels: Tensor) -> Pictures:
        if all(_is_plain(self._model, row) and len(row.levels) == len(rows[0].levels) for row in rows):
            graph = self._executables.frame(self._bucket(len(rows)), rows[0].state.format, len(rows[0].levels))
            if graph is not None:
                [made] = graph(*(self._pad(tensor) for tensor in self._frame_inputs(rows, pixels)))
                return Pictures([row.frame for row in rows], made[: len(rows)], False)
        return self._in_parts(rows, pixels)

    def _frame_inputs(self, rows: Sequence[Row], pixels: Tensor) -> list[Tensor]:
        steps = len(rows[0].levels)
        noise = stack_rows([row.noise[:steps] for row in rows])
        levels = torch.tensor([row.levels for row in rows], dtype=torch.float32)
        scale = torch.tensor([guidance_scale(self._model, row.state.settings) for row in rows])
        return [
            pixels,
            noise,
            levels,
            scale,
            *(stack_rows([row.cond[name] for row in rows]) for name in self._executables.prompt_names),
        ]

    def _in_parts(self, rows: Sequence[Row], pixels: Tensor) -> Pictures:
        """The general way: any mixture of step counts, guidance, pipelines and feedback."""
        model, device = self._model, self._model.spec.device
        calls = _Calls(self._executables, self._buckets, pixels.size(1), pixels.size(2))
        frames = normalise(pixels.to(device, non_blocking=True).permute(0, 3, 1, 2))
        source = frames if model.encoder is None else calls.run("encode", frames)
        first = devices.upload([row.levels[0] for row in rows], device)
        noise = stack_rows([row.noise[0] for row in rows])
        start = model.schedule.start(source, noise, first)
        if any(row.dreams for row in rows):
            dreams = devices.upload([row.dreams for row in rows], device).view(-1, 1, 1, 1)
            start = torch.where(dreams > 0, model.schedule.start(None, noise, first), start)
        made_from = _unstack(model.source_conditioning(frames, source), len(rows))
        lanes = [
            lane
            for index, row in enumerate(rows)
            for lane in lanes_of(row, source[index], start[index], made_from[index])
        ]
        done = self._sample(lanes, calls, device)
        latents = [self._held(row, *one) for row, one in zip(rows, done, strict=True) if one is not None]
        finished = [None if one is None else one[0].frame for one in done]
        if not latents:
            return Pictures(finished, None, calls.warm_up)
        stacked = stack_rows(latents)
        decoded = stacked if model.decoder is None else calls.run("decode", stacked)
        return Pictures(finished, quantise(decoded), calls.warm_up)

    def _sample(self, lanes: Sequence[Lane], calls: _Calls, device: str) -> list[tuple[Waiting, Tensor] | None]:
        model = self._model
        stacked, following = stack_lanes(model, lanes, device)
        cond = stack_conditioning(lanes, stacked.guidance)

        def denoise(x_t: Tensor, t: Tensor, of_rows: Sequence[int]) -> Tensor:
            inputs = [cond[name] for name in model.conditioning_names]
            if list(of_rows) != list(range(len(inputs[0]) if inputs else len(x_t))):
                inputs = [tensor[list(of_rows)] for tensor in inputs]
            return calls.run("denoise", x_t, t, *inputs)

        x_0, x_u = sample(denoise, model.schedule, SAMPLERS[model.sampler], stacked)
        return finish(model, lanes, stacked, following, x_0, x_u)

    def _held(self, row: Row, at: Waiting, latents: Tensor) -> Tensor:
        """The output's latents after feedback; what the next frame will hold on to is noted."""
        amount = row.state.settings.feedback
        if amount == 0:
            return latents
        if row.state.last is not None:
            last_source, last_output = row.state.last
            [latents] = hold_still(latents[None], at.source[None], (last_source[None], last_output[None]), amount)
        row.state.last = (at.source, latents)
        return latents

    def _bucket(self, rows: int) -> int:
        return next(size for size in self._buckets if size >= rows)

    def _pad(self, tensor: Tensor) -> Tensor:
        return _padded(tensor, self._bucket(len(tensor)))


class _Calls:
    """Network calls of one batch of pictures of one size, in buckets."""

    def __init__(self, executables: Executables, buckets: Sequence[int], height: int, width: int) -> None:
        self._executables = executables
        self._buckets = buckets
        self._size = height, width
        self.warm_up = False

    def run(self, part: str, *inputs: Tensor) -> Tensor:
        """One part of the model on any number of rows, [R, ...] in and out."""
        count, most = len(inputs[0]), self._buckets[-1]
        made = [
            self._run_bucket(part, [tensor[start : start + most] for tensor in inputs])
            for start in range(0, count, most)
        ]
        return made[0] if len(made) == 1 else torch.cat(made)

    def _run_bucket(self, part: str, inputs: Sequence[Tensor]) -> Tensor:
        count = len(inputs[0])
        bucket = next(size for size in self._buckets if size >= count)
        network, is_stand_in = self._executables.lookup(part, bucket, *self._size)
        self.warm_up |= is_stand_in
        return network(*(_padded(tensor, bucket) for tensor in inputs))[:count]


def _is_plain(model: Model, row: Row) -> bool:
    """Whether ``whole_frame`` covers what this row asks for."""
    settings = row.state.settings
    guided = guidance_scale(model, settings) != 1 and settings.guidance_mode != "self"
    return not (row.dreams or row.pipelined or guided or settings.feedback > 0)


def _padded(tensor: Tensor, rows: int) -> Tensor:
    """Repeat the last row until a bucket is full."""
    missing = rows - len(tensor)
    return torch.cat([tensor, tensor[-1:].expand(missing, *tensor.shape[1:])]) if missing else tensor


def _unstack(cond: Conditioning, rows: int) -> list[Conditioning]:
    return [{name: tensor[row] for name, tensor in cond.items()} for row in range(rows)]
