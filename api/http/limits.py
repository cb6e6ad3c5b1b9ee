"""How much somebody may ask for: a bucket that fills at a steady rate and holds a minute's worth, or a day's.

Whoever shows a key is counted by it. Whoever shows none is counted by address, and so is every key that
has not opened anything before: wrong ones cannot be tried, nor looked up in the store, without bound.
"""

from functools import lru_cache
from hashlib import blake2b
from ipaddress import IPv6Address, ip_address, ip_network
from math import ceil
from mmap import mmap
from pathlib import Path
from typing import Protocol

from api.http.problems import TooMany
from ledger.clock import monotonic_seconds

BUCKETS_MAX = 100_000
SETS = 16_384
WAYS = 8
PLACES_MAX = 10_000
FULL_SECONDS = 60.0
SLACK_SECONDS = 1e-6
"""What sums of floating-point seconds may be wrong by."""
NETWORK_BITS = 64
"""One customer has at least so much of IPv6 to send from (RFC 6177), so it counts as one address."""


class _Buckets(Protocol):
    """When each name's bucket is full again; a bucket that is not kept is full."""

    def get(self, name: str) -> float: ...

    def put(self, name: str, full_at: float) -> None: ...


class _Own:
    """This process's: beyond `BUCKETS_MAX` names the one seen longest ago goes."""

    def __init__(self) -> None:
        self.kept: dict[str, float] = {}  # in order of when they were seen

    def get(self, name: str) -> float:
        return self.kept.get(name, 0.0)

    def put(self, name: str, full_at: float) -> None:
        self.kept.pop(name, None)
        if len(self.kept) >= BUCKETS_MAX:
            del self.kept[next(iter(self.kept))]
        self.kept[name] = full_at


class _Shared:
    """Those of all processes that share a file: `SETS` of `WAYS` places, each a name's digest and an instant
    of the machine's monotonic clock. In a set that is full the bucket goes that would be full soonest.

    Nobody waits for anybody: what two processes count of one name within the same microsecond may count once.
    """

    def __init__(self, path: Path) -> None:
        with path.open("a+b") as file:
            file.truncate(SETS * WAYS * 16)
            view = memoryview(mmap(file.fileno(), 0))
        self._names, self._instants = view.cast("Q"), view.cast("d")
        # The folder's name is random: nobody can choose who goes for whom.
        self._key = str(path).encode()[-64:]
        self._places = lru_cache(PLACES_MAX)(self._found)

    def get(self, name: str) -> float:
        digest, places = self._places(name)
        return next((self._instants[each + 1] for each in places if self._names[each] == digest), 0.0)

    def put(self, name: str, full_at: float) -> None:
        digest, places = self._places(name)
        mine = next((each for each in places if self._names[each] == digest), None)
        if mine is None:
            mine = min(places, key=lambda each: self._instants[each + 1])
        self._names[mine], self._instants[mine + 1] = digest, full_at

    def _found(self, name: str) -> tuple[int, range]:
        found = int.from_bytes(blake2b(name.encode(), digest_size=12, key=self._key).digest(), "big")
        first = (found >> 64) % SETS * WAYS * 2
        return found & (2**64 - 1), range(first, first + WAYS * 2, 2)


class RateLimit:
    """Counts for each name: in this process, or in a file for all processes that share it."""

    def __init__(
        self, most: int, who: str, shared: Path | None = None, full_seconds: float = FULL_SECONDS
    ) -> None:
        self._each_seconds = full_seconds / most
        self._full_seconds = full_seconds
        self._who = who
        self._buckets: _Buckets = _Own() if shared is None else _Shared(shared)

    def take(self, name: str, count: int = 1) -> None:
        """Count a request, or as many as it stands for. Raises `TooMany`."""
        now = monotonic_seconds()
        found = max(self._buckets.get(name), now)
        full_at = found + count * self._each_seconds
        seconds = full_at - now - self._full_seconds
        is_too_many = seconds > SLACK_SECONDS
        self._buckets.put(name, found if is_too_many else full_at)
        if is_too_many:
            raise TooMany(f"{self._who} has sent too many requests", seconds=ceil(seconds))

    def give_back(self, name: str) -> None:
        """Do not count the last one."""
        if full_at := self._buckets.get(name):
            self._buckets.put(name, full_at - self._each_seconds)


class Limits:
    """Makes limits: of this process, or of all processes that are given the same folder."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def limit(self, name: str, most: int, who: str, full_seconds: float = FULL_SECONDS) -> RateLimit:
        """The limit of a name, so many a minute or in other seconds; it says who has sent too much."""
        return RateLimit(most, who, self._folder and self._folder / f"limit-{name}", full_seconds)


@lru_cache(10_000)
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
