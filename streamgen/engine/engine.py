"""The engine: sessions' newest frames in, stylised frames out. Pure compute: no sockets, no event loop, no clock."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from streamgen.backends.base import Backend, Compiled
from streamgen.backends.eager import EagerBackend
from streamgen.engine.conditioning import PromptCache, Transition, read_prompts
from streamgen.engine.executables import Executables
from streamgen.engine.fit import to_pixels, to_tensor
from streamgen.engine.sampler import sample, stack_rows
from streamgen.engine.select import BackendReport
from streamgen.engine.state import StreamState, session_noise
from streamgen.errors import SessionError, SettingsError
from streamgen.frames import Frame, Output, Pixels
from streamgen.models.base import Conditioning, Model
from streamgen.settings import FrameFormat, Reading, StreamSettings

__all__ = ["Engine"]


@dataclass(frozen=True, slots=True)
class _Row:
    """One frame of one session in one step."""

    session: str
    frame: Frame
    state: StreamState


class Engine:
    """One model on one device, serving any number of sessions.

    Not thread-safe: one thread calls it. Call ``close_all()`` when done.

    Args:
        model: computes; holds nothing of any session.
        backend: makes its network fast.
        report: how the backend was chosen.
        max_batch: most rows in one network call.
        wait_for_compilation: True makes a frame of a new shape wait for its compiled network; False serves it with
            the eager one until then.
    """

    def __init__(
        self, model: Model, backend: Backend, report: BackendReport, max_batch: int, *, wait_for_compilation: bool
    ) -> None:
        self.model = model
        self.report = report
        self.max_batch = max_batch
        self._buckets = (*(size for size in (1, 2, 4, 8, 16, 32) if size < max_batch), max_batch)
        self._sessions: dict[str, StreamState] = {}
        self._prompts = PromptCache(model)
        self._executables = Executables(model, backend, None if wait_for_compilation else _stand_in(model, backend))

    @property
    def compilations(self) -> int:
        """Networks compiled since the engine was made. Settings never change it; a new format does."""
        return self._executables.compilations

    @property
    def sessions(self) -> tuple[str, ...]:
        """Names of the open sessions."""
        return tuple(self._sessions)

    def prepare(self, format: FrameFormat) -> None:
        """Compile for ``format`` at every batch size and wait for it."""
        for future in self._executables.prepare(format, self._buckets):
            future.result()

    def open(self, session: str, format: FrameFormat, settings: StreamSettings, rev: int = 0) -> Reading | None:
        """Begin a session, or begin it anew with another format, and return how its prompt was read.

        Raises:
            SettingsError: ``invalid_settings`` when the model allows fewer steps.
        """
        self._check(settings)
        cond = self._prompts.encode(settings)
        self._sessions[session] = StreamState(
            format, settings, rev, self._noise(settings.seed, format), Transition(cond, cond)
        )
        self._executables.prepare(format, self._buckets)
        self._executables.keep(state.format for state in self._sessions.values())
        return read_prompts(self.model, settings)

    def update(self, session: str, settings: StreamSettings, rev: int, now_s: float = 0.0) -> Reading | None:
        """Put ``settings`` in force from the next frame on and return how the prompt was read.

        Raises:
            SessionError: ``no_such_session``.
            SettingsError: as ``open``; the settings in force stay.
        """
        state = self._state(session)
        self._check(settings)
        if settings.weighted_prompts() != state.settings.weighted_prompts():
            start, end = state.transition.at(now_s), self._prompts.encode(settings)
            state.transition = Transition(start, end, now_s, settings.transition_ms / 1000)
        if settings.seed != state.settings.seed:
            state.noise = self._noise(settings.seed, state.format)
        state.settings, state.rev = settings, rev
        return read_prompts(self.model, settings)

    def close(self, session: str) -> None:
        """Forget a session; unknown names are ignored."""
        if self._sessions.pop(session, None) is not None:
            self._executables.keep(state.format for state in self._sessions.values())

    def close_all(self) -> None:
        """Forget every session and stop compiling."""
        self._sessions.clear()
        self._executables.close()

    def step(self, batch: Sequence[tuple[str, Frame]], now_s: float) -> list[tuple[str, Output]]:
        """Stylise one frame of each of several sessions, in the order given.

        Sessions may differ in everything; those of one format share network calls, and none influences another.
        ``now_s`` drives the transitions and is the clock that ``update`` was given.

        Raises:
            SessionError: ``no_such_session``; nothing was computed.
        """
        rows = [_Row(session, frame, self._state(session)) for session, frame in batch]
        pixels: dict[int, tuple[Pixels, bool]] = {}
        for indices in self._groups(rows):
            made, warm_up = self._stylise([rows[index] for index in indices], now_s)
            pixels.update({index: (picture, warm_up) for index, picture in zip(indices, made, strict=True)})
        return [(row.session, _output(row, *pixels[index])) for index, row in enumerate(rows)]

    def _groups(self, rows: Sequence[_Row]) -> Iterator[list[int]]:
        """Indices of rows that share a format, at most ``max_batch`` together."""
        by_format: dict[FrameFormat, list[int]] = {}
        for index, row in enumerate(rows):
            by_format.setdefault(row.state.format, []).append(index)
        for indices in by_format.values():
            for start in range(0, len(indices), self.max_batch):
                yield indices[start : start + self.max_batch]

    @torch.inference_mode()
    def _stylise(self, rows: Sequence[_Row], now_s: float) -> tuple[list[Pixels], bool]:
        """Rows of one format to pixels, and whether a stand-in computed any of them."""
        model, format = self.model, rows[0].state.format
        device = model.spec.device
        frames = stack_rows([to_tensor(row.frame.pixels, format, device) for row in rows])
        source = model.encode_image(frames)
        cond = _stack([row.state.transition.at(now_s) for row in rows]) | model.source_conditioning(source)
        noise = [row.state.noise for row in rows]
        stand_ins: list[bool] = []

        def denoise(x_t: Tensor, t: Tensor, of_rows: Sequence[int]) -> Tensor:
            network, is_stand_in = self._executables.lookup(self._bucket(len(of_rows)), format)
            stand_ins.append(is_stand_in)
            chosen = cond if len(of_rows) == len(rows) else {name: c[list(of_rows)] for name, c in cond.items()}
            inputs = [x_t, t, *(chosen[name] for name in model.conditioning_names)]
            return network(*(self._pad(tensor) for tensor in inputs))[: len(of_rows)]

        chosen_by = [row.state.settings for row in rows]
        timesteps = [model.schedule.timesteps(settings.steps, settings.strength) for settings in chosen_by]
        pictures = model.decode_image(sample(denoise, model.schedule, source, noise, timesteps))
        return [to_pixels(picture) for picture in pictures], any(stand_ins)

    def _bucket(self, rows: int) -> int:
        return next(size for size in self._buckets if size >= rows)

    def _pad(self, tensor: Tensor) -> Tensor:
        """Repeat the last row until a bucket is full."""
        missing = self._bucket(len(tensor)) - len(tensor)
        return torch.cat([tensor, tensor[-1:].expand(missing, *tensor.shape[1:])]) if missing else tensor

    def _noise(self, seed: int, format: FrameFormat) -> Tensor:
        shape = self.model.latent_shape(format.height, format.width)
        return session_noise(seed, self.model.spec.max_steps, shape, self.model.spec.device)

    def _state(self, session: str) -> StreamState:
        if session not in self._sessions:
            raise SessionError("no_such_session", f"there is no session {session!r}", field="session")
        return self._sessions[session]

    def _check(self, settings: StreamSettings) -> None:
        most = self.model.spec.max_steps
        if settings.steps > most:
            raise SettingsError("invalid_settings", f"steps must be 1 to {most}, got {settings.steps}", field="steps")


def _stand_in(model: Model, backend: Backend) -> Compiled | None:
    """The eager network that serves until the backend's is ready; None when the backend is that already."""
    if isinstance(backend, EagerBackend):
        return None
    return EagerBackend(model.network, backend.device, "float32", backend.threads).compile(())


def _stack(conditionings: Sequence[Conditioning]) -> Conditioning:
    return {name: stack_rows([cond[name] for cond in conditionings]) for name in conditionings[0]}


def _output(row: _Row, pixels: Pixels, warm_up: bool) -> Output:
    return Output(pixels, row.frame.seq, row.frame.captured_us, row.state.rev, warm_up=warm_up)
