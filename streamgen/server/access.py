"""Who may come in: programs and pages of this machine, and, where the server has a token, whoever knows it, or holds
one that was signed with it.

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
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal
from urllib.parse import urlsplit

from streamgen.errors import AccessError
from streamgen.server.addresses import AddressLimits
from streamgen.tokens import PREFIX, Claims, TokenKeys

__all__ = ["EVERYTHING", "TOKEN_PROTOCOL", "Access", "Grant", "is_loopback"]

TOKEN_PROTOCOL = "token."
"""A subprotocol of this name and the token in unpadded base64url carries the token of a WebSocket."""
_RANKS = {"view": 0, "control": 1, "publish": 2, "admin": 3}


@dataclass(frozen=True, slots=True)
class Grant:
    """What a request may do.

    Args:
        role: ``admin`` may do all of it and sign tokens, ``publish`` may also control and view, ``control`` also view.
        session: the one session it is about; None for any.
        seconds: how long what comes of the request may last; None for as long as it likes.
    """

    role: Literal["view", "control", "publish", "admin"]
    session: str | None = None
    seconds: float | None = None

    def check(self, role: str, session: str | None) -> None:
        """Allow what is asked for, or not.

        Args:
            role: ``view``, ``control``, ``publish`` or ``admin``.
            session: the session meant; None for all of them.

        Raises:
            AccessError: ``token_scope``, with the claim that stands in the way as its field.
        """
        if _RANKS[role] > _RANKS[self.role]:
            raise AccessError("token_scope", f"the token is for the role {self.role}, not {role}", field="role")
        if self.session not in (None, session):
            fact = f"the token is for the session {self.session!r} alone"
            raise AccessError("token_scope", fact, field="session")


EVERYTHING = Grant("admin")
_EVERYBODY = Grant("publish")
"""Where strangers are let in without a token, nobody looks at others' sessions or ends them."""


class Access:
    """Checks every request that reaches a session, and is the only one to.

    Args:
        token: what clients must know; empty where only this machine is served.
        origins: web origins let in beside the server's own and this machine's.
        former_tokens: secrets of before, whose signed tokens still are good.
        public: without a token, too, the server is reached under any name.
        limits: counts requests and wrong tokens.
        wall_clock: Unix seconds.
    """

    def __init__(
        self,
        token: str = "",
        origins: Iterable[str] = (),
        *,
        former_tokens: Iterable[str] = (),
        public: bool = False,
        limits: AddressLimits | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._token = token.encode()
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)
        self._keys = TokenKeys(token, former_tokens if token else ())
        self._any_host = bool(token) or public
        self._limits = limits or AddressLimits()
        self._wall_clock = wall_clock

    @property
    def keys(self) -> TokenKeys:
        """What signs tokens."""
        return self._keys

    def check(self, headers: Mapping[str, str], subprotocols: Iterable[str] = (), address: str = "") -> Grant:
        """Let a request in, or not.

        Args:
            headers: with lowercase names.
            subprotocols: those a WebSocket offers.
            address: IP address that it comes from; empty where that is not known.

        Raises:
            AccessError: ``origin_not_allowed``, ``unauthorised``, ``token_expired``, ``token_scope`` or
                ``too_many_requests``.
        """
        if not self._comes_from_here(headers):
            raise AccessError("origin_not_allowed", "this origin is not allowed")
        self._limits.count_request(address)
        if not self._token:
            return _EVERYBODY if self._any_host else EVERYTHING
        self._limits.check_failures(address)
        given = _token(headers, subprotocols)
        try:
            return self._grant(given, headers.get("origin"))
        except AccessError as error:
            if given and error.code == "unauthorised":
                self._limits.count_failure(address)
            raise

    def _grant(self, given: bytes, origin: str | None) -> Grant:
        if hmac.compare_digest(given, self._token):
            return EVERYTHING
        if not given.startswith(PREFIX.encode()):
            raise AccessError("unauthorised", "the access token is missing or wrong")
        claims = self._keys.read(given.decode(errors="replace"))
        left_s = claims.expires - self._wall_clock()
        if left_s <= 0:
            raise AccessError("token_expired", "the access token has expired", field="expires")
        if origin is not None and claims.origins and origin.rstrip("/").lower() not in claims.origins:
            raise AccessError("token_scope", f"the token is not for pages of {origin[:200]}", field="origins")
        return _granted(claims, left_s)

    def _comes_from_here(self, headers: Mapping[str, str]) -> bool:
        host = _name(f"//{headers.get('host', '')}")
        if host is None or not (self._any_host or is_loopback(host)):
            return False
        origin = _origin(headers)
        if origin is None or origin.rstrip("/").lower() in self._origins:
            return True
        named = _name(origin)
        return named is not None and (is_loopback(named) or (named == host and self._any_host))


def is_loopback(name: str) -> bool:
    """True for ``localhost``, names under it, 127.0.0.0/8 and ::1."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def _granted(claims: Claims, left_s: float) -> Grant:
    return Grant(claims.role, claims.session, left_s if claims.duration is None else float(claims.duration))


def _origin(headers: Mapping[str, str]) -> str | None:
    """The page that asks; None for a program, for a page's own request, and for a link that somebody followed.

    A browser names no ``Origin`` when it fetches an ``<img>``, but says that another site asks for it.
    """
    origin = headers.get("origin")
    if origin is not None or headers.get("sec-fetch-site") not in ("cross-site", "same-site"):
        return origin
    if headers.get("sec-fetch-dest") == "document":
        return None
    scheme, _, rest = headers.get("referer", "").partition("://")
    return f"{scheme}://{rest.partition('/')[0]}" if rest else "null"


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
