"""The examples of the documentation run as they stand."""

from __future__ import annotations

import asyncio
import importlib.util
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

from streamgen.frames import Pixels
from tests.server.conftest import running

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_the_minimal_example_gets_an_output_for_every_frame(capsys: pytest.CaptureFixture[str]) -> None:
    async with running(clock=time.monotonic) as server:
        await load("minimal").main(server.url)
    lines = capsys.readouterr().out.splitlines()
    assert [int(line.split()[0]) for line in lines] == list(range(60))


async def test_the_webcam_example_shows_changes_prompts_and_saves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    keys, shown = iter(["", "2", "", "s", "q"]), []

    class Camera:
        def read(self) -> tuple[bool, Any]:
            return True, np.zeros((48, 64, 3), np.uint8)

    def show(picture: Pixels) -> str:
        shown.append(picture.shape)
        return next(keys)

    async with running(clock=time.monotonic) as server:
        await load("webcam").run(server.url, Camera(), show)
    assert shown == [(384, 512, 3)] * 5
    assert (tmp_path / "snapshot.png").read_bytes().startswith(b"\x89PNG")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Eight frames of 96x64 at 12 a second, as Motion JPEG."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 12.0, (96, 64))
    for shade in range(8):
        writer.write(np.full((64, 96, 3), shade * 30, np.uint8))
    writer.release()
    return path


async def test_the_opencv_loop_shows_what_came_and_changes_prompts(clip: Path) -> None:
    shown: list[tuple[int, ...]] = []

    class Camera:
        """Plays the clip again and again."""

        reader = cv2.VideoCapture(str(clip))

        def read(self) -> tuple[bool, Any]:
            taken, picture = self.reader.read()
            if not taken:
                self.reader.set(cv2.CAP_PROP_POS_FRAMES, 0)
                taken, picture = self.reader.read()
            return taken, picture

    def show(picture: Pixels) -> str:
        shown.append(picture.shape)
        outputs = shown.count((384, 512, 3))
        return "2" if outputs == 1 else "q" if outputs == 3 else ""

    async with running(clock=time.monotonic) as server:
        await asyncio.to_thread(load("opencv_loop").run, server.url, Camera(), show)
        [session] = server.worker.closed
    assert shown[0] == (64, 96, 3) and session


async def test_a_file_is_stylised_whole(clip: Path, tmp_path: Path) -> None:
    target = tmp_path / "stylised.mp4"
    async with running(clock=time.monotonic) as server:
        count = await asyncio.to_thread(load("file_to_file").run, server.url, str(clip), str(target), "oil painting")
    made = cv2.VideoCapture(str(target))
    assert count == 8 == int(made.get(cv2.CAP_PROP_FRAME_COUNT))
    assert made.get(cv2.CAP_PROP_FPS) == pytest.approx(12.0)
    assert made.read()[1].shape == (256, 256, 3)
