"""The control messages and the credit window: golden vectors, the exported schema, and garbage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from streamgen.errors import ProtocolError, SettingsError
from streamgen.protocol import (
    CREDITS,
    MAX_MESSAGE_BYTES,
    SUBPROTOCOL,
    CreditWindow,
    ErrorMessage,
    parse_client_message,
    parse_server_message,
    protocol_schema,
)
from tests.golden.make_protocol import vectors

ROOT = Path(__file__).parents[1]
GOLDEN = json.loads((ROOT / "tests" / "golden" / "protocol.json").read_text(encoding="utf-8"))
PARSERS = {"client_messages": parse_client_message, "server_messages": parse_server_message}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
TYPES = ("hello", "update", "reformat", "reference", "switch", "pause", "resume", "snapshot", "stats", "ack", "bye")


def golden_messages(group: str) -> Any:
    cases = [
        pytest.param(half, vector, id=f"{half}: {vector['name']}") for half in PARSERS for vector in GOLDEN[half][group]
    ]
    return pytest.mark.parametrize(("half", "vector"), cases)


def test_the_golden_constants_are_those_of_the_code() -> None:
    assert (GOLDEN["subprotocol"], GOLDEN["credits"]) == (SUBPROTOCOL, CREDITS)
    assert GOLDEN["max_message_bytes"] == MAX_MESSAGE_BYTES


@golden_messages("valid")
def test_golden_messages_are_read(half: str, vector: dict[str, Any]) -> None:
    message = PARSERS[half](vector["text"])
    assert message.model_dump(mode="json") == vector["message"]
    assert PARSERS[half](message.dump()) == message


@golden_messages("invalid")
def test_golden_bad_messages_are_refused(half: str, vector: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError) as caught:
        PARSERS[half](vector["text"])
    assert (caught.value.code, caught.value.field) == (vector["code"], vector["field"])


@golden_messages("valid")
def test_golden_messages_fit_the_exported_schema(half: str, vector: dict[str, Any]) -> None:
    schema = protocol_schema()[half.removesuffix("_messages")]
    Draft202012Validator(schema).validate(json.loads(vector["text"]))


@given(st.text(max_size=200))
def test_any_text_is_a_message_or_a_protocol_error(text: str) -> None:
    try:
        parse_client_message(text)
    except ProtocolError as error:
        assert error.code in {"invalid_json", "unknown_type", "invalid_message"}


@given(
    JSON,
    st.sampled_from(TYPES),
    st.dictionaries(st.sampled_from(("seq", "settings", "ref", "format", "image", "loras", "x")), JSON),
)
def test_any_json_is_a_message_or_a_protocol_error(value: Any, kind: str, fields: dict[str, Any]) -> None:
    test_any_text_is_a_message_or_a_protocol_error.hypothesis.inner_test(json.dumps(value))  # type: ignore[attr-defined]
    test_any_text_is_a_message_or_a_protocol_error.hypothesis.inner_test(  # type: ignore[attr-defined]
        json.dumps({**fields, "type": kind})
    )


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_client_message('{"type": "update", "settings": ' + '{"a":' * 5000 + "1" + "}" * 5000 + "}")
    assert caught.value.code == "invalid_json"


def test_an_error_says_its_code_its_field_and_what_it_answers() -> None:
    message = ErrorMessage.of(SettingsError("invalid_settings", "steps: too many, got 9", field="steps"), ref="7")
    assert json.loads(message.dump()) == {
        "type": "error",
        "code": "invalid_settings",
        "message": "steps: too many, got 9",
        "retryable": False,
        "field": "steps",
        "ref": "7",
    }


def test_the_committed_schema_is_current() -> None:
    committed = (ROOT / "docs" / "protocol.schema.json").read_text(encoding="utf-8")
    assert json.loads(committed) == protocol_schema(), "run: python -m tests.golden.make_protocol"


def test_the_committed_vectors_are_current() -> None:
    assert vectors() == GOLDEN, "run: python -m tests.golden.make_protocol"


def test_two_frames_are_in_flight_at_most() -> None:
    window = CreditWindow()
    window.sent(0)
    assert window.open
    window.sent(1)
    assert not window.open


def test_an_acknowledgement_stands_for_earlier_frames() -> None:
    window = CreditWindow()
    window.sent(4)
    window.sent(5)
    window.acknowledged(5)
    assert window.in_flight == 0


def test_acknowledging_what_was_never_sent_gives_no_credit() -> None:
    window = CreditWindow()
    window.sent(4)
    window.sent(5)
    window.acknowledged(3)
    window.acknowledged(6)
    assert window.in_flight == 2
    window.acknowledged(4)
    window.acknowledged(4)
    assert window.in_flight == 1
