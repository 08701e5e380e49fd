"""The writing thread, its disk, and what can be read back: all without an engine."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from streamgen.errors import MediaError
from streamgen.frames import Frame, Pixels
from streamgen.recording import Recording
from streamgen.server import recorder as module
from streamgen.server.recorder import Recorder, open_exclusively
from streamgen.settings import FrameFormat, StreamSettings
from streamgen.timeline import Began, Computed, Ended, Lost, ModelIdentity, ReferencePicture, parse_event

SIDE = 64
MODEL = ModelIdentity(
    spec={"family": "tiny", "device": "cpu"},
    backend="eager",
    dtype="float32",
    threads=1,
    weights="0" * 64,
    styles="",
    streamgen="0",
    torch="0",
)
BEGAN = Began(since_s=1.5, rev=0, settings=StreamSettings(), format=FrameFormat(), reference=None, model=MODEL)


class Kept:
    """A recorder in a folder, and what it said of its end."""

    def __init__(self, folder: Path, **options: object) -> None:
        self.failures: list[MediaError] = []
        self.ends = 0
        self.recorder = Recorder(
            folder,
            "a",
            "cam",
            self.failures.append,
            self._ended,
            **{"least_free_bytes": 0, **options},  # type: ignore[arg-type]
        )
        self.recorder.begin()
        self.recorder.log(BEGAN)

    def _ended(self) -> None:
        self.ends += 1

    def give(self, index: int, side: int = SIDE) -> Pixels:
        pixels = noise(index, side)
        self.recorder.frame(Frame(pixels, index, 1000 + index, 2.0 + index / 30))
        return pixels

    def take(self, index: int) -> None:
        self.recorder.log(computed(index))

    def end(self) -> None:
        self.recorder.end("stopped")
        assert self.recorder.join(20)


def noise(index: int, side: int = SIDE) -> Pixels:
    return np.random.default_rng(index).integers(0, 256, (side, side, 3), np.uint8)


def computed(index: int, **fields: object) -> Computed:
    values = {"seq": index, "captured_us": 1000 + index, "received_s": 2.0 + index / 30, "at_s": 3.0 + index / 30}
    return Computed(**{**values, "outcome": "made", **fields})  # type: ignore[arg-type]


def taken(folder: Path) -> list[tuple[int, Pixels | None]]:
    """What the engine took, with the frames found for it."""
    recording = Recording.open(folder / "a.mkv")
    return [(event.seq, pixels) for event, pixels in recording.events() if isinstance(event, Computed)]


def timeline(folder: Path) -> Iterator[object]:
    for line in (folder / "a.jsonl").read_bytes().splitlines():
        yield parse_event(line)


class FullDisk:
    """A file on a disk that has room for so many bytes."""

    def __init__(self, path: Path, room: list[int]) -> None:
        self._file, self._room = open_exclusively(path), room

    def write(self, data: bytes) -> int:
        fits = min(len(data), self._room[0])
        if data and not fits:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._room[0] -= fits
        return self._file.write(data[:fits])

    def close(self) -> None:
        self._file.close()


def test_frames_come_back_bit_for_bit_in_whatever_size_with_those_the_engine_took(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    sent = {index: kept.give(index, SIDE if index < 5 else SIDE // 2) for index in range(10)}
    for index in (0, 3, 4, 7, 9):
        kept.take(index)
    kept.end()
    found = taken(tmp_path)
    assert [index for index, _ in found] == [0, 3, 4, 7, 9]
    for index, pixels in found:
        np.testing.assert_array_equal(pixels, sent[index])
    survey = Recording.open(tmp_path / "a.jsonl").survey
    assert (survey.given, survey.unseen, survey.made, survey.complete) == (10, 5, 5, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-2.mkv", "a.jsonl", "a.mkv"]
    assert kept.ends == 1


def test_a_connection_that_counts_anew_is_not_taken_for_the_one_before(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    for round in range(2):
        pixels = noise(round)
        kept.recorder.frame(Frame(pixels, 0, 5, 2.0 + round))
        kept.recorder.log(computed(0, captured_us=5))
    kept.end()
    for round, (_, pixels) in enumerate(taken(tmp_path)):
        np.testing.assert_array_equal(pixels, noise(round))


def test_a_slow_disk_costs_frames_and_the_timeline_says_how_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_WAITING_BYTES", 3 * SIDE * SIDE * 3)
    may_write = threading.Event()

    def slow(path: Path) -> IO[bytes]:
        if path.suffix == ".mkv":
            may_write.wait(20)
        return open_exclusively(path)

    kept = Kept(tmp_path, open_file=slow)
    for index in range(20):
        kept.give(index)
    may_write.set()
    kept.take(0)
    kept.take(19)
    kept.end()
    lost = sum(event.count for event in timeline(tmp_path) if isinstance(event, Lost))
    assert lost == kept.recorder.lost >= 16
    assert kept.recorder.frames == 20 - lost
    assert taken(tmp_path)[1] == (19, None)
    survey = Recording.open(tmp_path / "a.jsonl").survey
    assert (survey.lost, survey.missing) == (lost, 1)


@pytest.mark.parametrize("room", [3_000, 40_000, 150_000])
def test_a_full_disk_ends_the_recording_which_can_be_read_up_to_there(tmp_path: Path, room: int) -> None:
    left = [room]
    kept = Kept(tmp_path, open_file=lambda path: FullDisk(path, left))
    for index in range(100):
        kept.give(index)
        kept.take(index)
    assert kept.recorder.join(20)
    [failure] = kept.failures
    assert failure.code == "recording_failed"
    assert "no space left" in failure.message
    recording = Recording.open(tmp_path / "a.jsonl")
    assert not recording.survey.complete
    for index, pixels in taken(tmp_path):
        np.testing.assert_array_equal(pixels, noise(index))
    assert room < 150_000 or len(taken(tmp_path)) >= 5


def test_a_recording_leaves_room_on_the_disk_to_others(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, "a", "cam", print, lambda: None, least_free_bytes=2**62)
    with pytest.raises(MediaError, match="left") as caught:
        recorder.begin()
    assert caught.value.code == "recording_failed"
    assert not list(tmp_path.iterdir())


_CHILD = """
import sys
from pathlib import Path
from tests.server.test_recorder import Kept
kept = Kept(Path(sys.argv[1]))
index = 0
while True:
    kept.give(index)
    kept.take(index)
    while kept.recorder.frames <= index:
        pass
    index += 1
    if index == 40:
        print("now", flush=True)
