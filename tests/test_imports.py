"""Imports go one way, stay lazy, and cost a client little."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "streamgen"

# What a part may import besides itself and the base. A part that is missing here is part of the base.
BELOW: dict[str, set[str]] = {
    "models": set(),
    "backends": set(),
    "effects": set(),
    "engine": {"models", "backends", "effects"},
    "server": {"engine"},
    "client": set(),
    "client_sync": {"client"},
    "training": {"models", "backends", "effects", "engine"},
    "bench": {"models", "backends", "effects", "engine", "server", "client"},
    "cli": {"models", "backends", "effects", "engine", "server", "client", "bench", "training"},
    "__main__": {"cli"},
}
MODULES = sorted(PACKAGE.rglob("*.py"))


def part_of(module: str) -> str:
    """``streamgen.engine.state`` is of the part ``engine``."""
    return module.split(".")[1] if "." in module else "__init__"


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path) -> Iterator[str]:
    """Every module that ``path`` imports at run time, at its top or inside a function."""
    tree = ast.parse(path.read_text())
    for_types = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for statement in block.body
        for node in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            if node.module == "streamgen":
                yield from (f"streamgen.{alias.name}" for alias in node.names)
            else:
                yield str(node.module)


def loaded_after(statement: str) -> set[str]:
    """Top-level packages that a new interpreter holds after ``statement``."""
    code = f"import sys; {statement}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_one_way(path: Path) -> None:
    part = part_of(name_of(path))
    for module in imported(path):
        if not module.startswith("streamgen.") or module == "streamgen.__version__":
            continue
        target = part_of(module)
        allowed = target == part or target in BELOW.get(part, set()) or target not in BELOW
        assert allowed, f"{name_of(path)} imports {module}"


def test_the_server_and_the_client_import_no_torch() -> None:
    names = [name_of(path) for path in MODULES if part_of(name_of(path)) in ("server", "client")]
    for path in MODULES:
        if name_of(path) in names:
            assert "torch" not in {module.partition(".")[0] for module in imported(path)}, name_of(path)
    assert "torch" not in loaded_after("; ".join(f"import {name}" for name in names))


def test_the_engine_and_what_it_stands_on_know_no_event_loop() -> None:
    for path in MODULES:
        if part_of(name_of(path)) in ("engine", "models", "backends", "effects"):
            assert "asyncio" not in {module.partition(".")[0] for module in imported(path)}, name_of(path)


def test_importing_streamgen_imports_next_to_nothing() -> None:
    assert not loaded_after("import streamgen") & {"numpy", "torch", "pydantic", "websockets", "fastapi", "av"}


def test_the_client_loads_nothing_beyond_the_base_install() -> None:
    loaded = loaded_after("import streamgen; streamgen.connect; streamgen.Frame; streamgen.StreamSettings")
    assert not loaded & {"torch", "fastapi", "uvicorn", "av", "safetensors", "rich", "psutil", "cv2", "PIL"}


def test_the_help_loads_nothing_heavy() -> None:
    loaded = loaded_after("from streamgen.cli.app import main; main([])")
    assert not loaded & {"numpy", "torch", "av", "fastapi", "rich"}


def test_only_the_configuration_reads_the_environment() -> None:
    for path in MODULES:
        name = name_of(path)
        if name == "streamgen.config" or part_of(name) == "training":
            continue  # the training is a program of its own
        written = ast.unparse(ast.parse(path.read_text())).replace("os.environ.update(", "")
        assert "os.environ" not in written, name
