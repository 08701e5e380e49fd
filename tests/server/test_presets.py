"""Presets: what is kept under a name, who may, and what a killed process leaves."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from streamgen.errors import SessionError
from streamgen.server import presets as module
from streamgen.server.presets import Preset, Presets
from tests.server.conftest import Running, running


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(data=tmp_path) as made:
        yield made


@pytest.fixture
async def http(server: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.http) as client:
        yield client


async def test_a_preset_is_kept_listed_replaced_and_forgotten(http: httpx.AsyncClient, tmp_path: Path) -> None:
    first = {"settings": {"prompt": "ink", "strength": 0.5}, "format": {"width": 512}}
    assert (await http.put("/api/v1/presets/night scene", json=first)).json() == {"name": "night scene", **first}
    await http.put("/api/v1/presets/day", json={"settings": {"steps": 2}})
    assert (await http.get("/api/v1/presets/night scene")).json() == {"name": "night scene", **first}
    listed = (await http.get("/api/v1/presets")).json()["presets"]
    assert list(listed) == ["day", "night scene"]
    await http.put("/api/v1/presets/day", json={"settings": {"steps": 3}})
    assert Presets(tmp_path / "presets.sqlite").get("day") == Preset(settings={"steps": 3})
    assert (await http.delete("/api/v1/presets/day")).status_code == 200
    gone = await http.get("/api/v1/presets/day")
    assert (gone.status_code, gone.json()["code"]) == (404, "no_such_preset")
    assert (await http.delete("/api/v1/presets/day")).status_code == 404


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"settings": {"steps": 9}}, "invalid_settings", "steps"),
        ({"settings": {"stepz": 1}}, "unknown_setting", "stepz"),
        ({"format": {"width": 100}}, "invalid_settings", "width"),
        ({"settings": []}, "invalid_message", "settings"),
        ({"colour": 1}, "invalid_message", "colour"),
    ],
)
async def test_what_no_session_could_have_is_refused(
    http: httpx.AsyncClient, body: dict[str, Any], code: str, field: str
) -> None:
    answer = await http.put("/api/v1/presets/x", json=body)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, code, field)
    assert (await http.get("/api/v1/presets")).json() == {"presets": {}}


@pytest.mark.parametrize("name", ["a%2Fb", "%20x", "x" * 65, "a%0Ab"])
async def test_a_name_that_cannot_be_one_is_refused(http: httpx.AsyncClient, name: str) -> None:
    answer = await http.put(f"/api/v1/presets/{name}", json={})
    assert answer.status_code in (400, 404, 405)  # a slash makes it another address


async def test_presets_are_bounded_in_number_and_size(http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PRESETS", 2)
    for name, status in (("a", 200), ("b", 200), ("c", 400), ("a", 200)):
        assert (await http.put(f"/api/v1/presets/{name}", json={})).status_code == status
    large = await http.put("/api/v1/presets/a", content=b" " * 70_000)
    assert large.status_code == 413


async def test_presets_are_for_those_alone_who_may_come_in(tmp_path: Path) -> None:
    async with running(data=tmp_path, token="s3cret") as server, httpx.AsyncClient(base_url=server.http) as http:
        for method, path in (("GET", ""), ("GET", "/a"), ("PUT", "/a"), ("DELETE", "/a")):
            assert (await http.request(method, f"/api/v1/presets{path}")).status_code == 401
        headers = {"Authorization": "Bearer s3cret"}
        assert (await http.put("/api/v1/presets/a", json={}, headers=headers)).status_code == 200


def test_a_file_that_is_no_database_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "presets.sqlite").write_bytes(b"not a database" * 100)
    for presets in (Presets(tmp_path / "presets.sqlite"), Presets(None)):
        with pytest.raises(SessionError) as caught:
            presets.all()
        assert caught.value.code == "preset_failed"


_CHILD = """
import itertools, sys
from pathlib import Path
from streamgen.server.presets import Preset, Presets
presets = Presets(Path(sys.argv[1]))
for seed in itertools.count():
    presets.put("seed", Preset(settings={"seed": seed}))
    presets.put(f"number {seed % 50}", Preset(settings={"prompt": "x" * 900, "seed": seed}))
    print(seed, flush=True)
"""


def test_what_was_answered_for_is_there_after_a_kill_in_the_middle_of_writing(tmp_path: Path) -> None:
    path = tmp_path / "presets.sqlite"
    answered = -1
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", _CHILD, str(path)], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for _ in range(20):
                answered = int(child.stdout.readline())
            child.send_signal(signal.SIGKILL)
            rest = child.stdout.read().split()  # what it had still said by then
        if rest and rest[-1].isdigit():
            answered = int(rest[-1])
        kept = Presets(path).all()
        assert answered <= kept["seed"].settings["seed"] <= answered + 1
        assert kept[f"number {answered % 50}"].settings["prompt"] == "x" * 900
