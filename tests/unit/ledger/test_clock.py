"""The clocks, and the one form of an instant."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.clock import SystemClock, VirtualClock, monotonic_seconds, parse_rfc3339, rfc3339

MORNING = datetime(2026, 6, 1, tzinfo=UTC)


@given(st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 31)))
def test_an_instant_is_read_back_as_it_was_written_in_whole_seconds(instant: datetime) -> None:
    aware = instant.replace(microsecond=0, tzinfo=UTC)
    assert parse_rfc3339(rfc3339(aware)) == aware


def test_an_instant_is_written_in_utc() -> None:
    bangkok = timezone(timedelta(hours=7))
    assert rfc3339(datetime(2026, 6, 1, 7, 15, 30, 999, tzinfo=bangkok)) == "2026-06-01T00:15:30Z"


@pytest.mark.parametrize(
    "text",
    [
        "2026-06-01T00:15:00",
        "2026-06-01T00:15:00+00:00",
        "2026-06-01 00:15:00Z",
        "2026-06-01T00:15:00.5Z",
        "2026-6-1T0:15:0Z",
        "2026-06-01t00:15:00z",
        "2026-02-30T00:00:00Z",
        "2026-06-01T24:00:00Z",
        "2026-06-01T00:15:00Z\n",
        "٢٠٢٦-06-01T00:15:00Z",
        "",
    ],
)
def test_any_other_form_of_an_instant_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"2026|match|unconverted|day|range"):
        parse_rfc3339(text)


async def test_the_system_clock_waits_for_an_instant_and_not_for_one_that_has_passed() -> None:
    clock = SystemClock()
    before = monotonic_seconds()
    await clock.sleep_until(clock.now() - timedelta(days=1))
    assert monotonic_seconds() - before < 0.05
    instant = clock.now() + timedelta(milliseconds=60)
    await clock.sleep_until(instant)
    assert clock.now() >= instant
    assert clock.now().tzinfo is UTC


async def test_a_virtual_clock_jumps_to_what_is_waited_for_and_never_back() -> None:
    clock = VirtualClock(MORNING)
    await clock.sleep_until(MORNING + timedelta(days=30))
    assert clock.now() == MORNING + timedelta(days=30)
    await clock.sleep_until(MORNING)
    clock.advance(timedelta(seconds=5))
    assert clock.now() == MORNING + timedelta(days=30, seconds=5)


async def test_waiting_on_a_virtual_clock_lets_others_run() -> None:
    clock, seen = VirtualClock(MORNING), []

    async def other() -> None:
        seen.append(clock.now())

    task = asyncio.create_task(other())
    await clock.sleep_until(MORNING + timedelta(hours=1))
    await clock.sleep_until(MORNING + timedelta(hours=2))
    await task
    assert seen
