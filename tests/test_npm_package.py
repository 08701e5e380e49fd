"""The npm package: what `npm pack` puts into it, and that a project which installs it can use it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest
import simplejpeg

import streamgen
from streamgen.frames import Pixels
from tests.compat.program import ROOT, at_work, node_package, tool
from tests.server.conftest import running

WEB = ROOT / "web"
IMPORTED = re.compile(r'^(?:import|export) [^"]*? from "\./([^"]+)";', re.MULTILINE)
SNIPPET = re.compile(r"```js\n(import \{ readFile.*?)```", re.DOTALL)
TYPED = """
import { connect, paintTo, SettingsError, type Output, type State, type Stream, type Token } from "streamgen";

const token: Token = async () => "fresh";
const stream: Stream = connect("ws://127.0.0.1:8188/ws", {
  token,
  settings: { prompt: "ink" },
  onOutput: (output: Output) => output.data?.byteLength,
  onState: (state, { error }) => console.log(state satisfies State, error?.code),
});
const figures: { p50: number; p90: number } | null = stream.statistics.latencyMs;
stream.switch("tiny").catch((error) => error instanceof SettingsError && error.field);
export const paint: (output: Output) => Promise<void> = paintTo("canvas", { alpha: true });
export { figures };
"""
WRONG = """
import { connect } from "streamgen";
connect("ws://127.0.0.1:8188/ws", { role: "boss" });
"""


def run(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("packed")
    [packed] = json.loads(run(tool("npm"), "pack", "--json", "--pack-destination", str(target), cwd=WEB))
    return target / str(packed["filename"])


@pytest.fixture(scope="module")
def project(tarball: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty project that installed the package."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "package.json").write_text('{"type": "module", "private": true}')
    run(tool("npm"), "install", "--offline", "--no-audit", "--no-fund", "--loglevel=error", str(tarball), cwd=folder)
    return folder


def test_the_package_holds_the_modules_their_types_and_the_licence_and_nothing_else(tarball: Path) -> None:
    with tarfile.open(tarball) as packed:
        names = {name.removeprefix("package/") for name in packed.getnames()}
        licence = packed.extractfile("package/LICENSE")
        assert licence is not None and licence.read() == (ROOT / "LICENSE").read_bytes()
    modules, waiting = set(), ["streamgen.js"]
    while waiting:
        module = waiting.pop()
        if module not in modules:
            modules.add(module)
            waiting += IMPORTED.findall((WEB / "js" / module).read_text())
    files = {f"js/{module}" for module in modules}
    assert names == files | {"package.json", "README.md", "LICENSE", "streamgen.d.ts", "js/types.d.ts"}


def test_the_package_has_the_version_of_the_server(tarball: Path) -> None:
    about: dict[str, Any] = json.loads((WEB / "package.json").read_text())
    assert about["version"] == streamgen.__version__
    assert about["license"] == "Apache-2.0" and "dependencies" not in about
    assert not {"prepare", "prepack", "postinstall"} & set(about["scripts"])


def test_node_imports_it_without_a_browser(project: Path) -> None:
    code = 'import * as sdk from "streamgen"; console.log(Object.keys(sdk).sort().join())'
    said = run(tool("node"), "--input-type=module", "-e", code, cwd=project)
    assert {"connect", "Stream", "StreamgenError", "openCamera", "paintTo", "packFrame"} <= set(said.strip().split(","))


@pytest.mark.parametrize("resolution", ["bundler", "nodenext"])
def test_a_strict_typescript_project_finds_its_types(project: Path, resolution: str) -> None:
    (project / "use.ts").write_text(TYPED)
    (project / "wrong.ts").write_text(WRONG)
    module = "nodenext" if resolution == "nodenext" else "es2022"
    check = ["--noEmit", "--strict", "--skipDefaultLibCheck", "--target", "es2022", "--lib", "es2022,dom"]
    check += ["--module", module, "--moduleResolution", resolution, "use.ts", "wrong.ts"]
    done = subprocess.run([tool("tsc"), *check], cwd=project, capture_output=True, text=True, check=False)
    [error] = done.stdout.splitlines()[:1]
    assert error.startswith("wrong.ts") and "'\"boss\"' is not assignable" in error
    assert not [line for line in done.stdout.splitlines() if line.startswith(("use.ts", "node_modules"))]


async def test_the_example_of_its_readme_stylises_a_photo(project: Path, tmp_path: Path, picture: Pixels) -> None:
    shutil.copytree(project / "node_modules", tmp_path / "node_modules")
    shutil.copytree(node_package("ws"), tmp_path / "node_modules" / "ws")
    [snippet] = SNIPPET.findall((WEB / "README.md").read_text())
    async with running(clock=time.monotonic) as server:
        code = snippet.replace("ws://127.0.0.1:8188/ws", server.url).replace("512", str(picture.shape[0]))
        (tmp_path / "photo.mjs").write_text(f"process.chdir({json.dumps(str(tmp_path))});\n{code}")
        (tmp_path / "portrait.jpg").write_bytes(simplejpeg.encode_jpeg(picture, colorspace="RGB"))
        async with at_work(tool("node"), str(tmp_path / "photo.mjs")) as client:
            assert await client.end() == (0, "")
    assert simplejpeg.decode_jpeg((tmp_path / "stylised.jpg").read_bytes()).shape == (256, 256, 3)
