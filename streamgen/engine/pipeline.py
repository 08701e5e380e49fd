"""Stream batch: the steps of successive frames computed together (StreamDiffusion, Kodaira et al. 2023, section 3.1).

With n steps, one network call takes the newest frame at its first level, the frame before at its second, and so on.
Each call finishes one picture, of the frame n - 1 before the newest: more frames per second on a device that is idle
with one row, at the price of n - 1 frames of latency.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from streamgen.frames import Frame
from streamgen.models.base import Conditioning

__all__ = ["Pipeline", "Waiting"]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A frame part of the way down.

    Args:
        frame: where it came from.
        x_t: [C, h, w], the input of its next step.
        anchor: [C, h, w], what guidance steers away from.
        source: [C, h, w], latents of the frame.
        cond: unbatched conditioning made from the frame.
    """

    frame: Frame
    x_t: Tensor
    anchor: Tensor
    source: Tensor
    cond: Conditioning


@dataclass(slots=True)
class Pipeline:
    """The frames of one session that are under way, newest first.

    Args:
        levels: timesteps they were started with; other ones start anew.
        waiting: at most one for each level behind the first.
    """

    levels: tuple[float, ...] = ()
    waiting: list[Waiting] = field(default_factory=list)

    def start(self, levels: Sequence[float]) -> None:
        """Forget what is under way if it was started with other timesteps: its levels are gone."""
        if tuple(levels) != self.levels:
            self.levels = tuple(levels)
            self.waiting = []
