"""What one address may ask of the server."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from streamgen.errors import AccessError
from streamgen.server.access import Access
from streamgen.server.addresses import _KEPT, RETRY_S, AddressLimits
from tests.server.conftest import Clock

HOST = {"host": "studio.lan"}
SECRET = "the-secret-of-this-server"


def refused(call: Callable[..., object], *arguments: object) -> bool:
    try:
        call(*arguments)
    except AccessError as error:
        assert (error.code, error.retryable) == ("too_many_requests", True)
        return True
    return False


def test_connections_count_until_they_end() -> None:
    limits = AddressLimits(connections=2)
    assert [limits.enter("192.0.2.1") for _ in range(3)] == [True, True, False]
    assert limits.enter("192.0.2.2")
    limits.leave("192.0.2.1")
    assert limits.enter("192.0.2.1")


def test_requests_come_back_little_by_little() -> None:
    clock = Clock()
    limits = AddressLimits(requests=6, clock=clock)
    assert [refused(limits.count_request, "192.0.2.1") for _ in range(8)] == [False] * 6 + [True] * 2
    clock.now_s += RETRY_S / 6
    assert [refused(limits.count_request, "192.0.2.1") for _ in range(2)] == [False, True]
    clock.now_s += RETRY_S
    assert [refused(limits.count_request, "192.0.2.1") for _ in range(7)] == [False] * 6 + [True]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
    ],
)
def test_what_one_customer_is_given_is_one_address(one: str, other: str, same: bool) -> None:
    limits = AddressLimits(connections=1)
    assert limits.enter(one)
    assert limits.enter(other) is not same


def test_guessing_is_stopped_even_where_it_is_right_in_the_end() -> None:
    clock = Clock()
    access = Access(SECRET, limits=AddressLimits(failures=3, clock=clock))

    def try_token(token: str, address: str = "192.0.2.1") -> str:
        try:
            access.check({**HOST, "authorization": f"Bearer {token}"}, (), address)
        except AccessError as error:
            return error.code
        return ""

    assert [try_token(f"guess {n}") for n in range(4)] == ["unauthorised"] * 3 + ["too_many_requests"]
    assert try_token(SECRET) == "too_many_requests"
    assert try_token(SECRET, "192.0.2.2") == ""
    clock.now_s += RETRY_S
    assert try_token(SECRET) == ""


def test_no_token_is_no_guess() -> None:
    access = Access(SECRET, limits=AddressLimits(failures=1))
    for _ in range(5):
        with pytest.raises(AccessError) as caught:
            access.check(HOST, (), "192.0.2.1")
        assert caught.value.code == "unauthorised"


def test_the_addresses_remembered_are_bounded() -> None:
    limits = AddressLimits(requests=1)
    for number in range(_KEPT + 10):
        limits.count_request(f"address {number}")
    assert len(limits._requests._levels) == _KEPT
    assert refused(limits.count_request, f"address {_KEPT}")
