"""How many requests a key may send: a bucket that fills at a steady rate and holds a minute's worth."""

from dataclasses import dataclass
from math import ceil

from api.http.problems import TooMany
from ledger.clock import monotonic_seconds

BUCKETS_MAX = 100_000
FULL_SECONDS = 60


@dataclass(slots=True)
class _Bucket:
    left: float
    seen: float


class RateLimit:
    """Counts for each name, in this process."""

    def __init__(self, a_minute: int) -> None:
        self._a_second = a_minute / 60
        self._most = float(a_minute)
        self._buckets: dict[str, _Bucket] = {}

    def take(self, name: str) -> None:
        """Count a request. Raises `TooMany`."""
        now = monotonic_seconds()
        bucket = self._buckets.get(name)
        if bucket is None:
            if len(self._buckets) >= BUCKETS_MAX:
                self._drop_full(now)
            bucket = self._buckets[name] = _Bucket(self._most, now)
        bucket.left = min(self._most, bucket.left + (now - bucket.seen) * self._a_second)
        bucket.seen = now
        if bucket.left < 1:
            raise TooMany(
                "this key has sent too many requests", seconds=ceil((1 - bucket.left) / self._a_second)
            )
        bucket.left -= 1

    def _drop_full(self, now: float) -> None:
        """Forget who has sent nothing for so long that the bucket is full again."""
        for name in [name for name, each in self._buckets.items() if now - each.seen > FULL_SECONDS]:
            del self._buckets[name]
