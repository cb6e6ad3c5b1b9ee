"""When a delivery that failed is tried again: after 5 s, 15 s, 45 s, .. 12 h, for three days."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from random import Random

FIRST_DELAY = timedelta(seconds=5)
FACTOR = 3
DELAY_MAX = timedelta(hours=12)
SPAN = timedelta(days=3)
"""From the first try to the last."""
JITTER_PERCENT = 20
"""So much sooner or later, so that what failed together does not come back together."""


def again_at(tries: int, begun_at: datetime, now: datetime, random: Random) -> datetime | None:
    """When to try after so many tries, of which the first was at an instant; none where that was long ago."""
    if now - begun_at >= SPAN:
        return None
    delay = min(FIRST_DELAY * int(FACTOR ** min(tries - 1, 20)), DELAY_MAX)
    percent = random.randint(100 - JITTER_PERCENT, 100 + JITTER_PERCENT)
    return min(now + delay * percent / 100, max(begun_at + SPAN, now + FIRST_DELAY))


def asked_for(headers: Mapping[str, str], now: datetime) -> datetime | None:
    """Before when a receiver wants nothing (RFC 9110, section 10.2.3), if it told so in seconds."""
    told = headers.get("retry-after", "").strip()
    if not (told.isascii() and told.isdigit()) or len(told) > 9:
        return None
    return now + min(timedelta(seconds=int(told)), DELAY_MAX)
