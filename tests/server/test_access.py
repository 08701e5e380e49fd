"""Who may come in."""

from __future__ import annotations

import base64

import pytest

from streamgen.errors import AccessError
from streamgen.server.access import EVERYTHING, Access, Grant, is_loopback
from streamgen.tokens import Claims, TokenKeys

SECRET = "the-secret-of-this-server"
TOKEN = "öpen sesame:1"


def refused(access: Access, headers: dict[str, str], subprotocols: tuple[str, ...] = ()) -> str:
    """The code of the refusal; empty for none."""
    try:
        access.check(headers, subprotocols)
    except AccessError as error:
        return error.code
    return ""


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
    assert refused(Access(), headers) == ""


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
    assert refused(Access(), headers) == "origin_not_allowed"


def test_an_origin_can_be_let_in_by_name() -> None:
    access = Access(origins=["https://Mixer.example/"])
    assert refused(access, {"host": "localhost", "origin": "https://mixer.example"}) == ""
    assert refused(access, {"host": "localhost", "origin": "https://mixer.example.org"}) == "origin_not_allowed"


@pytest.mark.parametrize(
    ("headers", "subprotocols"),
    [
        ({"authorization": f"Bearer {TOKEN}"}, ()),
        ({"authorization": f"bearer  {TOKEN}"}, ()),
        ({"authorization": "Basic " + base64.b64encode(f"obs:{TOKEN}".encode()).decode()}, ()),
        ({}, ("streamgen.v1", "token." + base64.urlsafe_b64encode(TOKEN.encode()).decode().rstrip("="))),
    ],
)
def test_the_token_opens_a_server_under_any_name(headers: dict[str, str], subprotocols: tuple[str, ...]) -> None:
    access = Access(TOKEN)
    assert refused(access, {"host": "studio.lan:8188", **headers}, subprotocols) == ""
    assert refused(access, {"host": "studio.lan", "origin": "http://studio.lan", **headers}, subprotocols) == ""
    foreign = {"host": "studio.lan", "origin": "http://evil.example", **headers}
    assert refused(access, foreign, subprotocols) == "origin_not_allowed"


@pytest.mark.parametrize(
    ("headers", "subprotocols"),
    [
        ({}, ()),
        ({"authorization": ""}, ()),
        ({"authorization": "Bearer"}, ()),
        ({"authorization": "Bearer wrong"}, ()),
        ({"authorization": f"Bearer {TOKEN}x"}, ()),
        ({"authorization": "Basic ????"}, ()),
        ({"authorization": "Basic " + base64.b64encode(TOKEN.encode()).decode()}, ()),
        ({}, ("streamgen.v1", "token.")),
        ({}, ("token.é",)),
    ],
)
def test_without_it_nobody_comes_in(headers: dict[str, str], subprotocols: tuple[str, ...]) -> None:
    assert refused(Access(TOKEN), {"host": "localhost", **headers}, subprotocols) == "unauthorised"


@pytest.mark.parametrize(
    ("claims", "grant"),
    [
        (Claims(role="view", expires=1060), Grant("view", None, 60.0)),
        (Claims(role="publish", expires=1060, session="cam"), Grant("publish", "cam", 60.0)),
        (Claims(role="view", expires=1001, duration=3600), Grant("view", None, 3600.0)),  # outlasts its token
        (Claims(role="view", expires=2000, duration=5), Grant("view", None, 5.0)),
    ],
)
def test_a_grant_lasts_as_long_as_its_token_or_as_that_says(claims: Claims, grant: Grant) -> None:
    access = Access(SECRET, wall_clock=lambda: 1000.0)
    headers = {"host": "studio.lan", "authorization": f"Bearer {TokenKeys(SECRET).mint(claims)}"}
    assert access.check(headers) == grant


def test_the_secret_grants_everything() -> None:
    assert Access(SECRET).check({"host": "studio.lan", "authorization": f"Bearer {SECRET}"}) == EVERYTHING
    assert Access().check({"host": "localhost"}) == EVERYTHING


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"sec-fetch-site": "cross-site", "sec-fetch-dest": "image"}, "origin_not_allowed"),
        ({"sec-fetch-site": "same-site", "referer": "https://evil.example/page"}, "origin_not_allowed"),
        ({"sec-fetch-site": "cross-site", "referer": "https://mixer.example/page"}, ""),
        ({"sec-fetch-site": "cross-site", "referer": "http://localhost:3000/page"}, ""),
        ({"sec-fetch-site": "cross-site", "sec-fetch-dest": "document"}, ""),  # a link that somebody followed
        ({"sec-fetch-site": "same-origin"}, ""),
        ({"sec-fetch-site": "none"}, ""),
    ],
)
def test_a_picture_in_another_sites_page_is_refused_though_it_names_no_origin(
    headers: dict[str, str], code: str
) -> None:
    access = Access(origins=["https://mixer.example"])
    assert refused(access, {"host": "localhost", **headers}) == code


def test_a_page_of_a_file_is_let_in_where_the_origin_null_is() -> None:
    headers = {"host": "localhost", "sec-fetch-site": "cross-site", "sec-fetch-dest": "image"}
    assert refused(Access(origins=["null"]), headers) == ""


def test_a_server_opened_to_everybody_takes_any_name_and_its_own_pages() -> None:
    access = Access(public=True)
    assert refused(access, {"host": "studio.lan"}) == ""
    assert refused(access, {"host": "studio.lan", "origin": "http://studio.lan:8188"}) == ""
    assert refused(access, {"host": "studio.lan", "origin": "http://evil.example"}) == "origin_not_allowed"
    assert access.check({"host": "studio.lan"}).role == "publish"  # and makes nobody its operator


def test_loopback_is_a_network_and_a_name() -> None:
    assert is_loopback("127.8.9.10") and is_loopback("::1") and is_loopback("localhost")
    assert not is_loopback("0.0.0.0") and not is_loopback("::") and not is_loopback("localhost.example")
