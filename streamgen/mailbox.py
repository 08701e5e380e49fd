"""A newest-wins slot in shared memory: how pictures cross between the server and a worker process."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from multiprocessing.shared_memory import SharedMemory
from multiprocessing.synchronize import Lock
from typing import Any

import numpy as np

from streamgen.errors import WorkerError
from streamgen.frames import Pixels

__all__ = ["Note", "SharedSlot", "Taken"]

_BUFFERS = 3  # one being written, one being read, one holding the newest
_CONTROL = struct.Struct("<qqq")  # newest buffer or -1, buffer being read or -1, pictures replaced unseen
_NOTE = struct.Struct("<IIQQdIddBI")
_NOTE_BYTES = 64
_LOCK_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True)
class Note:
    """What travels with a picture: the fields of ``Frame`` on the way in, of ``Output`` on the way out.

    ``format_rev`` says which of a session's formats an output has: replacing an older one, it may arrive before the
    report that its format is in force.
    """

    seq: int = 0
    captured_us: int = 0
    received_s: float = 0.0
    settings_rev: int = 0
    queued_ms: float = 0.0
    engine_ms: float = 0.0
    warm_up: bool = False
    format_rev: int = 0


@dataclass(frozen=True, slots=True)
class Taken:
    """A picture out of the slot, and how many were replaced unseen since the last one taken."""

    pixels: Pixels
    note: Note
    replaced: int


class SharedSlot:
    """One place for one picture between one writing and one reading process. The newest wins; losers are counted.

    Neither side waits for the other's copying: the lock is held for the exchange of buffer numbers alone. The creator
    calls ``unlink()`` when done, every side calls ``close()``.

    Args:
        lock: shared by both processes, may serve many slots.
        capacity: bytes of the largest picture.
        name: of an existing slot to attach to; None creates one.
    """

    def __init__(self, lock: Lock, capacity: int, name: str | None = None) -> None:
        self._lock = lock
        self._capacity = capacity
        self._stride = _NOTE_BYTES + (capacity + 63) // 64 * 64
        size = 64 + _BUFFERS * self._stride
        # Untouched pages of a fresh segment cost no memory, so a generous capacity is free.
        self._memory = SharedMemory(name=name, create=name is None, size=0 if name else size)
        if name is None:
            self._write_control(-1, -1, 0)

    @property
    def name(self) -> str:
        """For the other process to attach by."""
        return self._memory.name

    def put(self, pixels: Pixels, note: Note) -> None:
        """Copy a uint8 [H, W, C] picture in; it replaces one that was not taken yet.

        Raises:
            WorkerError: ``slot_too_small`` for a picture over the capacity; ``worker_stuck`` when the other process
                died inside the exchange.
        """
        if pixels.nbytes > self._capacity:
            raise WorkerError("slot_too_small", f"a slot of {self._capacity} bytes was given {pixels.nbytes}")
        with self._exchange():
            newest, reading, _ = self._read_control()
        buffer = next(index for index in range(_BUFFERS) if index not in (newest, reading))
        self._write_buffer(buffer, pixels, note)
        with self._exchange():
            newest, reading, replaced = self._read_control()
            self._write_control(buffer, reading, replaced + (newest != -1))

    def take(self) -> Taken | None:
        """Copy the newest picture out; None when there is none since the last one."""
        with self._exchange():
            newest, _, replaced = self._read_control()
            if newest == -1:
                return None
            self._write_control(-1, newest, 0)
        pixels, note = self._read_buffer(newest)
        with self._exchange():
            latest, _, since = self._read_control()
            self._write_control(latest, -1, since)
        return Taken(pixels, note, replaced)

    def close(self) -> None:
        """Detach from the segment."""
        self._memory.close()

    def unlink(self) -> None:
        """Remove the segment; processes still attached keep it until they close."""
        self._memory.unlink()

    def _exchange(self) -> _Held:
        return _Held(self._lock)

    def _read_control(self) -> tuple[int, int, int]:
        return _CONTROL.unpack_from(self._buf)

    def _write_control(self, *values: int) -> None:
        _CONTROL.pack_into(self._buf, 0, *values)

    def _write_buffer(self, buffer: int, pixels: Pixels, note: Note) -> None:
        at = 64 + buffer * self._stride
        height, width, channels = pixels.shape
        _NOTE.pack_into(
            self._buf,
            at,
            height,
            width << 4 | channels,
            note.seq,
            note.captured_us,
            note.received_s,
            note.settings_rev,
            note.queued_ms,
            note.engine_ms,
            note.warm_up,
            note.format_rev,
        )
        np.ndarray(pixels.shape, np.uint8, self._buf, at + _NOTE_BYTES)[:] = pixels

    def _read_buffer(self, buffer: int) -> tuple[Pixels, Note]:
        at = 64 + buffer * self._stride
        height, packed, *note = _NOTE.unpack_from(self._buf, at)
        seq, captured_us, received_s, rev, queued_ms, engine_ms, warm_up, format_rev = note
        shape = (height, packed >> 4, packed & 15)
        pixels = np.ndarray(shape, np.uint8, self._buf, at + _NOTE_BYTES).copy()
        return pixels, Note(seq, captured_us, received_s, rev, queued_ms, engine_ms, bool(warm_up), format_rev)

    @property
    def _buf(self) -> Any:
        return self._memory.buf


class _Held:
    """The slot's lock, with an end to waiting: a process killed inside the exchange never gives it back."""

    def __init__(self, lock: Lock) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        if not self._lock.acquire(timeout=_LOCK_TIMEOUT_S):
            raise WorkerError("worker_stuck", "the other process died while exchanging a picture", retryable=True)

    def __exit__(self, *_: object) -> None:
        self._lock.release()
