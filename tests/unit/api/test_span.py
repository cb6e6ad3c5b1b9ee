"""The span of time that a list is asked for."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from api.http.span import BadInstant, BadSpan, Span, span_of
from ledger.clock import rfc3339

BANGKOK = ZoneInfo("Asia/Bangkok")
NOW = datetime(2026, 6, 1, 18, tzinfo=UTC)  # the second of June on the campus


def at(day: int, hour: int) -> datetime:
    return datetime(2026, 6, day, hour, tzinfo=UTC)


@pytest.mark.parametrize(
    ("begin", "until", "span"),
    [
        (None, None, (at(1, 17), at(2, 17))),
        (at(3, 5), None, (at(3, 5), at(3, 17))),
        (None, at(3, 5), (at(2, 17), at(3, 5))),
        (None, at(2, 17), (at(1, 17), at(2, 17))),
        (at(1, 1), at(3, 2), (at(1, 1), at(3, 2))),
    ],
)
def test_what_is_left_out_is_the_local_day_of_the_rest(
    begin: datetime | None, until: datetime | None, span: tuple[datetime, datetime]
) -> None:
    first, last = (rfc3339(each) if each else None for each in (begin, until))
    assert span_of(first, last, BANGKOK, NOW) == Span(*span)


def test_a_local_day_may_have_23_hours() -> None:
    span = span_of("2026-03-29T00:00:00+01:00", None, ZoneInfo("Europe/Berlin"), NOW)
    assert (span.until - span.begin).total_seconds() == 23 * 3600


@pytest.mark.parametrize(
    "text",
    [
        "", "2026-06-01", "2026-06-01T00:00:00", "2026-06-01T00:00:00 07:00", "1780272000", "now",
        "2026-06-31T00:00:00Z", "1969-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-12:00", "3000-01-01T00:00:00Z", "2026-06-01T00:00:00Z\x00",
    ],
)  # fmt: skip
def test_what_is_no_instant_is_refused_by_name(text: str) -> None:
    with pytest.raises(BadInstant, match="begin"):
        span_of(text, None, BANGKOK, NOW)
    with pytest.raises(BadInstant, match="until"):
        span_of(None, text, BANGKOK, NOW)


@pytest.mark.parametrize(
    ("begin", "until"),
    [
        ("2026-06-02T00:00:00Z", "2026-06-01T00:00:00Z"),
        ("2026-06-01T07:00:00+07:00", "2026-06-01T00:00:00Z"),
        ("2026-01-01T00:00:00Z", "2027-01-02T00:00:01Z"),
    ],
)
def test_a_span_that_is_empty_or_longer_than_a_year_is_refused(begin: str, until: str) -> None:
    with pytest.raises(BadSpan):
        span_of(begin, until, BANGKOK, NOW)


def test_a_leap_year_is_no_longer_than_a_span_may_be() -> None:
    span = span_of("2028-01-01T00:00:00+07:00", "2029-01-01T00:00:00+07:00", BANGKOK, NOW)
    assert (span.until - span.begin).days == 366


@pytest.mark.parametrize(("begin", "until"), [("1970-01-01T00:00:00Z", None), (None, "2999-12-31T23:59:59Z")])
def test_the_ends_of_the_calendar_are_within_reach(begin: str | None, until: str | None) -> None:
    for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):
        assert span_of(begin, until, ZoneInfo(zone), NOW)
