"""``streamgen token create``."""

from __future__ import annotations

import time

import pytest

from streamgen.cli.app import main
from streamgen.tokens import TokenKeys

SECRET = "the-secret-of-this-server"
CREATE = ("token", "create", "--role", "view")


def test_a_token_is_printed_alone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("STREAMGEN_TOKEN", SECRET)
    more = ("--session", "cam", "--origin", "https://mixer.example", "--expires", "90s", "--duration", "2h")
    before_s = int(time.time())
    assert main([*CREATE, *more]) == 0
    printed = capsys.readouterr()
    claims = TokenKeys(SECRET).read(printed.out.strip())
    assert (claims.role, claims.session, claims.origins) == ("view", "cam", ("https://mixer.example",))
    assert before_s + 90 <= claims.expires <= time.time() + 90
    assert claims.duration == 7200
    assert printed.err.startswith("view, session cam, until 20")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--token", ""), "streamgen: tokens are signed with the secret in --token or STREAMGEN_TOKEN"),
        (("--token", "short"), "at least 16 characters"),
        (("--token", SECRET, "--session", "a b"), "session:"),
        (("--token", SECRET, "--origin", "mixer.example"), "origins.0:"),
        (("--token", SECRET, "--expires", "90d"), "expires_in:"),
        (("--token", SECRET, "--expires", "soon"), "a time such as 90s"),
    ],
)
def test_what_cannot_be_signed_is_one_line(
    more: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*CREATE, *more]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and says in printed.err and printed.err.count("\n") == 1
