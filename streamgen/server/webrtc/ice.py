"""How media finds its way: this machine's addresses and ports, and the STUN and TURN servers an operator named.

While the server listens on the loopback alone, so does its media: one candidate, no STUN, and connecting takes as
long as the handshake.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from aioice import Candidate, ice
from aioice.candidate import candidate_foundation, candidate_priority
from aiortc import RTCBundlePolicy, RTCConfiguration, RTCIceServer, rtcicetransport

from streamgen.config import ServerConfig
from streamgen.errors import ConfigError
from streamgen.server.access import is_loopback

__all__ = ["IceSetup", "use"]

_LOG = logging.getLogger(__name__)
_STUN_TIMEOUT_S = 1.0
_PORT_TRIES = 20
_URL = re.compile(r"(stuns?|turns?):[^?\s]+(\?transport=(udp|tcp))?")


@dataclass(frozen=True, slots=True)
class IceSetup:
    """What connections are made with.

    Args:
        addresses: of this machine; () for every interface's.
        ports: UDP, first and last; None for any.
        public_address: what others reach this machine by; empty where that is one of ``addresses``.
        servers: STUN and TURN URLs.
        turn_secret: shared with the TURN server; empty for a fixed user or none.
        turn_username: of a fixed user.
        turn_password: likewise.
        turn_seconds: how long a short-lived credential lasts.
    """

    addresses: tuple[str, ...] = ()
    ports: tuple[int, int] | None = None
    public_address: str = ""
    servers: tuple[str, ...] = ()
    turn_secret: str = ""
    turn_username: str = ""
    turn_password: str = ""
    turn_seconds: int = 3600

    @classmethod
    def of(cls, config: ServerConfig) -> IceSetup:
        """Read a server's configuration.

        Raises:
            ConfigError: ``bad_ice`` naming the field.
        """
        addresses = config.webrtc_addresses
        if not addresses and is_loopback(config.host):
            addresses = ("::1",) if ":" in config.host else ("127.0.0.1",)
        for address in (*addresses, *([config.webrtc_public_address] if config.webrtc_public_address else [])):
            _check_address(address)
        for url in config.ice_servers:
            if not _URL.fullmatch(url):
                raise ConfigError(
                    "bad_ice", f"an ICE server is stun:HOST or turn:HOST, got {url!r}", field="ice_servers"
                )
        if config.turn_secret and config.turn_username:
            raise ConfigError(
                "bad_ice", "TURN takes a shared secret or a user name with a password, not both", field="turn_secret"
            )
        return cls(
            addresses=addresses,
            ports=_ports(config.webrtc_ports),
            public_address=config.webrtc_public_address,
            servers=config.ice_servers,
            turn_secret=config.turn_secret,
            turn_username=config.turn_username,
            turn_password=config.turn_password,
            turn_seconds=config.turn_seconds,
        )

    @property
    def loopback_only(self) -> bool:
        """Whether media stays on this machine."""
        return bool(self.addresses) and all(is_loopback(address) for address in self.addresses)

    def client_servers(self, now_s: float) -> list[dict[str, Any]]:
        """``iceServers`` as a browser takes them; TURN's credentials end ``turn_seconds`` after ``now_s`` (Unix)."""
        servers: list[dict[str, Any]] = []
        for url in self.servers:
            if url.startswith("turn"):
                username, credential = self._turn_credentials(now_s)
                servers.append({"urls": [url], "username": username, "credential": credential})
            else:
                servers.append({"urls": [url]})
        return servers

    def configuration(self, now_s: float) -> RTCConfiguration:
        """For a connection of the server itself."""
        servers = [] if self.loopback_only else self.client_servers(now_s)
        return RTCConfiguration(
            iceServers=[RTCIceServer(**server) for server in servers], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE
        )

    def _turn_credentials(self, now_s: float) -> tuple[str, str]:
        """User name and password. Short-lived ones are made the way coturn's ``use-auth-secret`` checks them: the user
        name is the time they end, the password its HMAC (draft-uberti-behave-turn-rest)."""
        if not self.turn_secret:
            return self.turn_username, self.turn_password
        username = f"{int(now_s) + self.turn_seconds}:streamgen"
        digest = hmac.new(self.turn_secret.encode(), username.encode(), hashlib.sha1).digest()
        return username, base64.b64encode(digest).decode()


