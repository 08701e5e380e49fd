"""Who may come in: programs and pages of this machine, and, where the server has a token, whoever knows it.

A page of another site can point its own name at 127.0.0.1 (DNS rebinding) and then looks like the same origin; its
``Host`` header gives it away. With a token that is no danger any more: a page that does not know it gets nowhere, so
the server may be reached under any name.

The token rides where no log and no history keeps it: as a WebSocket subprotocol, or in a header. HTTP's own ``Basic``
is understood too, with any user name, for players that only take a URL such as ``http://any:TOKEN@host/mjpeg/name``.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

from streamgen.errors import AccessError

__all__ = ["TOKEN_PROTOCOL", "Access", "is_loopback"]

TOKEN_PROTOCOL = "token."
"""A subprotocol of this name and the token in unpadded base64url carries the token of a WebSocket."""


class Access:
    """Checks every request that reaches a session.

    Args:
        token: what clients must know; empty where only this machine is served.
        origins: web origins let in beside the server's own and this machine's.
    """

    def __init__(self, token: str = "", origins: Iterable[str] = ()) -> None:
        self._token = token.encode()
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)

    def check(self, headers: Mapping[str, str], subprotocols: Iterable[str] = ()) -> None:
        """Let a request in, or not.

        Args:
            headers: with lowercase names.
            subprotocols: those a WebSocket offers.

        Raises:
            AccessError: ``origin_not_allowed`` or ``unauthorised``.
        """
        if not self._comes_from_here(headers):
            raise AccessError("origin_not_allowed", "this origin is not allowed")
        if self._token and not hmac.compare_digest(_token(headers, subprotocols), self._token):
            raise AccessError("unauthorised", "the access token is missing or wrong")

    def _comes_from_here(self, headers: Mapping[str, str]) -> bool:
        host = _name(f"//{headers.get('host', '')}")
        if host is None or not (self._token or is_loopback(host)):
            return False
        origin = headers.get("origin")
        if origin is None or origin.rstrip("/").lower() in self._origins:
            return True
        named = _name(origin)
        return named is not None and (is_loopback(named) or (named == host and bool(self._token)))


def is_loopback(name: str) -> bool:
    """True for ``localhost``, names under it, 127.0.0.0/8 and ::1."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def _token(headers: Mapping[str, str], subprotocols: Iterable[str]) -> bytes:
    """The token a request carries; empty for none."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip().encode()
    if scheme.lower() == "basic":
        return _decoded(value.strip()).partition(b":")[2]
    for name in subprotocols:
        if name.startswith(TOKEN_PROTOCOL):
            return _decoded(name.removeprefix(TOKEN_PROTOCOL))
    return b""


def _decoded(text: str) -> bytes:
    """What base64 of either alphabet says, padded or not; empty where it is none."""
    standard = text.replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _name(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
