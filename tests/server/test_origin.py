"""Who may open a WebSocket."""

from __future__ import annotations

import pytest

from streamgen.server.origin import is_allowed, is_loopback


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:8188", None),
        ("localhost:8188", None),
        ("[::1]:8188", None),
        ("localhost", None),
        ("localhost:8188", "http://localhost:8188"),
        ("127.0.0.1:8188", "http://localhost:8188"),
        ("LOCALHOST:8188", "http://127.0.0.1:5173"),
        ("[::1]:8188", "http://[::1]:8188"),
        ("app.localhost:8188", "http://app.localhost:8188"),
    ],
)
def test_this_machine_is_let_in(host: str, origin: str | None) -> None:
    headers = {"host": host} if origin is None else {"host": host, "origin": origin}
    assert is_allowed(headers)


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:8188", "https://evil.example"),
        ("localhost:8188", "null"),
        ("localhost:8188", "http://absolute"),
        ("localhost:8188", "http://localhost.evil.example"),
        ("localhost:8188", "http://127.0.0.1.evil.example"),
        ("localhost:8188", "http://[::1"),
        ("localhost:8188", ""),
        ("evil.example:8188", "http://evil.example:8188"),
        ("evil.example:8188", None),
        ("192.168.1.5:8188", None),
        ("", None),
    ],
)
def test_others_are_not(host: str, origin: str | None) -> None:
    headers = {"host": host} if origin is None else {"host": host, "origin": origin}
    assert not is_allowed(headers)


def test_loopback_is_a_network_and_a_name() -> None:
    assert is_loopback("127.8.9.10") and is_loopback("::1") and is_loopback("localhost")
    assert not is_loopback("0.0.0.0") and not is_loopback("::") and not is_loopback("localhost.example")
