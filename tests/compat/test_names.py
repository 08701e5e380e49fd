"""Both SDKs have the same names, and the documentation says which."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
from dataclasses import fields
from functools import cache

import pytest

import streamgen
from streamgen import errors
from streamgen.client import SnapshotPicture, Statistics, Stream
from streamgen.client_errors import _CLOSED, _KINDS
from tests.compat.program import ROOT, tool

PAGES = [ROOT / "docs" / "sdk.md", ROOT / "docs" / "javascript.md"]
HEADING = "## The same names in Python and JavaScript\n"
PROBE = """
import * as sdk from "./web/js/streamgen.js";
import { CLOSED, ERRORS } from "./web/js/errors.js";
const members = Object.getOwnPropertyNames(sdk.Stream.prototype);
const named = Object.fromEntries(Object.entries(ERRORS).map(([code, kind]) => [code, kind.name]));
const closed = Object.fromEntries(Object.entries(CLOSED).map(([code, [name, kind]]) => [code, [name, kind.name]]));
const kinds = Object.values(sdk).filter((value) => value?.prototype instanceof sdk.StreamgenError);
const parents = Object.fromEntries(kinds.map((kind) => [kind.name, Object.getPrototypeOf(kind).name]));
console.log(JSON.stringify({ exported: Object.keys(sdk), members, named, closed, parents }));
"""


def section(page: int) -> str:
    return PAGES[page].read_text().partition(HEADING)[2].partition("\n## ")[0].strip()


@cache
def rows() -> dict[str, tuple[list[str], list[str]]]:
    """The first table: Python's and JavaScript's names by kind."""
    table = section(0).split("\n\n")[1].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table]
    named = re.compile(r"`([^`]+)`")
    return {kind.strip("| `()"): (named.findall(python), named.findall(script)) for kind, python, script in cells}


@pytest.fixture(scope="module")
def script() -> dict[str, dict[str, str]]:
    """What the JavaScript SDK has."""
    probe = [tool("node"), "--input-type=module", "-e", PROBE]
    return dict(json.loads(subprocess.run(probe, cwd=ROOT, capture_output=True, text=True, check=True).stdout))


def camel(name: str) -> str:
    return re.sub("_(.)", lambda found: found[1].upper(), name)


def test_both_pages_have_the_same_table() -> None:
    assert section(0) == section(1) and len(rows()) == 9


def test_every_name_is_the_others_in_its_languages_case() -> None:
    for python, script_names in rows().values():
        assert [camel(name) for name in python] == script_names


def test_python_has_what_the_table_says_and_the_page_all_that_it_has() -> None:
    parameters = inspect.signature(streamgen.connect).parameters
    assert {*rows()["options"][0], *rows()["handlers"][0]} <= set(parameters)
    members = {name for name in vars(Stream) if not name.startswith("_")}
    assert {*rows()["methods"][0], *rows()["as it is now"][0]} == members - {"receive"}
    assert set(rows()["statistics"][0]) == {field.name for field in fields(Statistics)}
    assert set(rows()["snapshot"][0]) == {field.name for field in fields(SnapshotPicture)}
    assert all(hasattr(errors, name) for name in rows()["errors"][0])
    text = PAGES[0].read_text()
    assert not [name for name in parameters if name not in text and name != "settings"]


def test_javascript_has_what_the_table_says_and_the_page_all_that_it_has(script: dict[str, dict[str, str]]) -> None:
    exported, members = set(script["exported"]), set(script["members"])
    assert {*rows()["functions"][1], *rows()["errors"][1]} <= exported
    assert {*rows()["methods"][1], *rows()["as it is now"][1]} <= members
    text = PAGES[1].read_text()
    assert not [name for name in members - {"constructor"} | exported if name not in text]
    types = (ROOT / "web" / "js" / "types.d.ts").read_text()
    for kind in ("options", "handlers", "statistics", "snapshot", "an output"):
        assert all(re.search(rf"\b{name}\??:", types) for name in rows()[kind][1]), kind


def test_errors_are_of_the_same_kind_in_both(script: dict[str, dict[str, str]]) -> None:
    assert script["named"] == {code: kind.__name__ for code, kind in _KINDS.items()}
    assert script["closed"] == {str(int(code)): [name, kind.__name__] for code, (name, kind) in _CLOSED.items()}
    for name, parent in script["parents"].items():
        assert getattr(errors, name).__base__.__name__ == parent