def use(setup: IceSetup) -> None:
    """Have every connection of this process made from these addresses and ports. aiortc has no option for either."""
    connection = type("BoundConnection", (_BoundConnection,), {"setup": setup})
    inside: Any = rtcicetransport
    inside.Connection = connection


class _BoundConnection(ice.Connection):
    """Gathers candidates from the addresses and ports of its setup."""

    setup: IceSetup
    checks_received = 0
    """From the other side, which goes on with them for as long as it lives."""

    def request_received(self, *arguments: Any) -> None:
        self.checks_received += 1
        super().request_received(*arguments)

    async def get_component_candidates(self, component: int, addresses: list[str], timeout: int = 5) -> list[Candidate]:
        protocols = []
        for address in self.setup.addresses or addresses:
            protocol = await self._bind(component, address)
            if protocol is not None:
                protocols.append(protocol)
        self._protocols += protocols
        candidates = [protocol.local_candidate for protocol in protocols]
        if self.setup.public_address:
            candidates += [_reflexive(candidate, self.setup.public_address) for candidate in candidates]
        elif self.stun_server:
            candidates += await self._ask_stun(protocols)
        # Given no addresses, aioice's own method asks the TURN server alone.
        return candidates + await super().get_component_candidates(component, [], timeout)

    async def _bind(self, component: int, address: str) -> ice.StunProtocol | None:
        loop = asyncio.get_running_loop()
        for port in _tries(self.setup.ports):
            try:
                _, protocol = await loop.create_datagram_endpoint(
                    lambda: ice.StunProtocol(self), local_addr=(address, port)
                )
            except OSError as error:
                _LOG.debug("cannot bind UDP %s:%s: %s", address, port, error)
                continue
            host, port = protocol.transport.get_extra_info("sockname")[:2]
            protocol.local_candidate = Candidate(
                foundation=candidate_foundation("host", "udp", host),
                component=component,
                transport="udp",
                priority=candidate_priority(component, "host"),
                host=host,
                port=port,
                type="host",
            )
            return protocol
        _LOG.warning("no UDP port could be bound on %s", address)
        return None

    async def _ask_stun(self, protocols: Sequence[ice.StunProtocol]) -> list[Candidate]:
        """What a STUN server sees of our sockets, if it answers soon."""
        assert self.stun_server is not None
        asked = [ice.server_reflexive_candidate(p, self.stun_server) for p in protocols if _is_v4(p)]
        if not asked:
            return []
        tasks = [asyncio.ensure_future(question) for question in asked]
        done, late = await asyncio.wait(tasks, timeout=_STUN_TIMEOUT_S)
        for task in late:
            task.cancel()
        return [task.result()[0] for task in done if task.exception() is None]


def _reflexive(candidate: Candidate, public_address: str) -> Candidate:
    return Candidate(
        foundation=candidate_foundation("srflx", "udp", public_address),
        component=candidate.component,
        transport="udp",
        priority=candidate_priority(candidate.component, "srflx"),
        host=public_address,
        port=candidate.port,
        type="srflx",
        related_address=candidate.host,
        related_port=candidate.port,
    )


def _is_v4(protocol: ice.StunProtocol) -> bool:
    return ip_address(protocol.local_candidate.host).version == 4


def _tries(ports: tuple[int, int] | None) -> list[int]:
    if ports is None:
        return [0]
    span = range(ports[0], ports[1] + 1)
    return random.sample(span, min(_PORT_TRIES, len(span)))


def _check_address(address: str) -> None:
    try:
        ip_address(address)
    except ValueError:
        raise ConfigError("bad_ice", f"not an IP address: {address!r}", field="webrtc_addresses") from None


def _ports(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    match = re.fullmatch(r"(\d{1,5})-(\d{1,5})", text)
    first, last = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1024 <= first <= last <= 65535:
        raise ConfigError("bad_ice", f"UDP ports are FIRST-LAST within 1024-65535, got {text!r}", field="webrtc_ports")
    return first, last
