"""Signed tokens: what they say, and that nothing else is believed."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgen.errors import AccessError, ConfigError, SettingsError
from streamgen.tokens import Claims, TokenKeys, TokenRequest, read_request

SECRET = "a-secret-that-is-long-enough"
CLAIMS = Claims(role="view", expires=2000, session="cam", origins=("https://mixer.example",), duration=60)
KEYS = TokenKeys(SECRET)
TOKEN = KEYS.mint(CLAIMS)


def refused(keys: TokenKeys, token: str) -> str:
    with pytest.raises(AccessError) as caught:
        keys.read(token)
    return caught.value.code


@pytest.mark.parametrize("claims", [CLAIMS, Claims(role="publish", expires=1), Claims(role="control", expires=2**40)])
def test_what_was_signed_is_read_back(claims: Claims) -> None:
    assert KEYS.read(KEYS.mint(claims)) == claims


def test_a_token_goes_into_a_header_a_url_and_a_subprotocol_as_it_is() -> None:
    assert len(TOKEN) < 300
    assert set(TOKEN) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")


def test_another_server_does_not_believe_it() -> None:
    assert refused(TokenKeys(SECRET + "!"), TOKEN) == "unauthorised"


def test_a_former_secret_still_verifies_and_signs_no_more() -> None:
    keys = TokenKeys("the-secret-of-today-is-this", [SECRET])
    assert keys.read(TOKEN) == CLAIMS
    assert keys.mint(CLAIMS).split(".")[1] != TOKEN.split(".")[1]
    assert refused(KEYS, keys.mint(CLAIMS)) == "unauthorised"


def test_claims_that_were_written_over_are_not_believed() -> None:
    prefix, kid, payload, mac = TOKEN.split(".")
    more = {**json.loads(base64.urlsafe_b64decode(payload + "==")), "role": "publish"}
    forged = base64.urlsafe_b64encode(json.dumps(more).encode()).decode().rstrip("=")
    assert refused(KEYS, ".".join((prefix, kid, forged, mac))) == "unauthorised"


def test_nothing_can_be_taken_from_a_token_or_put_to_it() -> None:
    for at in range(len(TOKEN)):
        assert refused(KEYS, TOKEN[:at]) == "unauthorised"
        assert refused(KEYS, TOKEN[:at] + ("A" if TOKEN[at] != "A" else "B") + TOKEN[at + 1 :]) == "unauthorised"
    for more in ("=", ".", " ", "A", "\n", ".AAAA", "é", "A" * 5000):
        assert refused(KEYS, TOKEN + more) == refused(KEYS, more + TOKEN) == "unauthorised"


@given(st.text(max_size=60))
def test_no_text_is_a_token(text: str) -> None:
    assert refused(KEYS, text) == refused(KEYS, f"sg1.{text}") == "unauthorised"


@pytest.mark.parametrize(("secret", "code"), [("", "no_secret"), ("fifteen-letters", "weak_secret")])
def test_a_secret_that_can_be_guessed_signs_nothing(secret: str, code: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TokenKeys(secret).mint(CLAIMS)
    assert (caught.value.code, caught.value.field) == (code, "token")


def test_a_request_becomes_claims_from_now_on() -> None:
    asked = read_request('{"role": "publish", "origins": ["https://Mixer.example"], "expires_in": 60}')
    assert asked.claims(1000.9) == Claims(role="publish", expires=1060, origins=("https://mixer.example",))
    assert TokenRequest(role="view").claims(0).expires == 3600


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", None),
        ("[]", None),
        ("{}", "role"),
        ('{"role": "admin"}', "role"),
        ('{"role": "view", "session": "a/b"}', "session"),
        ('{"role": "view", "expires_in": 0}', "expires_in"),
        ('{"role": "view", "expires_in": 2592001}', "expires_in"),
        ('{"role": "view", "duration": 86401}', "duration"),
        ('{"role": "view", "origins": ["javascript:alert(1)"]}', "origins.0"),
        ('{"role": "view", "origins": ["https://mixer.example/path"]}', "origins.0"),
        ('{"role": "view", "more": 1}', "more"),
    ],
)
def test_a_claim_that_cannot_be_granted_is_named(text: str, field: str | None) -> None:
    with pytest.raises(SettingsError) as caught:
        read_request(text)
    assert (caught.value.code, caught.value.field) == ("invalid_claim", field)
