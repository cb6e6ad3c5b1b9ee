"""The boundaries of a community's intervals, and which of them a reading tells the registers of."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ledger.errors import BadInput
from ledger.events import CommunityOpened

_OFFSET_AT = datetime(2026, 1, 1, tzinfo=UTC)


class UnknownZone(BadInput):
    """There is no such time zone."""

    code = "unknown-zone"


class Grid:
    """The boundaries of a community's intervals: every `step` seconds, on the local hour.

    Raises `UnknownZone`.
    """

    def __init__(self, interval_minutes: int, zone: str) -> None:
        self.step = interval_minutes * 60
        try:
            self.zone = ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise UnknownZone(
                f"there is no time zone {zone!r}", hint="IANA names are meant, such as Asia/Bangkok"
            ) from error
        # Zones of +5:30 or +5:45: an hour or half an hour begins where the clock on the wall says. One offset
        # counts for all time, so that intervals neither overlap nor leave a gap where the clocks are changed
        # by less than an interval.
        local = self.zone.utcoffset(_OFFSET_AT) or timedelta()
        self.offset = -(local // timedelta(seconds=1)) % self.step
        self._snap = self.step // 10

    @classmethod
    def of(cls, opened: CommunityOpened) -> "Grid":
        """The grid that the community was opened with."""
        return cls(opened.interval_minutes, opened.zone)

    def boundary(self, at: int) -> int | None:
        """The boundary that a reading taken at `at` tells the registers of; None between boundaries."""
        past = (at - self.offset) % self.step
        if past <= self._snap:
            return at - past
        if self.step - past <= self._snap:
            return at - past + self.step
        return None

    def floor(self, instant: datetime) -> datetime:
        """The start of the interval that an instant lies in."""
        at = int(instant.timestamp())
        return datetime.fromtimestamp(at - (at - self.offset) % self.step, UTC)

    def like_instant(self, at: int, days_back: int) -> int:
        """The same wall-clock time `days_back` local days earlier."""
        local = datetime.fromtimestamp(at, self.zone)
        return int(
            (local.replace(tzinfo=None) - timedelta(days=days_back)).replace(tzinfo=self.zone).timestamp()
        )
