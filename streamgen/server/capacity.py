"""What a device can still take, judged by what it has been seen to take."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from streamgen.engine.shares import Load
from streamgen.errors import SessionError
from streamgen.settings import FrameFormat, StreamSettings

__all__ = ["Capacity", "Work"]

_KEEP = 0.7
"""Of what was known before, when a new second has been measured."""


@dataclass(frozen=True, slots=True)
class Work:
    """What one frame of a session asks of the device.

    Args:
        pixels: of the output.
        steps: of the sampler.
        extras: what else is computed, such as a matte.
    """

    pixels: int
    steps: int
    extras: tuple[str, ...] = ()

    @classmethod
    def of(cls, format: FrameFormat, settings: StreamSettings) -> Work:
        """The work of a session."""
        extras = {
            "alpha": settings.alpha,
            "matte": settings.matte != "none",
            "guidance": bool(settings.negative_prompt),
            "upscale": format.upscale != 1,
        }
        return cls(
            format.width * format.height, settings.steps, tuple(name for name, wanted in extras.items() if wanted)
        )


class Capacity:
    """Seconds of the device that frames have cost, and whether another session fits beside those there are.

    Args:
        promised_fps: what every session is to get at least, or less where it asks for less itself.
    """

    def __init__(self, promised_fps: int) -> None:
        self._promised_fps = promised_fps
        self._frame_s: dict[Work, float] = {}
        self.busy = 0.0
        """The share of the last second that the device computed."""

    def begin(self, work: Work | None, frame_s: float = 0.0) -> None:
        """Another model serves: forget what frames cost, and begin with a first measurement if there is one."""
        self._frame_s = {} if work is None else {work: frame_s}
        self.busy = 0.0

    def note(self, load: Load, works: Mapping[str, Work]) -> None:
        """Learn from a second of the device, ``works`` being what its sessions computed."""
        self.busy = min(1.0, sum(spent.seconds for spent in load.spent.values()) / load.window_s)
        for session, spent in load.spent.items():
            work = works.get(session)
            if work is not None and spent.frames:
                measured_s = spent.seconds / spent.frames
                known_s = self._frame_s.get(work, measured_s)
                self._frame_s[work] = _KEEP * known_s + (1 - _KEEP) * measured_s

    def frame_s(self, work: Work) -> float | None:
        """What a frame costs, seconds: as measured, or in proportion to the nearest work that was. None while nothing
        was."""
        if not self._frame_s:
            return None
        nearest = min(self._frame_s, key=lambda known: _distance(known, work))
        ratio = work.pixels * work.steps / (nearest.pixels * nearest.steps)
        return self._frame_s[nearest] * ratio

    def demand(self, work: Work, max_fps: int) -> float:
        """The share of the device that a session is promised; 0 while nothing was measured."""
        return min(max_fps, self._promised_fps) * (self.frame_s(work) or 0.0)

    def check(self, work: Work, max_fps: int, others: Iterable[tuple[Work, int]]) -> None:
        """Whether a session fits beside ``others``, work and rate of each. Where there are none it always does: one
        session has all there is.

        Raises:
            SessionError: ``server_full``.
        """
        demands = [self.demand(*other) for other in others]
        wanted = self.demand(work, max_fps)
        if demands and sum(demands) + wanted > 1:
            raise SessionError(
                "server_full",
                f"the device can promise {1 - sum(demands):.0%} of its time, and this session needs {wanted:.0%} of it "
                f"for {min(max_fps, self._promised_fps)} frames a second",
                retryable=True,
            )


def _distance(known: Work, work: Work) -> float:
    """How unlike two works are: by what else they compute, and by the ratios of their steps and sizes."""
    extras = len(set(known.extras) ^ set(work.extras))
    return extras + abs(math.log(known.pixels / work.pixels)) + abs(math.log(known.steps / work.steps))
