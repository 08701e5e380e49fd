"""The engine: sessions' newest frames in, stylised frames out. Pure compute: no sockets, no event loop, no clock."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch

from streamgen.backends.base import Backend, Function
from streamgen.effects.procedural import evolving_picture
from streamgen.effects.similarity import Verdict
from streamgen.engine.conditioning import Transition, read_prompts
from streamgen.engine.executables import Executables, eager_instead_of
from streamgen.engine.fit import upload
from streamgen.engine.lanes import Row
from streamgen.engine.limits import check_settings, fit_settings
from streamgen.engine.matting import Matting
from streamgen.engine.pipeline import Pipeline
from streamgen.engine.select import BackendReport
from streamgen.engine.state import NextFormat, NoiseTravel, Opened, StreamState
from streamgen.engine.steering import Steering
from streamgen.engine.stylise import Pictures, Stylist
from streamgen.engine.transparency import Shown, retrieve
from streamgen.errors import SessionError, SettingsError
from streamgen.frames import Frame, Output, Pixels
from streamgen.models.base import Model
from streamgen.settings import FrameFormat, Reading, StreamSettings

__all__ = ["Engine", "Skipped"]

_RECORDING: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
"""By device. Two engines share a device while one is loaded to take over from the other, and neither may compute on it
while the other records a CUDA graph."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A frame that no picture was made of now.

    Args:
        seq: of the frame.
        reason: ``similar`` to the last one, or ``pipelined``: it is under way, and no earlier one is done.
    """

    seq: int
    reason: str


class Engine:
    """One model on one device, serving any number of sessions.

    Not thread-safe: one thread calls it. Call ``close_all()`` when done.

    Args:
        model: computes; holds nothing of any session.
        backend: makes its networks fast.
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
        self._sessions: dict[str, Opened] = {}
        self._steering = Steering(model)
        stand_in = None if wait_for_compilation else eager_instead_of(backend, model)
        self._executables = Executables(model, backend, stand_in, _RECORDING[model.spec.device])
        self._stylist = Stylist(model, self._executables, self._buckets)
        self._matting = Matting(self._executables, model.spec.device, self._buckets)

    @property
    def compilations(self) -> int:
        """The model's networks compiled and frames captured since the engine was made. Settings never change it; a new
        format does."""
        return self._executables.compilations

    def captured(self, format: FrameFormat, steps: int, batch: int = 1) -> Function | None:
        """The whole frame as ``whole_frame`` defines it, in one launch; None where the backend has no such thing or it
        is not ready."""
        return self._executables.frame(batch, format, steps)

    @property
    def sessions(self) -> tuple[str, ...]:
        """Names of the open sessions."""
        return tuple(self._sessions)

    def entry(self, session: str) -> Opened:
        """What is kept of an open session. Raises SessionError: ``no_such_session``."""
        if session not in self._sessions:
            raise SessionError("no_such_session", f"there is no session {session!r}", field="session")
        return self._sessions[session]

    @property
    def formats(self) -> set[FrameFormat]:
        """Formats in use and those being prepared."""
        entries = self._sessions.values()
        return {entry.state.format for entry in entries} | {entry.next.format for entry in entries if entry.next}

    @property
    def exclusive(self) -> AbstractContextManager[object]:
        """Shared by all engines of a device: held while one computes, or records a CUDA graph."""
        return self._executables.exclusive

    def prepare(self, format: FrameFormat, *, wait: bool = True, rows: int = 0) -> None:
        """Compile for ``format`` at every batch size, and wait for it unless told otherwise; with ``rows``, only for
        what so many need."""
        needed = self._buckets if rows == 0 else self._buckets[: 1 + self._buckets.index(self._bucket(rows))]
        waits_for = self._executables.prepare(format, needed)
        self._executables.prepare(format, self._buckets)
        for future in waits_for if wait else ():
            future.result()

    def open(
        self, session: str, format: FrameFormat, settings: StreamSettings, rev: int = 0, since_s: float = 0.0
    ) -> Reading | None:
        """Begin a session, or begin it anew with another format, and return how its prompt was read.

        ``since_s`` is the clock when its seed begins to travel.

        Raises:
            SettingsError: ``invalid_settings`` when the model allows fewer steps, or has no LoRA of that name.
        """
        reading = self._open(session, format, settings, rev, since_s)
        self._executables.keep(self.formats)
        return reading

    def _open(
        self, session: str, format: FrameFormat, settings: StreamSettings, rev: int, since_s: float
    ) -> Reading | None:
        self._check(settings)
        with self._executables.exclusive:
            cond = self._steering.prompt(settings)
            state = StreamState(
                format,
                settings,
                rev,
                self._noise(settings, format, since_s),
                Transition(cond, cond),
                self._steering.negative(settings),
                self._steering.live(settings),
                *self.model.reference_conditioning(None),
            )
        self._sessions[session] = Opened(state, since_s)
        self._executables.prepare(format, self._buckets)
        return read_prompts(self.model, settings)

    def fit(self, settings: StreamSettings) -> StreamSettings:
        """The nearest settings that this model can do."""
        return fit_settings(settings, self.model.spec.max_steps, self.model.loras)

    def update(self, session: str, settings: StreamSettings, rev: int, now_s: float = 0.0) -> Reading | None:
        """Put ``settings`` in force from the next frame on and return how the prompt was read.

        Raises:
            SessionError: ``no_such_session``.
            SettingsError: as ``open``; the settings in force stay.
        """
        entry = self.entry(session)
        self._check(settings)
        state = entry.state
        with self._executables.exclusive:
            self._steer(entry, settings, now_s)
        state.similarity.forget()
        state.settings, state.rev = settings, rev
        return read_prompts(self.model, settings)

    def _steer(self, entry: Opened, settings: StreamSettings, now_s: float) -> None:
        """Make the tensors that ``settings`` ask for."""
        state = entry.state
        former = state.settings
        if self._steering.turns(former, settings):
            self._steering.turn(state, settings, now_s)
        if (settings.seed, settings.seed_speed) != (former.seed, former.seed_speed):
            state.noise = self._noise(settings, state.format, now_s)
            entry.since_s = now_s
        state.negative, state.live = self._steering.negative(settings), self._steering.live(settings)

    def refer(self, session: str, pixels: Pixels | None) -> None:
        """Steer by a reference picture, uint8 [H, W, 3], from the next frame on; None for none.

        Raises:
            SessionError: ``no_such_session``.
            SettingsError: ``no_reference`` when the model takes none.
        """
        entry = self.entry(session)
        if not self.model.takes_reference:
            raise SettingsError("no_reference", "this model takes no reference picture")
        with self._executables.exclusive:
            entry.state.reference, entry.state.unreferred = self.model.reference_conditioning(pixels)
        entry.state.similarity.forget()
        entry.reference = pixels

    def reformat(self, session: str, format: FrameFormat, on_progress: Callable[[], None]) -> None:
        """Begin to prepare another format, instead of one that is being prepared. The session goes on in its present
        one: ask ``ready_formats`` between steps, and then call ``take_format``.

        Args:
            on_progress: called whenever it is worth asking, on another thread or on this one.

        Raises:
            SessionError: ``no_such_session``.
        """
        entry = self.entry(session)
        # Ready means: for as many sessions as there are. Larger batches can be compiled later.
        needed = self._buckets[: 1 + self._buckets.index(self._bucket(len(self._sessions)))]
        futures = self._executables.prepare(format, needed)
        self._executables.prepare(format, self._buckets)
        entry.next = NextFormat(format, futures)
        self._executables.keep(self.formats)
        for future in futures:
            future.add_done_callback(lambda _: on_progress())

    @property
    def ready_formats(self) -> tuple[str, ...]:
        """Sessions whose next format can be taken over."""
        return tuple(
            session
            for session, entry in self._sessions.items()
            if entry.next is not None and all(future.done() for future in entry.next.waits_for)
        )

    def take_format(self, session: str) -> None:
        """Make the session's frames in its next format from now on. What is under way in the present one is lost;
        settings, transition and the seed's travel go on."""
        entry = self.entry(session)
        following, entry.next = entry.next, None
        if following is None:
            return
        state = entry.state
        state.noise = self._noise(state.settings, following.format, entry.since_s)
        state.format = following.format
        state.forget_frames()
        self._executables.keep(self.formats)

    def take_over(self, former: Engine, on_progress: Callable[[], None]) -> list[tuple[str, int, Reading | None]]:
        """Open every session of ``former`` here as it stands there, its settings fitted to this model, its seed as far
        on its way and its transition over. ``former`` is left as it is: close it when this succeeded.

        Args:
            on_progress: see ``reformat``; formats that are being prepared are begun here anew.

        Returns:
            For each session its name, the revision of its settings, and how its prompt was read.
        """
        readings = []
        for session, entry in former._sessions.items():
            state = entry.state
            settings = self.fit(state.settings)
            reading = self._open(session, state.format, settings, state.rev, entry.since_s)
            readings.append((session, state.rev, reading))
            if entry.reference is not None and self.model.takes_reference:
                self.refer(session, entry.reference)
        for session, entry in former._sessions.items():
            if entry.next is not None:
                self.reformat(session, entry.next.format, on_progress)
        self._executables.keep(self.formats)
        return readings

    def refresh(self, now_s: float = 0.0) -> list[tuple[str, int, Reading | None]]:
        """Look for styles that came or went; [] when none did, else what ``take_over`` returns."""
        states = {session: entry.state for session, entry in self._sessions.items()}
        with self._executables.exclusive:
            if not self._steering.refresh(states.values(), now_s):
                return []
        return [(session, state.rev, read_prompts(self.model, state.settings)) for session, state in states.items()]

    def close(self, session: str) -> None:
        """Forget a session; unknown names are ignored."""
        if self._sessions.pop(session, None) is not None:
            self._executables.keep(self.formats)

    def close_all(self) -> None:
        """Forget every session and stop compiling."""
        self._sessions.clear()
        self._executables.close()

    def step(self, batch: Sequence[tuple[str, Frame]], now_s: float) -> list[tuple[str, Output | Skipped]]:
        """Stylise one frame of each of several sessions, in the order given.

        Sessions may differ in everything; those of one format share network calls, and none influences another.
        ``now_s`` drives the transitions and is the clock that ``update`` was given. In a pipelined session the output
        is that of an earlier frame, whose ``seq`` it carries.

        Raises:
            SessionError: ``no_such_session``; nothing was computed.
        """
        self._executables.settle()
        with self._executables.exclusive:
            rows = [self._row(session, frame, now_s) for session, frame in batch]
            verdicts = [self._judge(row, now_s) for row in rows]
            made: dict[int, Output | Skipped] = {}
            computed = [index for index, verdict in enumerate(verdicts) if not verdict.skipped]
            with torch.inference_mode():
                for indices in self._groups(rows, computed):
                    made.update(zip(indices, self._stylise([rows[index] for index in indices]), strict=True))
        for index in computed:
            rows[index].state.similarity.note(verdicts[index])
        return [(row.session, made.get(index, Skipped(row.frame.seq, "similar"))) for index, row in enumerate(rows)]

    def dream(self, session: str, seq: int, now_s: float) -> Frame:
        """The frame to hand to ``step`` for a session whose settings say ``source: prompt``: a slowly evolving picture
        for a model that paints over pictures, else an empty one, which a model that dreams does not look at.

        Raises:
            SessionError: ``no_such_session``.
        """
        state = self.entry(session).state
        format = state.format.painted
        if self.model.needs_source:
            pixels = evolving_picture(format.width, format.height, state.settings.seed, now_s)
        else:
            pixels = np.zeros((format.height, format.width, 3), np.uint8)
        return Frame(pixels, seq, received_s=now_s)

    def _groups(self, rows: Sequence[Row], indices: Sequence[int]) -> Iterator[list[int]]:
        """Indices of rows that share a format, at most ``max_batch`` together. Rows at strength 0 are none of the
        model's business and go together, as do rows with equal numbers of steps as far as possible."""
        groups: dict[tuple[FrameFormat, bool], list[int]] = {}
        for index in sorted(indices, key=lambda index: len(rows[index].levels)):
            row = rows[index]
            groups.setdefault((row.state.format, bool(row.levels)), []).append(index)
        for group in groups.values():
            for start in range(0, len(group), self.max_batch):
                yield group[start : start + self.max_batch]

    def _stylise(self, rows: Sequence[Row]) -> list[Output | Skipped]:
        """Rows of one format."""
        format, device = rows[0].state.format, self.model.spec.device
        frames = [row.frame.pixels for row in rows]
        if rows[0].levels:
            pixels = upload(frames, format.painted, device)
            pictures = self._stylist.stylise(rows, pixels)
        else:  # strength 0 is the plain frame, whatever a codec would make of it
            pixels = upload(frames, format, device)
            pictures = Pictures([row.frame for row in rows], pixels, False)
        fits = pixels.shape[1:3] == (format.height, format.width)
        shown = [
            Shown(frame, row.state, fitted if fits and frame is row.frame else None)
            for row, frame, fitted in zip(rows, pictures.frames, pixels, strict=True)
            if frame is not None
        ]
        shown = self._matting.matted(shown)
        pixels_of = iter([] if pictures.pixels is None else retrieve(pictures.pixels, shown, device))
        return [
            Skipped(row.frame.seq, "pipelined")
            if frame is None
            else _output(row, frame, next(pixels_of), pictures.warm_up)
            for row, frame in zip(rows, pictures.frames, strict=True)
        ]

    def _row(self, session: str, frame: Frame, now_s: float) -> Row:
        state = self.entry(session).state
        settings = state.settings
        dreams = settings.source == "prompt" and not self.model.needs_source
        levels = tuple(self.model.schedule.timesteps(settings.steps, 1.0 if dreams else settings.strength))
        cond = state.transition.at(now_s) | state.live | state.reference
        row = Row(session, frame, state, levels, state.noise.at(now_s), cond, dreams)
        # Whatever way the frame goes, nothing is left of one that is no longer taken: it would come back too late.
        if not row.pipelined:
            state.pipeline = Pipeline()
        if not levels or settings.feedback == 0:
            state.last = None
        return row

    def _judge(self, row: Row, now_s: float) -> Verdict:
        """What the similarity filter says of this frame."""
        state = row.state
        threshold = 0.0 if row.dreams else state.settings.skip_similar  # there is nothing to see in a dream's frame
        changing = state.settings.seed_speed > 0 or not state.transition.is_over(now_s)
        depth = len(row.levels) if row.pipelined else 1
        return state.similarity.judge(row.frame.pixels, threshold, changing=changing, depth=depth)

    def _bucket(self, rows: int) -> int:
        return next((size for size in self._buckets if size >= rows), self._buckets[-1])

    def _noise(self, settings: StreamSettings, format: FrameFormat, now_s: float) -> NoiseTravel:
        spec, shape = self.model.spec, self.model.latent_shape(format.painted.height, format.painted.width)
        return NoiseTravel(settings.seed, settings.seed_speed, now_s, spec.max_steps, shape, spec.device)

    def _check(self, settings: StreamSettings) -> None:
        check_settings(settings, self.model.spec.max_steps, self.model.loras)
        self._matting.prepare(settings)


def _output(row: Row, frame: Frame, pixels: Pixels, warm_up: bool) -> Output:
    return Output(pixels, frame.seq, frame.captured_us, row.state.rev, warm_up=warm_up, received_s=frame.received_s)
