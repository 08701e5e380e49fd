"""Who may open a WebSocket: pages of this server and of this machine, and programs that are no browser.

A page of another site can point its own name at 127.0.0.1 (DNS rebinding) and then looks like the same origin; its
``Host`` header gives it away.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

__all__ = ["is_allowed", "is_loopback"]


def is_allowed(headers: Mapping[str, str]) -> bool:
    """True when ``Host`` names this machine's loopback and ``Origin`` is absent, the same host, or loopback too."""
    host = _name(f"//{headers.get('host', '')}")
    if host is None or not is_loopback(host):
        return False
    origin = headers.get("origin")
    if origin is None:
        return True
    named = _name(origin)
    return named is not None and is_loopback(named)


def is_loopback(name: str) -> bool:
    """True for ``localhost``, names under it, 127.0.0.0/8 and ::1."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def _name(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
