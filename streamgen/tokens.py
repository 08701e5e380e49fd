"""Signed tokens: what somebody may do, on which session, from which pages, and for how long. No I/O.

::

    sg1.KID.PAYLOAD.MAC      KID       which key signed: 8 characters that say nothing about it
                             PAYLOAD   the claims as JSON
                             MAC       HMAC-SHA256 of everything before it

each part in base64url without padding. The key is derived from the server's secret (``serve --token``) with scrypt,
because whoever holds a signed token can try secrets on it without asking the server. Another secret makes all tokens
worthless, unless the server is told the former one (``serve --former-token``).

There is one algorithm and the version names it, so that no token can choose how it is checked.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streamgen.errors import AccessError, ConfigError, SettingsError
from streamgen.protocol_common import SessionId

__all__ = [
    "MAX_DURATION_S",
    "MAX_EXPIRES_S",
    "MIN_SECRET",
    "PREFIX",
    "Claims",
    "Role",
    "TokenKeys",
    "TokenRequest",
    "read_request",
]

Role = Literal["view", "control", "publish"]
"""Each may do what those before it may: watch a session, change it, publish into it."""

PREFIX = "sg1."
MIN_SECRET = 16
"""Characters of a secret that signs."""
MAX_EXPIRES_S = 30 * 86_400
MAX_DURATION_S = 86_400
_MAX_TOKEN = 4096
_KID_BYTES = 6

Origin = Annotated[str, Field(pattern=r"^(https?://[A-Za-z0-9.\-\[\]:]{1,255}|null)$")]


class Claims(BaseModel):
    """What a signed token says. The names of the fields are those of its JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Role
    expires: int
    """Nobody comes in with it from then on: Unix seconds."""
    session: SessionId | None = None
    """The one session it is good for; None for any."""
    origins: tuple[Origin, ...] = ()
    """Pages it may be used from; () for those that the server lets in anyway. Programs, which send no ``Origin``, can
    claim any, and are not held to it."""
    duration: Annotated[int, Field(ge=1, le=MAX_DURATION_S)] | None = None
    """How long a connection made with it lasts, seconds; None until ``expires``."""


class TokenRequest(BaseModel):
    """What is asked of whoever signs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Role
    session: SessionId | None = None
    origins: Annotated[tuple[Origin, ...], Field(max_length=16)] = ()
    expires_in: Annotated[int, Field(ge=1, le=MAX_EXPIRES_S)] = 3600
    """Seconds from now."""
    duration: Annotated[int, Field(ge=1, le=MAX_DURATION_S)] | None = None
    """Seconds."""

    def claims(self, now_s: float) -> Claims:
        """The claims of a token made at ``now_s``, Unix seconds."""
        return Claims(
            role=self.role,
            expires=int(now_s) + self.expires_in,
            session=self.session,
            origins=tuple(origin.lower() for origin in self.origins),
            duration=self.duration,
        )


def read_request(text: str | bytes) -> TokenRequest:
    """Read the JSON of a ``TokenRequest``.

    Raises:
        SettingsError: ``invalid_claim``, naming the field at fault.
    """
    try:
        return TokenRequest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
    name = ".".join(str(part) for part in first["loc"])
    fact = f"{name}: {first['msg'][0].lower()}{first['msg'][1:]}" if name else "a token's claims are a JSON object"
    raise SettingsError("invalid_claim", fact[:300], field=name[:100] or None)


class TokenKeys:
    """Signs with one secret, and believes what it and the former ones have signed.

    Args:
        secret: of the server; empty signs nothing.
        former: secrets of before, whose tokens are good until they expire.
    """

    def __init__(self, secret: str, former: Iterable[str] = ()) -> None:
        self._secret = secret
        self._by_kid = {_kid(key): key for key in map(_key, (s for s in (secret, *former) if s))}

    def mint(self, claims: Claims) -> str:
        """Sign ``claims``.

        Raises:
            ConfigError: ``no_secret`` or ``weak_secret``.
        """
        if not self._secret:
            raise ConfigError(
                "no_secret", "tokens are signed with the secret in --token or STREAMGEN_TOKEN", field="token"
            )
        if len(self._secret) < MIN_SECRET:
            fact = f"a secret that signs has at least {MIN_SECRET} characters, or whoever holds a token could guess it"
            raise ConfigError("weak_secret", fact, field="token")
        key = _key(self._secret)
        payload = claims.model_dump_json(exclude_defaults=True).encode()
        signed = f"{PREFIX}{_kid(key)}.{_encoded(payload)}"
        return f"{signed}.{_encoded(_mac(key, signed))}"

    def read(self, token: str) -> Claims:
        """The claims of a token, which may have expired.

        Raises:
            AccessError: ``unauthorised`` for whatever was not signed here.
        """
        wrong = AccessError("unauthorised", "the access token is missing or wrong")
        signed, _, mac = token.rpartition(".")
        parts = signed.split(".")
        if len(token) > _MAX_TOKEN or len(parts) != 3 or not token.isascii() or not token.startswith(PREFIX):
            raise wrong
        key = self._by_kid.get(parts[1])
        if key is None or not hmac.compare_digest(_encoded(_mac(key, signed)), mac):
            raise wrong
        try:
            return Claims.model_validate_json(_decoded(parts[2]))
        except ValueError:  # signed by a later version, whose claims this one could not keep
            raise wrong from None


@lru_cache(maxsize=16)
def _key(secret: str) -> bytes:
    """About 50 ms and 16 MiB on purpose."""
    return hashlib.scrypt(secret.encode(), salt=b"streamgen signed tokens 1", n=2**14, r=8, p=1, dklen=32)


def _kid(key: bytes) -> str:
    return _encoded(_mac(key, "kid")[:_KID_BYTES])


def _mac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
