"""The access token of the Python SDK: one that stays, or one that is asked for before every connection."""

from __future__ import annotations

import asyncio
import base64
import inspect
from collections.abc import Awaitable, Callable

from streamgen.errors import AccessError, StreamgenError

__all__ = ["Token", "TokenSource", "token_protocol"]

Token = str | Callable[[], str | Awaitable[str]] | None
"""A token, or a function that fetches one. A plain function runs in a thread of its own, so it may block."""

_RENEWED = frozenset({"unauthorised", "token_expired"})


def token_protocol(token: str) -> str:
    """The WebSocket subprotocol that carries a token."""
    return "token." + base64.urlsafe_b64encode(token.encode()).decode("ascii").rstrip("=")


class TokenSource:
    """Gives the token of the next connection, and tells whether another one may help.

    Call ``accepted()`` when the server took it.
    """

    def __init__(self, token: Token) -> None:
        self._token = token
        self._refused = False

    async def ask(self) -> str | None:
        """The token for one connection; None where none is needed.

        Raises:
            AccessError: ``no_token``: the function raised, or gave no text. Retryable, as a token service may be back.
        """
        if not callable(self._token):
            return self._token
        try:
            fetch = self._token
            given = fetch() if inspect.iscoroutinefunction(fetch) else await asyncio.to_thread(fetch)
            token = await given if inspect.isawaitable(given) else given
        except Exception as error:  # the caller's own function: whatever it raises, the stream has no token
            raise AccessError("no_token", f"no access token could be had: {error!r}", retryable=True) from error
        if not isinstance(token, str) or not token:
            raise AccessError("no_token", f"an access token is a text, got {type(token).__name__}")
        return token

    def accepted(self) -> None:
        self._refused = False

    def renews(self, error: StreamgenError) -> bool:
        """Whether to come back with another token after this error: once, until one was accepted."""
        if not callable(self._token) or self._refused or error.code not in _RENEWED:
            return False
        self._refused = True
        return True