"""


def test_what_a_killed_process_had_written_can_be_read(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _CHILD, str(tmp_path)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdout.readline() == b"now\n"
        child.send_signal(signal.SIGKILL)
    recording = Recording.open(tmp_path / "a.jsonl")
    found = taken(tmp_path)
    assert not recording.survey.complete
    assert len(found) >= 30  # clusters hold a tenth of a second
    for index, pixels in found:
        np.testing.assert_array_equal(pixels, noise(index))


def test_a_timeline_that_was_cut_off_in_a_line_is_read_up_to_the_line_before(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    for index in range(6):
        kept.give(index)
        kept.take(index)
    kept.end()
    path = tmp_path / "a.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:9]) + lines[9][:20])
    assert not Recording.open(path).survey.complete
    assert len(taken(tmp_path)) == 3


@pytest.mark.parametrize(
    ("content", "code"),
    [(None, "cannot_read"), (b"", "not_a_recording"), (b"{}\n", "not_a_recording"), (b"\x00\xff", "not_a_recording")],
)
def test_what_is_no_recording_is_a_typed_error(tmp_path: Path, content: bytes | None, code: str) -> None:
    path = tmp_path / "a.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MediaError) as caught:
        Recording.open(path)
    assert caught.value.code == code


def test_a_recording_in_which_nothing_began_is_a_typed_error(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    kept.end()
    path = tmp_path / "a.jsonl"
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    with pytest.raises(MediaError) as caught:
        Recording.open(path)
    assert caught.value.code == "recording_incomplete"


def test_a_timeline_cannot_name_a_file_elsewhere(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    kept.give(0)
    kept.take(0)
    kept.end()
    path = tmp_path / "a.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"a.mkv"', b'"../a.mkv"'))
    assert taken(tmp_path) == []


def test_a_reference_picture_comes_back_bit_for_bit() -> None:
    pixels = noise(3)
    written = ReferencePicture.of(pixels)
    assert written is not None
    np.testing.assert_array_equal(ReferencePicture.model_validate_json(written.model_dump_json()).pixels(), pixels)
    with pytest.raises(MediaError):
        written.model_copy(update={"height": 65}).pixels()


def test_the_last_line_says_how_it_ended(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    kept.give(0)
    kept.end()
    assert list(timeline(tmp_path))[-1] == Ended(reason="stopped", frames=1, lost=0)
