"""How many requests somebody may send: a bucket that fills at a steady rate and holds a minute's worth.

Whoever shows a key is counted by it. Whoever shows none is counted by address, and so is every key that
has not opened anything before: wrong ones cannot be tried, nor looked up in the store, without bound.
"""

from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from math import ceil

from api.http.problems import TooMany
from ledger.clock import monotonic_seconds

BUCKETS_MAX = 100_000
NETWORK_BITS = 64
"""One customer has at least so much of IPv6 to send from (RFC 6177), so it counts as one address."""


@dataclass(slots=True)
class _Bucket:
    left: float
    seen: float


class RateLimit:
    """Counts for each name, in this process; beyond `BUCKETS_MAX` names the one seen longest ago goes."""

    def __init__(self, a_minute: int, who: str) -> None:
        self._a_second = a_minute / 60
        self._most = float(a_minute)
        self._who = who
        self._buckets: dict[str, _Bucket] = {}

    def take(self, name: str) -> None:
        """Count a request. Raises `TooMany`."""
        now = monotonic_seconds()
        bucket = self._buckets.pop(name, None) or _Bucket(self._most, now)
        if len(self._buckets) >= BUCKETS_MAX:
            del self._buckets[next(iter(self._buckets))]
        self._buckets[name] = bucket  # behind all others: the order is that of when they were seen
        bucket.left = min(self._most, bucket.left + (now - bucket.seen) * self._a_second)
        bucket.seen = now
        if bucket.left < 1:
            seconds = ceil((1 - bucket.left) / self._a_second)
            raise TooMany(f"{self._who} has sent too many requests", seconds=seconds)
        bucket.left -= 1

    def give_back(self, name: str) -> None:
        """Do not count the last one."""
        if bucket := self._buckets.get(name):
            bucket.left = min(self._most, bucket.left + 1)


def network_of(address: str) -> str:
    """What an address is counted as."""
    try:
        found = ip_address(address)
    except ValueError:
        return address[:80]  # a socket in the file system, or what a proxy wrote
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ip_network((int(found), NETWORK_BITS), strict=False))
    return str(found)
