"""What has to hold for any input: it is understood, or refused with a typed error of the right kind."""

from __future__ import annotations

import json
from typing import Any

from streamgen.errors import AccessError, ProtocolError, SettingsError
from streamgen.protocol import parse_client_message, parse_server_message
from streamgen.server.access import Access
from streamgen.server.addresses import AddressLimits
from streamgen.server.webrtc.offer import Offer, is_usable
from streamgen.settings import StreamSettings, merge_settings, parse_format
from streamgen.tokens import TokenKeys, read_request
from streamgen.wire import HEADER_BYTES, MAX_PIXELS, pack_frame, parse_frame, peek_seq

HEADER_CODES = {
    "bad_header_length",
    "bad_magic",
    "bad_size",
    "empty_payload",
    "frame_too_large",
    "truncated_header",
    "unknown_codec",
    "unknown_kind",
    "unsupported_version",
}
MESSAGE_CODES = {"invalid_json", "invalid_message", "message_too_long", "unknown_type"}
SECRET = "the-secret-of-this-server"
KEYS = TokenKeys(SECRET)
ACCESS = Access(SECRET, limits=AddressLimits(requests=10**9, failures=10**9))


def check_header(data: bytes) -> None:
    """A frame goes through unchanged, or is refused by one of the header's own codes."""
    peek_seq(data)
    try:
        header, payload = parse_frame(data)
    except ProtocolError as error:
        assert error.code in HEADER_CODES
        return
    assert 0 < header.width * header.height <= MAX_PIXELS
    again, rest = parse_frame(pack_frame(header, payload))
    assert (again, bytes(rest)) == (header, bytes(payload))
    assert peek_seq(data[:HEADER_BYTES]) == header.seq


def check_message(text: str) -> None:
    """A control message reads back as it was, or is refused shortly."""
    for parse in (parse_client_message, parse_server_message):
        try:
            message = parse(text)
        except ProtocolError as error:
            assert error.code in MESSAGE_CODES
            assert len(error.message) <= 400 and len(error.field or "") <= 100
        else:
            assert parse(message.dump()) == message


def check_offer(sdp: str) -> None:
    """An offer keeps to its bounds, and holds no candidate that is not to be tried."""
    try:
        offer = Offer.parse(sdp, loopback_only=True)
    except ProtocolError as error:
        assert error.code in ("bad_sdp", "sdp_too_large")
        return
    candidates = [line for line in offer.sdp.split("\r\n") if line.startswith("a=candidate:")]
    assert len(candidates) <= 32
    assert all(is_usable(line, True) for line in candidates)


def check_token(token: str) -> None:
    """Whatever was not signed is refused, with one code."""
    try:
        KEYS.read(token)
    except AccessError as error:
        assert error.code == "unauthorised"
    else:
        raise AssertionError(f"believed {token!r}")


def check_request(headers: dict[str, str], subprotocols: tuple[str, ...]) -> None:
    """A request without the secret comes in by no header and no subprotocol."""
    try:
        ACCESS.check(headers, subprotocols)
    except AccessError as error:
        assert error.code in ("origin_not_allowed", "unauthorised")
    else:
        raise AssertionError(f"let in {headers!r} {subprotocols!r}")


def check_json(value: Any) -> None:
    """Any JSON is settings, a format or a request for a token, or names the field at fault."""
    if isinstance(value, dict):
        for read in (lambda changes: merge_settings(StreamSettings(), changes), parse_format):
            try:
                read(value)
            except SettingsError as error:
                assert error.code in ("unknown_setting", "invalid_settings")
    try:
        read_request(json.dumps(value))
    except SettingsError as error:
        assert error.code == "invalid_claim"
