"""What a session was asked for and the worker has not confirmed yet."""

from __future__ import annotations

from dataclasses import dataclass

from streamgen.frames import Pixels
from streamgen.server.outbox import Outbox
from streamgen.settings import FrameFormat, StreamSettings

__all__ = ["Asked", "Referring", "Reformatting"]


@dataclass(frozen=True, slots=True)
class Asked:
    """An update that the worker has not confirmed yet."""

    rev: int
    settings: StreamSettings
    ref: str | None
    asker: Outbox


@dataclass(frozen=True, slots=True)
class Reformatting:
    """A format that the worker prepares."""

    rev: int
    format: FrameFormat
    ref: str | None
    asker: Outbox


@dataclass(frozen=True, slots=True)
class Referring:
    """A reference picture that the worker has not confirmed yet."""

    rev: int
    reference: Pixels | None
    ref: str | None
    asker: Outbox
