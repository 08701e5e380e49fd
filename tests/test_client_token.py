"""The access token of the Python SDK, against a real server that wants one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import streamgen
from streamgen.client_token import TokenSource, token_protocol
from streamgen.errors import AccessError, SessionError
from streamgen.frames import Pixels
from tests.server.conftest import Running, running
from tests.test_client import connect, following

TOKEN = "öpen sesame:1"
EXPIRED = AccessError("token_expired", "the token has expired")


@pytest.fixture
async def server() -> AsyncIterator[Running]:
    async with running(clock=time.monotonic, token=TOKEN) as made:
        yield made


class Issuer:
    """A service that gives these tokens, one after the other."""

    def __init__(self, *tokens: str) -> None:
        self.tokens = list(tokens)
        self.asked = 0

    def __call__(self) -> str:
        self.asked += 1
        return self.tokens.pop(0)

    async def later(self) -> str:
        return self()


async def expire(server: Running, name: str, code: int = 4411) -> None:
    """End the publisher's connection as a server does whose token has run out."""
    session = server.sessions.get(name)
    assert session is not None and session.publisher is not None
    session.publisher.end(code, "the token has expired")


async def test_a_token_opens_the_server(server: Running, picture: Pixels) -> None:
    async with connect(server, token=TOKEN) as stream:
        await stream.send(picture)
        assert (await following(stream)).seq == 0


@pytest.mark.parametrize("token", [None, "wrong"])
async def test_without_the_right_one_the_error_is_one_of_access(server: Running, token: str | None) -> None:
    with pytest.raises(AccessError) as caught:
        async with connect(server, token=token):
            pass
    assert (caught.value.code, caught.value.retryable) == ("unauthorised", False)


@pytest.mark.parametrize("way", ["plain", "async", "returns a coroutine"])
async def test_a_token_may_be_a_function_of_any_kind(server: Running, way: str) -> None:
    issuer = Issuer(TOKEN)
    token: dict[str, Callable[[], Any]] = {
        "plain": issuer,
        "async": issuer.later,
        "returns a coroutine": lambda: issuer.later(),
    }
    async with connect(server, token=token[way]) as stream:
        assert stream.welcome.session
    assert issuer.asked == 1


@pytest.mark.parametrize("code", [4401, 4411])
async def test_when_the_token_expires_another_one_is_asked_for_and_the_session_goes_on(
    server: Running, picture: Pixels, code: int
) -> None:
    issuer = Issuer(TOKEN, TOKEN)
    forever = lambda attempt: 60.0  # noqa: E731  an expired token is no reason to wait
    async with connect(server, session="cam", token=issuer, backoff_s=forever) as stream:
        await stream.update(prompt="ink")
        await expire(server, "cam", code)
        async with asyncio.timeout(10):
            while issuer.asked < 2 or stream.state != "open":
                await asyncio.sleep(0)
        await stream.send(picture)
        assert (await following(stream)).seq == 0
        assert stream.welcome.resumed and stream.settings.prompt == "ink"


async def test_a_fixed_token_that_expires_ends_the_stream(server: Running) -> None:
    async with connect(server, session="cam", token=TOKEN) as stream:
        await expire(server, "cam")
        with pytest.raises(AccessError) as caught:
            await following(stream)
        assert caught.value.code == "token_expired"


async def test_a_second_refusal_in_a_row_is_the_end(server: Running) -> None:
    issuer = Issuer(TOKEN, "old", "older")
    async with connect(server, session="cam", token=issuer) as stream:
        await expire(server, "cam")
        with pytest.raises(AccessError):
            await following(stream)
    assert issuer.asked == 2


async def test_every_reconnection_asks_for_a_token(server: Running) -> None:
    issuer = Issuer(TOKEN, TOKEN)
    async with connect(server, session="cam", token=issuer) as stream:
        session = server.sessions.get("cam")
        assert session is not None and session.publisher is not None
        session.publisher.end(4410, "too slow")
        async with asyncio.timeout(10):
            while issuer.asked < 2 or stream.state != "open":
                await asyncio.sleep(0)
        assert stream.statistics.reconnections == 1


def broken() -> str:
    raise OSError("the token service is away")


@pytest.mark.parametrize(("token", "retryable"), [(broken, True), (lambda: "", False), (lambda: 3, False)])
async def test_a_function_without_a_token_is_a_typed_error(token: Any, retryable: bool) -> None:
    with pytest.raises(AccessError) as caught:
        async with streamgen.connect("ws://127.0.0.1:9/ws", token=token):
            pass
    assert (caught.value.code, caught.value.retryable) == ("no_token", retryable)


def test_only_what_another_token_may_mend_is_tried_again() -> None:
    source = TokenSource(lambda: TOKEN)
    assert not source.renews(SessionError("too_slow", ""))
    assert source.renews(EXPIRED) and not source.renews(EXPIRED)
    source.accepted()
    assert source.renews(EXPIRED)
    assert not TokenSource(TOKEN).renews(EXPIRED)


def test_a_token_travels_in_base64url_without_padding() -> None:
    assert token_protocol("a?>~") == "token.YT8-fg"
