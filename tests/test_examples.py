"""The examples of the documentation run as they stand."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path
from types import ModuleType
from typing import Any

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
