"""What tests of finding and loading a checkpoint share: a hub of their own, and folders and files to damage.

A test file that says ``hub = checkpoints.hub`` cannot reach the real hub.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub import errors

from streamgen.errors import StreamgenError

__all__ = ["Hub", "edit", "http", "hub", "refusal", "save_header", "sd", "weights_of"]

http = import_module(errors.HTTPError.__module__.partition(".")[0])  # httpx, or its successor


class Hub:
    """In the place of huggingface.co: what it holds, how it fails, and what was asked of it."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.holds: dict[str, Path] = {}
        self.failure: Exception | None = http.ConnectError("no route to host")
        self.timeouts: list[float | None] = []
        self.fetched: list[str] = []
        self._find_in_cache = huggingface_hub.snapshot_download

    def model_info(self, api: Any, repo: str, *, timeout: float | None = None) -> Any:
        self.timeouts.append(timeout)
        if self.failure is not None:
            raise self.failure
        files = [path for path in self.holds[repo].rglob("*") if path.is_file()]
        names = [str(path.relative_to(self.holds[repo])) for path in files]
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=name) for name in names])

    def hf_hub_download(self, repo: str, file: str, *, etag_timeout: float) -> str:
        return str(self.holds[repo] / file)

    def snapshot_download(
        self, repo: str, *, allow_patterns: list[str], local_files_only: bool = False, **_: Any
    ) -> str:
        if local_files_only:
            return self._find_in_cache(repo, allow_patterns=allow_patterns, local_files_only=True)
        files = [path.relative_to(self.holds[repo]) for path in self.holds[repo].rglob("*") if path.is_file()]
        chosen = [file for file in files if any(fnmatch(str(file), pattern) for pattern in allow_patterns)]
        self.fetched += map(str, chosen)
        return str(self.put_in_cache(repo, self.holds[repo], chosen))

    def put_in_cache(self, repo: str, source: Path, files: list[Path] | None = None) -> Path:
        commit = "0" * 40
        folder = self.cache / f"models--{repo.replace('/', '--')}"
        (folder / "refs").mkdir(parents=True, exist_ok=True)
        (folder / "refs" / "main").write_text(commit)
        for file in files or [path.relative_to(source) for path in source.rglob("*") if path.is_file()]:
            target = folder / "snapshots" / commit / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / file, target)
        return folder / "snapshots" / commit


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """An empty cache and a hub that cannot be reached."""
    fake = Hub(tmp_path / "cache")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(fake.cache))
    monkeypatch.setattr(
        huggingface_hub.HfApi, "model_info", lambda api, repo, **given: fake.model_info(api, repo, **given)
    )
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fake.hf_hub_download)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fake.snapshot_download)
    return fake


@pytest.fixture
def sd(sd_turbo_folder: Path, tmp_path: Path) -> Path:
    """A folder that a test may damage."""
    return Path(shutil.copytree(sd_turbo_folder, tmp_path / "sd"))


def refusal(call: Callable[[], object], kind: type[StreamgenError], code: str) -> str:
    with pytest.raises(kind) as caught:
        call()
    assert caught.value.code == code
    assert "\n" not in caught.value.message
    return caught.value.message


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def weights_of(folder: Path, part: str) -> Path:
    return next((folder / part).glob("*.safetensors"))


def save_header(file: Path, shapes: dict[str, list[int]], metadata: dict[str, str] | None = None) -> Path:
    """A safetensors file whose tensors are a hole in the file: whoever reads them reads gigabytes of zeros."""
    entries: dict[str, Any] = {"__metadata__": metadata or {}}
    end = 0
    for name, shape in shapes.items():
        size = 2 * torch.Size(shape).numel()
        entries[name] = {"dtype": "F16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    header = json.dumps(entries).encode()
    with file.open("wb") as opened:
        opened.write(len(header).to_bytes(8, "little") + header)
        opened.truncate(8 + len(header) + end)
    return file
