"""Programs that tests run beside them: node's, Rust's, and clients that talk to a server of the test."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NODE_MODULES = Path(sys.prefix) / "lib" / "node_modules"
WAIT_S = 30


def missing(reason: str) -> None:
    """Skip the test; in CI it fails."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def tool(name: str) -> str:
    """Where a program is."""
    found = shutil.which(name, path=os.pathsep.join([str(Path(sys.prefix) / "bin"), os.environ.get("PATH", "")]))
    if found is None:
        missing(f"there is no {name} on PATH; make test installs the tools of node")
    return str(found)


def node_package(name: str) -> Path:
    """The folder of an npm package that `make test` installs."""
    folder = NODE_MODULES / name
    if not folder.is_dir():
        missing(f"the npm package {name} is not in {NODE_MODULES}: make test installs it")
    return folder


@dataclass
class Program:
    """A program at work."""

    process: asyncio.subprocess.Process

    async def line(self) -> dict[str, Any]:
        """What it says next, in JSON."""
        assert self.process.stdout is not None and self.process.stderr is not None
        text = await asyncio.wait_for(self.process.stdout.readline(), WAIT_S)
        assert text, (await self.process.stderr.read()).decode()
        return dict(json.loads(text))

    async def end(self) -> tuple[int | None, str]:
        """Wait until it ends: its exit code, and what it said of errors."""
        _, errors = await asyncio.wait_for(self.process.communicate(), WAIT_S)
        return self.process.returncode, errors.decode()


@asynccontextmanager
async def at_work(*command: str) -> AsyncIterator[Program]:
    """Start a program; whatever happens it does not outlive the test."""
    pipe = asyncio.subprocess.PIPE
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, env=environment)
    try:
        yield Program(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
