"""What strangers leave in quarantine: what no key has signed that counts, and so anybody could send.

It is kept for people to look at: a gateway that was not enrolled, a device with an old program. But whoever
reaches the bus could fill the disk with it. So its oldest go, by age, and by number and bytes of each
sender's name and of all together. What a known key has signed never goes so: envelopes that wait for their
predecessors, forks.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from ledger.batch import QuarantineRow

STRANGE = frozenset(
    {"malformed", "not-canonical", "not-permitted", "unknown-device", "key-revoked", "bad-signature"}
)
"""Refusals of what anybody could have sent; the store knows them too (migration 0018)."""


class Bounds(NamedTuple):
    """How much of it is kept."""

    age: timedelta
    sender_messages: int
    sender_bytes: int
    messages: int
    bytes: int


BOUNDS = Bounds(timedelta(days=90), 500, 16 * 2**20, 10_000, 256 * 2**20)
LOOK_AFTER_MESSAGES = 100
LOOK_AFTER_BYTES = 16 * 2**20
LOOK_EVERY = timedelta(hours=1)
RETRY_AFTER = timedelta(minutes=1)
DROPPED_AT_ONCE = 2_000
"""So many go at once, as envelopes wait meanwhile."""


class Strangers:
    """Tells when to look whether it is too much: what came since may have made it so, or time."""

    def __init__(self) -> None:
        self._messages = 0
        self._bytes = 0
        self._looked_at: datetime | None = None
        self._failed_at: datetime | None = None

    def note(self, rows: Iterable[QuarantineRow]) -> None:
        """These went into quarantine."""
        for _, _, code, _, _, _, _, message, _ in rows:
            if code in STRANGE:
                self._messages += 1
                self._bytes += len(message)

    def is_due(self, now: datetime) -> bool:
        """Whether to look."""
        if self._failed_at is not None and now - self._failed_at < RETRY_AFTER:
            return False
        return (
            self._looked_at is None
            or now - self._looked_at >= LOOK_EVERY
            or self._messages >= LOOK_AFTER_MESSAGES
            or self._bytes >= LOOK_AFTER_BYTES
        )

    def looked(self, now: datetime) -> None:
        """It was looked at, and is not too much."""
        self._messages, self._bytes, self._looked_at, self._failed_at = 0, 0, now, None

    def failed(self, now: datetime) -> None:
        """It could not be looked at: the store would be no better off for being asked at once."""
        self._failed_at = now
