"""A hundred thousand inputs and more to whatever parses what a client sends. The same ones each time."""

from __future__ import annotations

import gc
import json
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamgen.tokens import Claims
from tests.fuzz import checks
from tests.server.webrtc.test_offer import CHANNEL, HEAD, VIDEO, candidate

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "protocol.json").read_text(encoding="utf-8"))
LEAST = {"header": 45_000, "message": 36_000, "offer": 15_000, "token": 6_000, "request": 1_000, "json": 2_000}
"""Cases of each test, counted by it."""

OFFER = HEAD + VIDEO + CHANNEL + candidate("127.0.0.1") + candidate("192.168.1.5")
_TOKEN = checks.KEYS.mint(Claims(role="view", expires=2**33, session="cam"))


def count(strategy: st.SearchStrategy[Any], check: Callable[[Any], int], examples: int) -> int:
    """Draw as many examples, and add up the cases that ``check`` made of each."""
    cases = 0

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def each(drawn: Any) -> None:
        nonlocal cases
        cases += check(drawn)

    each()
    return cases


def whole(bits: int) -> st.SearchStrategy[int]:
    """Unsigned numbers, with a liking for the edges."""
    most = 2**bits - 1
    return st.sampled_from((0, 1, 2, 3, 48, 49, most // 2, most - 1, most)) | st.integers(0, most)


HEADERS = st.tuples(
    st.sampled_from((b"SG", b"SG", b"SG", b"GS", b"\0\0")),
    st.sampled_from((1, 1, 1, 0, 2, 255)),
    *(st.sampled_from((1, 2, 3)) | whole(8) for _ in range(2)),
    whole(8),
    st.sampled_from((48, 48, 48, 49, 64)) | whole(16),
    *(whole(32) for _ in range(3)),
    *(st.integers(1, 2000) | whole(16) for _ in range(2)),
    whole(64),
    *(whole(32) for _ in range(4)),
).map(lambda fields: struct.pack("<2sBBBBHIIIHHQIIII", *fields))


def header_cases(drawn: tuple[bytes, bytes, int]) -> int:
    """A frame, all its beginnings, and itself with each byte of its header in turn made another."""
    header, payload, byte = drawn
    data = header + payload
    for end in range(len(data) + 1):
        checks.check_header(data[:end])
    for at in range(len(header)):
        checks.check_header(data[:at] + bytes([byte ^ data[at]]) + data[at + 1 :])
    return len(data) + 1 + len(header)


EDITS = st.lists(
    st.tuples(st.integers(0, 10_000), st.integers(0, 3), st.text(max_size=4) | st.sampled_from('{}[]",:\\0e')),
    min_size=40,
    max_size=40,
)


def edited(text: str, edits: list[tuple[int, int, str]]) -> list[str]:
    """As many texts: each with one edit, and every fourth with all of those before it, too."""
    made, all_together = [], text
    for number, (at, length, put) in enumerate(edits):
        start = at % (len(text) + 1)
        made.append(text[:start] + put + text[start + length :])
        start = at % (len(all_together) + 1)
        all_together = all_together[:start] + put + all_together[start + length :]
        if number % 4 == 3:
            made[-1] = all_together
    return made


def cases_of(check: Callable[[str], None]) -> Callable[[tuple[str, list[tuple[int, int, str]]]], int]:
    def cases(drawn: tuple[str, list[tuple[int, int, str]]]) -> int:
        texts = edited(*drawn)
        for text in texts:
            check(text)
        return len(texts)

    return cases


MESSAGES = st.sampled_from(
    [vector["text"] for half in ("client_messages", "server_messages") for vector in GOLDEN[half]["valid"]]
)
NAMES = st.sampled_from(("host", "origin", "authorization", "sec-fetch-site", "sec-fetch-dest", "referer"))
VALUES = st.text(max_size=40) | st.sampled_from(
    ("localhost", "[::1]:8188", "http://localhost", "null", "Bearer ", "Basic Og==", "Bearer sg1.", "cross-site")
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ("prompt", "strength", "steps", "seed", "loras", "prompts_blend", "width", "height", "fit", "role", "session")
)


def header_examples(examples: int) -> int:
    drawn = st.tuples(HEADERS, st.binary(max_size=40), st.integers(1, 255))
    return count(drawn, header_cases, examples)


def text_examples(base: st.SearchStrategy[str], check: Callable[[str], None], examples: int) -> int:
    return count(st.tuples(base, EDITS), cases_of(check), examples)


def request_case(drawn: tuple[dict[str, str], list[str]]) -> int:
    checks.check_request(drawn[0], tuple(drawn[1]))
    return 1


def json_case(value: Any) -> int:
    checks.check_json(value)
    return 1


def test_a_binary_header_is_read_or_refused() -> None:
    assert header_examples(450) >= LEAST["header"]


def test_a_message_is_read_or_refused() -> None:
    assert text_examples(MESSAGES, checks.check_message, 900) >= LEAST["message"]


def test_an_offer_is_read_or_refused() -> None:
    assert text_examples(st.just(OFFER), checks.check_offer, 375) >= LEAST["offer"]


def test_no_edit_of_a_token_is_believed() -> None:
    def check(token: str) -> None:
        if token != _TOKEN:
            checks.check_token(token)

    assert text_examples(st.just(_TOKEN), check, 150) >= LEAST["token"]


def test_no_request_comes_in_without_the_secret() -> None:
    drawn = st.tuples(st.dictionaries(NAMES, VALUES, max_size=6), st.lists(VALUES.map("token.".__add__), max_size=3))
    assert count(drawn, request_case, 1000) >= LEAST["request"]


def test_any_json_is_understood_or_refused() -> None:
    assert count(JSON | st.dictionaries(FIELDS, JSON, max_size=4), json_case, 2000) >= LEAST["json"]


def test_they_are_a_hundred_thousand() -> None:
    assert sum(LEAST.values()) >= 100_000


def test_what_was_refused_leaves_nothing_in_memory() -> None:
    def all_of_it() -> None:
        header_examples(10)
        text_examples(MESSAGES, checks.check_message, 10)
        text_examples(st.just(OFFER), checks.check_offer, 10)

    all_of_it()  # what is made once and kept
    gc.collect()
    tracemalloc.start()
    try:
        all_of_it()
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        all_of_it()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 64 * 1024
