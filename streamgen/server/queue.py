"""Publishers waiting for a place: first come, first served, and each knows how many are before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from streamgen.errors import SessionError

__all__ = ["Place", "Queue"]


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """One publisher's place.

    Args:
        enter: tries to let it in; True when it is in, or when it will never be and has been told so; False while there
            is no room.
        moved: told its position, 1 for the next one, whenever that has changed.
    """

    enter: Callable[[], bool]
    moved: Callable[[int], None]


@dataclass(slots=True)
class Queue:
    """Everybody who waits. Runs on the event loop.

    Args:
        most: places.
    """

    most: int
    _places: list[Place] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._places)

    def join(self, place: Place) -> int:
        """Wait behind the others, and return the position, 1 for the next one.

        Raises:
            SessionError: ``queue_full``.
        """
        if len(self._places) >= self.most:
            fact = f"{self.most} publishers wait already" if self.most else "this server lets nobody wait"
            raise SessionError("queue_full", f"all places are taken, and {fact}", retryable=True)
        self._places.append(place)
        return len(self._places)

    def leave(self, place: Place) -> None:
        """Wait no longer."""
        if place in self._places:
            at = self._places.index(place)
            del self._places[at]
            self._tell(from_position=at)

    def serve(self) -> None:
        """There may be room: let in as many as fit, in their order."""
        before = len(self._places)
        while self._places:
            place = self._places.pop(0)
            if not place.enter():
                self._places.insert(0, place)
                break
        if len(self._places) < before:
            self._tell(from_position=0)

    def _tell(self, from_position: int) -> None:
        for position, place in enumerate(self._places[from_position:], from_position + 1):
            place.moved(position)
