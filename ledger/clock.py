"""The only file that looks at the clock.

Everything that depends on time is given a `Clock`, so that a month can be lived through in seconds
and a test can stand at any instant. Instants are aware datetimes in UTC; on the wire they are
RFC 3339 with `Z` and whole seconds.
"""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What time it is, and how to wait for a later one."""

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""

    async def sleep_until(self, instant: datetime) -> None:
        """Return once `now()` is at or past `instant`; at once if it already is."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep_until(self, instant: datetime) -> None:
        # Slept in slices: a step of the wall clock (NTP, suspend) is noticed within a minute.
        while (left := (instant - self.now()).total_seconds()) > 0:
            await asyncio.sleep(min(left, 60.0))


class VirtualClock:
    """A clock that jumps: waiting for an instant makes it that instant, without delay."""

    def __init__(self, start: datetime) -> None:
        self._now = start

    def now(self) -> datetime:
        return self._now

    async def sleep_until(self, instant: datetime) -> None:
        self._now = max(self._now, instant)
        await asyncio.sleep(0)

    def advance(self, by: timedelta) -> None:
        """Move forward by `by`."""
        self._now += by


def monotonic_seconds() -> float:
    """Seconds of a clock that never steps, for durations and time-outs only."""
    return time.monotonic()


def rfc3339(instant: datetime) -> str:
    """`2026-06-01T00:15:00Z`: UTC, whole seconds, the form of every instant in the book."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_rfc3339(text: str) -> datetime:
    """The instant written in `text`; `ValueError` unless it is the exact form `rfc3339` writes."""
    instant = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    if rfc3339(instant) != text:
        raise ValueError(f"{text!r} is not an instant of the form 2026-06-01T00:15:00Z")
    return instant
