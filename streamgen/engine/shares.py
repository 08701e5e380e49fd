"""Whose frame is computed next, so that a session's share of the device does not depend on what it asks for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["FairShares", "Load", "Spent"]

_WINDOW_S = 1.0


@dataclass(frozen=True, slots=True)
class Spent:
    """What a session has had of the device since the last look: frames, and seconds of its time."""

    frames: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Load:
    """What every session has had of the device in the last ``window_s`` seconds; those that had nothing are left
    out. ``memory_bytes`` are those that tensors take on the device; on a CPU, the process's resident memory."""

    window_s: float
    spent: dict[str, Spent]
    memory_bytes: int = 0


class FairShares:
    """Start-time fair queueing (Goyal, Vin & Cheng 1996) of the device's time, all sessions of the same weight.

    A frame's start is where the session's last one finished in virtual time, or the present virtual time if that is
    later, so that nobody saves up a claim by being quiet; whoever may start earliest is next. A session with large or
    many-step frames gets as much time as one with small ones, and so fewer frames; one that sends sixty a second gets
    no more than one that sends ten, as long as the device is short.
    """

    def __init__(self, now_s: float) -> None:
        self._counted_s = now_s
        self._finish_s: dict[str, float] = {}
        self._turn: dict[str, int] = {}
        self._turns = 0
        self._now_s = 0.0
        self._spent: dict[str, Spent] = {}

    @property
    def frames(self) -> int:
        """Computed so far."""
        return self._turns

    def order(self, sessions: Iterable[str]) -> list[str]:
        """Who may start earliest; of equals, who has waited longest."""
        return sorted(sessions, key=lambda session: (self._start_s(session), self._turn.get(session, 0)))

    def charge(self, sessions: Sequence[str], seconds: float) -> None:
        """Note a step that computed one frame of each, equal parts of ``seconds``."""
        each_s = seconds / len(sessions)
        starts_s = [self._start_s(session) for session in sessions]
        for session, start_s in zip(sessions, starts_s, strict=True):
            self._turns += 1
            self._turn[session] = self._turns
            self._finish_s[session] = start_s + each_s
            before = self._spent.get(session, Spent())
            self._spent[session] = Spent(before.frames + 1, before.seconds + each_s)
        self._now_s = max(self._now_s, min(starts_s))

    def forget(self, session: str) -> None:
        """The session is closed."""
        for kept in (self._finish_s, self._turn, self._spent):
            kept.pop(session, None)

    def load(self, now_s: float) -> Load | None:
        """What was spent since this said so last; None until a second has passed."""
        window_s = now_s - self._counted_s
        if window_s < _WINDOW_S:
            return None
        load, self._spent, self._counted_s = Load(window_s, self._spent), {}, now_s
        return load

    def _start_s(self, session: str) -> float:
        return max(self._finish_s.get(session, 0.0), self._now_s)
