"""Offers, before anything is made of them."""

from __future__ import annotations

import pytest

from streamgen.errors import ProtocolError
from streamgen.server.webrtc.offer import MAX_SDP_BYTES, Offer

HEAD = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=fingerprint:sha-256 00\r\n"
VIDEO = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=ice-ufrag:abcd\r\n"
CHANNEL = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:1\r\n"


def candidate(address: str, protocol: str = "udp") -> str:
    return f"a=candidate:1 1 {protocol} 2113937151 {address} 50000 typ host\r\n"


def test_an_offer_says_whether_it_has_a_data_channel() -> None:
    assert not Offer.parse(HEAD + VIDEO, loopback_only=True).has_channel
    assert Offer.parse(HEAD + VIDEO + CHANNEL, loopback_only=True).has_channel
    assert Offer.parse(HEAD + VIDEO, loopback_only=True).ufrags == {"abcd"}


def test_lines_may_end_without_a_carriage_return() -> None:
    assert Offer.parse((HEAD + VIDEO).replace("\r\n", "\n"), loopback_only=True).sdp == HEAD + VIDEO


@pytest.mark.parametrize(
    ("address", "protocol", "near", "far"),
    [
        ("127.0.0.1", "udp", True, True),
        ("127.0.0.1", "UDP", True, True),
        ("::1", "udp", True, True),
        ("192.168.1.5", "udp", False, True),
        ("f3a1.local", "udp", False, False),
        ("example.org", "udp", False, False),
        ("127.0.0.1", "tcp", False, False),
    ],
)
def test_candidates_that_cannot_be_reached_are_left_out(address: str, protocol: str, near: bool, far: bool) -> None:
    offered = HEAD + VIDEO + candidate(address, protocol)
    assert ("a=candidate" in Offer.parse(offered, loopback_only=True).sdp) is near
    assert ("a=candidate" in Offer.parse(offered, loopback_only=False).sdp) is far


def test_the_end_of_candidates_is_not_believed() -> None:
    """A browser's hidden address is learnt from its first packet, after the last candidate."""
    assert "end-of-candidates" not in Offer.parse(HEAD + VIDEO + "a=end-of-candidates\r\n", loopback_only=True).sdp


@pytest.mark.parametrize(
    ("sdp", "code"),
    [
        ("", "bad_sdp"),
        ("hello", "bad_sdp"),
        (HEAD, "bad_sdp"),
        (HEAD + "m=text 9 RTP/AVP 96\r\n", "bad_sdp"),
        ("v=0\r\n" + VIDEO, "bad_sdp"),
        (HEAD + 9 * VIDEO, "bad_sdp"),
        (HEAD + VIDEO + "a=" + 5000 * "x", "bad_sdp"),
        (HEAD + VIDEO + 33 * candidate("127.0.0.1"), "bad_sdp"),
        (HEAD + MAX_SDP_BYTES * "x", "sdp_too_large"),
        (HEAD + MAX_SDP_BYTES // 2 * "ü", "sdp_too_large"),
    ],
)
def test_what_is_no_offer_is_refused(sdp: str, code: str) -> None:
    with pytest.raises(ProtocolError) as refused:
        Offer.parse(sdp, loopback_only=True)
    assert (refused.value.code, refused.value.field) == (code, "sdp")
