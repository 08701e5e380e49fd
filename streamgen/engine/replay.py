"""A recording computed again: the same frames at the same ticks of the clock, with the same things in force.

That makes the same bits wherever the engine computes a frame from those alone, which is every backend that is
deterministic, with one session at a time in a network call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from streamgen.config import LoraSpec, ModelSpec
from streamgen.engine.engine import Engine
from streamgen.errors import MediaError
from streamgen.frames import Frame, Output, Pixels
from streamgen.recording import Recording
from streamgen.settings import FrameFormat, StreamSettings, parse_format
from streamgen.timeline import (
    Began,
    Computed,
    Event,
    Given,
    ModelIdentity,
    ModelInForce,
    ReferenceInForce,
    ReferencePicture,
    SettingsInForce,
    SizeInForce,
)

__all__ = ["Replay", "differences", "spec_of"]

_SESSION = "replay"


def spec_of(model: ModelIdentity) -> ModelSpec:
    """What to load to have the model of a recording.

    Raises:
        MediaError: ``recording_corrupt``.
    """
    known = {field.name for field in fields(ModelSpec)}
    values = {name: value for name, value in model.spec.items() if name in known}
    try:
        values |= {name: Path(values[name]) for name in ("weights", "styles") if values.get(name) is not None}
        values["loras"] = tuple(LoraSpec(**lora) for lora in values.get("loras", ()))
        values["embeddings"] = tuple(values.get("embeddings", ()))
        return ModelSpec(**{**values, "dtype": model.dtype})
    except TypeError as error:
        raise MediaError("recording_corrupt", f"the recording's model cannot be read: {error}") from None


def differences(recorded: ModelIdentity, present: ModelIdentity) -> list[str]:
    """What may make other bits than the recording's, in words; [] when nothing does."""
    found = []
    for name in ("backend", "dtype", "threads", "styles", "streamgen", "torch"):
        before, now = getattr(recorded, name), getattr(present, name)
        if before != now:
            found.append(f"{name} {before or 'none'} then, {now or 'none'} now")
    device, now = recorded.spec.get("device"), present.spec.get("device")
    if device != now:
        found.append(f"device {device} then, {now} now")
    return found


@dataclass(frozen=True, slots=True)
class _Wish:
    """What is to be other than it was.

    Args:
        size: width and height of every picture; None for those of the recording.
        every_frame: compute the frames too that were replaced unseen.
        model_stays: the first model serves to the end, whatever the recording switched to.
    """

    size: tuple[int, int] | None = None
    every_frame: bool = False
    model_stays: bool = False


class Replay:
    """Computes what a recording holds. Walk ``pictures()`` once, then call ``close()``.

    Args:
        recording: what to compute.
        build: makes the engine of a model that was in force.
        size: width and height of every picture; None for those of the recording.
        every_frame: compute the frames too that were replaced unseen while it was live.
        model_stays: the first model that ``build`` makes serves to the end.

    Attributes:
        engine: the one that serves now.
        missing: frames that could not be computed again, because the video lacks them.

    Raises:
        SettingsError: ``size`` cannot be had.
    """

    def __init__(
        self,
        recording: Recording,
        build: Callable[[ModelIdentity], Engine],
        *,
        size: tuple[int, int] | None = None,
        every_frame: bool = False,
        model_stays: bool = False,
    ) -> None:
        self.missing = 0
        self._recording = recording
        self._build = build
        self._wish = _Wish(size, every_frame, model_stays)
        self._format(recording.first.format)
        self._reference: Pixels | None = None
        self._settings = recording.first.settings
        self._clock_s = 0.0
        self.engine = build(recording.first.model)
        self._model = recording.first.model
        self._began = False

    def pictures(self) -> Iterator[Output]:
        """Every picture, in order."""
        for event, pixels in self._recording.events():
            if isinstance(event, Given) and pixels is not None:
                yield from self._given(event, pixels)
            elif isinstance(event, Computed):
                yield from self._computed(event, pixels)
            else:
                self._obey(event)

    def close(self) -> None:
        """Let go of the engine."""
        self.engine.close_all()

    def _obey(self, event: Event) -> None:
        match event:
            case Began():
                self._begin(event)
            case SettingsInForce(at_s=at_s, rev=rev, settings=settings):
                self._settings = settings
                self._clock_s = at_s
                self.engine.update(_SESSION, self._fit(settings), rev, at_s)
            case SizeInForce(format=format):
                self._resize(self._format(format))
            case ReferenceInForce(reference=reference):
                self._refer(reference)
            case ModelInForce(model=model):
                self._switch(model)

    def _begin(self, event: Began) -> None:
        self._settings, self._clock_s = event.settings, event.since_s
        if event.model != self._model:
            self._switch(event.model)
        format = self._format(event.format)
        self.engine.prepare(format, rows=1)
        self.engine.open(_SESSION, format, self._fit(event.settings), event.rev, event.since_s)
        self._began = True
        self._refer(event.reference)

    def _fit(self, settings: StreamSettings) -> StreamSettings:
        """Settings as the engine is given them: the recording says which frames were left out for their likeness."""
        return self.engine.fit(settings).model_copy(update={"skip_similar": 0.0})

    def _format(self, format: FrameFormat) -> FrameFormat:
        if self._wish.size is None:
            return format
        width, height = self._wish.size
        return parse_format({**format.model_dump(), "width": width, "height": height})

    def _resize(self, format: FrameFormat) -> None:
        if format != self.engine.entry(_SESSION).state.format:
            self.engine.prepare(format, rows=1)
            self.engine.reformat(_SESSION, format, lambda: None)
            self.engine.take_format(_SESSION)

    def _refer(self, reference: ReferencePicture | None) -> None:
        self._reference = None if reference is None else reference.pixels()
        if self.engine.model.takes_reference:
            self.engine.refer(_SESSION, self._reference)

    def _switch(self, model: ModelIdentity) -> None:
        if self._wish.model_stays:
            return
        former, self.engine = self.engine, self._build(model)
        self._model = model
        if self._began:
            for format in former.formats:
                self.engine.prepare(format, rows=1)
            self.engine.take_over(former, lambda: None)
            if self.engine.model.takes_reference and not former.model.takes_reference:
                self.engine.refer(_SESSION, self._reference)
        former.close_all()

    def _given(self, event: Given, pixels: Pixels) -> Iterator[Output]:
        if self._wish.every_frame and self._began and self._settings.source == "frames":
            self._clock_s = max(self._clock_s, event.received_s)
            yield from self._step(Frame(pixels, event.seq, event.captured_us, event.received_s))

    def _computed(self, event: Computed, pixels: Pixels | None) -> Iterator[Output]:
        if event.outcome not in ("made", "pipelined") or (self._wish.every_frame and not event.dreamed):
            return
        self._clock_s = event.at_s
        if event.dreamed:
            frame = self.engine.dream(_SESSION, event.seq, event.received_s)
            yield from self._step(Frame(frame.pixels, event.seq, event.captured_us, event.received_s))
        elif pixels is None:
            self.missing += 1
        else:
            yield from self._step(Frame(pixels, event.seq, event.captured_us, event.received_s))

    def _step(self, frame: Frame) -> Iterator[Output]:
        [(_, result)] = self.engine.step([(_SESSION, frame)], self._clock_s)
        if isinstance(result, Output):
            yield result
