"""An SDP offer, checked before anything is made of it."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

from streamgen.errors import ProtocolError
from streamgen.server.access import is_loopback

__all__ = ["MAX_SDP_BYTES", "Offer", "is_usable"]

MAX_SDP_BYTES = 64 * 1024
_MAX_SECTIONS = 8
_MAX_CANDIDATES = 32
_MAX_LINE = 2048
_UFRAG = "a=ice-ufrag:"
_KINDS = frozenset({"audio", "video", "application"})


@dataclass(frozen=True, slots=True)
class Offer:
    """What a client offers.

    Args:
        sdp: without the candidates that cannot be used. Names ending in ``.local`` hide a browser's address and would
            have to be resolved by multicast; its first packet tells the address just as well.
        has_channel: whether a data channel is offered.
        ufrags: the ICE user names in it.
    """

    sdp: str
    has_channel: bool
    ufrags: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, sdp: str, *, loopback_only: bool) -> Offer:
        """Check an offer.

        Args:
            loopback_only: leave out candidates of other machines; nothing could reach them.

        Raises:
            ProtocolError: ``sdp_too_large`` or ``bad_sdp``.
        """
        if len(sdp.encode(errors="replace")) > MAX_SDP_BYTES:
            raise ProtocolError("sdp_too_large", f"an SDP has at most {MAX_SDP_BYTES} bytes", field="sdp")
        lines = sdp.replace("\r\n", "\n").rstrip("\n").split("\n")
        if lines[0] != "v=0":
            raise ProtocolError("bad_sdp", "an SDP begins with v=0", field="sdp")
        if max(map(len, lines)) > _MAX_LINE:
            raise ProtocolError("bad_sdp", f"a line of an SDP has at most {_MAX_LINE} characters", field="sdp")
        kinds = [line[2:].partition(" ")[0] for line in lines if line.startswith("m=")]
        if not kinds or len(kinds) > _MAX_SECTIONS or not _KINDS.issuperset(kinds):
            raise ProtocolError(
                "bad_sdp", f"an offer has 1 to {_MAX_SECTIONS} sections of video, audio or application", field="sdp"
            )
        kept = [line for line in lines if not line.startswith("a=end-of-candidates")]
        usable = [line for line in kept if not line.startswith("a=candidate:") or is_usable(line, loopback_only)]
        if sum(line.startswith("a=candidate:") for line in usable) > _MAX_CANDIDATES:
            raise ProtocolError("bad_sdp", f"an offer has at most {_MAX_CANDIDATES} candidates", field="sdp")
        if not any(line.startswith("a=fingerprint:") for line in lines):
            raise ProtocolError("bad_sdp", "an offer names the fingerprint of its certificate", field="sdp")
        ufrags = frozenset(line.removeprefix(_UFRAG) for line in lines if line.startswith(_UFRAG))
        return cls("\r\n".join(usable) + "\r\n", "application" in kinds, ufrags)


def is_usable(line: str, loopback_only: bool) -> bool:
    """Whether ``a=candidate:foundation component transport priority address port ...`` can be reached from here."""
    fields = line.split(" ")
    if len(fields) < 8 or fields[2].lower() != "udp":
        return False
    try:
        ip_address(fields[4])
    except ValueError:
        return False
    return not loopback_only or is_loopback(fields[4])
