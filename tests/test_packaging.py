"""What is installed: the wheel's contents, its requirements, and one version everywhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import streamgen

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the sources, so that no build folder is left in the checkout."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "LICENSE", "README.md"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, source)
    for name in ("streamgen", "web"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", out]
    done = subprocess.run([*build, source], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [path] = out.glob("*.whl")
    return path


def test_the_wheel_carries_pages_weights_and_licence(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    pages = [path for path in (ROOT / "web").iterdir() if path.suffix == ".html"]
    assert pages
    assert {f"streamgen/web/{page.name}" for page in pages} <= names
    assert "streamgen/web/js/streamgen.js" in names
    assert "streamgen/models/weights/tiny.safetensors" in names
    assert {f"streamgen/training/weights/features.{suffix}" for suffix in ("safetensors", "md")} <= names
    assert "streamgen/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_wheel_carries_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"streamgen", f"streamgen-{streamgen.__version__}.dist-info"}
    assert not [name for name in names if "/tests/" in name or ".test." in name or name.endswith("tsconfig.json")]
    assert not {f"streamgen/web/{name}" for name in ("README.md", "LICENSE", "streamgen.d.ts")} & set(names)
    assert wheel.stat().st_size < 25e6


def test_the_installed_server_finds_its_pages(wheel: Path, tmp_path: Path) -> None:
    pytest.importorskip("streamgen.server.pages")
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = "from streamgen.server.pages import web_root; print(web_root())"
    # -P keeps the checkout off the path; PYTHONPATH comes before an editable install.
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
    )
    assert Path(done.stdout.strip()) == tmp_path / "streamgen" / "web"


def test_the_base_install_is_the_client_alone(wheel: Path) -> None:
    [metadata] = [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith("dist-info/METADATA")]
    required = Parser().parsestr(zipfile.ZipFile(wheel).read(metadata).decode()).get_all("Requires-Dist")
    base = {re.split(r"[<>=;!~ ]", line)[0] for line in required or [] if "extra ==" not in line}
    assert base == {"numpy", "pydantic", "simplejpeg", "websockets"}


def test_the_version_is_the_same_everywhere() -> None:
    assert PROJECT["version"] == streamgen.__version__


def test_every_requirement_is_pinned_for_ci() -> None:
    pinned = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line and not line.startswith("#")
    }
    extras = PROJECT["optional-dependencies"]
    wanted = [*PROJECT["dependencies"], *extras["server"], *extras["train"], *extras["dev"]]
    assert {re.split(r"[<>=;!~ ]", text)[0].lower() for text in wanted} <= pinned
