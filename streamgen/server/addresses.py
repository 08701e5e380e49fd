"""What one address may ask of the server, so that no neighbour can keep it from everybody else.

=============  ==========================================  ==========================================
counted        when there are too many                     forgotten
=============  ==========================================  ==========================================
connections    the next one is answered 429 and closed     when they end
requests       ``too_many_requests``                       little by little, over a minute
wrong tokens   ``too_many_requests``, right ones as well   likewise
=============  ==========================================  ==========================================

All of an IPv6 network of 64 bits is one address: that is what one customer is given. At most ``_KEPT`` addresses are
remembered, those that asked last.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from ipaddress import ip_address

from streamgen.errors import AccessError

__all__ = ["RETRY_S", "AddressLimits"]

RETRY_S = 60
"""After so long everything that was counted is forgotten."""
_KEPT = 4096


class AddressLimits:
    """Counts by address. Runs on the event loop.

    Args:
        connections: at once.
        requests: a minute, of those that are more than a static file.
        failures: wrong tokens a minute.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        connections: int = 256,
        requests: int = 600,
        failures: int = 10,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connections = connections
        self._open: Counter[str] = Counter()
        self._requests = _Minute(requests, clock)
        self._failures = _Minute(failures, clock)

    def enter(self, address: str) -> bool:
        """Count a connection; False, and nothing counted, when there are too many. Call ``leave`` when it ends."""
        network = _network(address)
        if self._open[network] >= self._connections:
            return False
        self._open[network] += 1
        return True

    def leave(self, address: str) -> None:
        """A connection ended."""
        network = _network(address)
        self._open[network] -= 1
        if self._open[network] <= 0:
            del self._open[network]

    def count_request(self, address: str) -> None:
        """Raises:
        AccessError: ``too_many_requests``.
        """
        if self._requests.full(network := _network(address)):
            raise AccessError("too_many_requests", f"too many requests; come back in {RETRY_S} s", retryable=True)
        self._requests.count(network)

    def check_failures(self, address: str) -> None:
        """Raises:
        AccessError: ``too_many_requests``.
        """
        if self._failures.full(_network(address)):
            raise AccessError("too_many_requests", f"too many wrong tokens; come back in {RETRY_S} s", retryable=True)

    def count_failure(self, address: str) -> None:
        """A wrong token came from there."""
        self._failures.count(_network(address))


class _Minute:
    """Leaky buckets that hold ``limit`` and run empty within a minute."""

    def __init__(self, limit: int, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._clock = clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()  # level and when, longest ago first

    def full(self, network: str) -> bool:
        return self._level(network) > self._limit - 1

    def count(self, network: str) -> None:
        self._levels[network] = (self._level(network) + 1, self._clock())
        self._levels.move_to_end(network)
        if len(self._levels) > _KEPT:
            self._levels.popitem(last=False)

    def _level(self, network: str) -> float:
        level, since_s = self._levels.get(network, (0.0, 0.0))
        return max(0.0, level - (self._clock() - since_s) * self._limit / RETRY_S)


def _network(address: str) -> str:
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    return str(parsed.ipv4_mapped or int(parsed) >> 64)
