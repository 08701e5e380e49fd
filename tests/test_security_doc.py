"""docs/security.md claims nothing that no test shows."""

from __future__ import annotations

import re
from pathlib import Path

from streamgen.server.refusal import _STATUS

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
TESTS = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py"))


def test_every_test_that_it_names_is_there() -> None:
    names = set(re.findall(r"\b(?:\w+/)?(test_\w+)", TEXT))
    assert len(names) > 30
    files = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    missing = {name for name in names if f"def {name}(" not in TESTS and name not in files}
    assert missing == set()


def test_every_status_that_it_names_is_the_codes_own() -> None:
    stated = re.findall(r"\b([45]\d\d) `(\w+)`", TEXT)
    assert len(stated) > 15
    for status, code in stated:
        assert _STATUS.get(code, 400) == int(status), code
