"""What holds of the energy of intervals, whatever the readings are and however they come."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count, pairwise
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from ledger.canonical import encode
from ledger.community_projector import VERSION, CommunityProjector
from ledger.embedded import EmbeddedPostgres
from ledger.event import Event
from ledger.events import MeterRead, RegisterEpochOpened
from ledger.gap import GAP_SECONDS_MAX
from ledger.postgres import PostgresSettings
from ledger.postgres.projection import ProjectionStore
from ledger.registry import OPERATOR
from tests.support.campus import GATEWAY, SALT, Campus
from tests.support.meter import FoldedMeter, at
from tests.support.store import migrated, owner

QUARTER = 900
START = at("10:00")
RATED_W = 10_000
QUARTER_MAX_WH = RATED_W * 12 // 10 // 4
"""What the connection can carry in a quarter of an hour, with its margin and without any slack."""


class Given(NamedTuple):
    """A reading to be taken: its quarter, the seconds beside it, its registers and its quality."""

    quarter: int
    jitter: int
    import_wh: int
    export_wh: int
    estimated: bool = False
    serial: str | None = None


class Opened(NamedTuple):
    """An operator's word that registers start anew from a quarter on."""

    quarter: int
    modulus_wh: int | None


ENERGIES = st.tuples(st.integers(0, QUARTER_MAX_WH), st.integers(0, QUARTER_MAX_WH))
STEPS = st.tuples(st.integers(1, 12), st.integers(-90, 90), ENERGIES)
"""Quarters since the last reading, seconds beside the boundary, and the energies of every one of them."""


def series_of(steps: list[tuple[int, int, tuple[int, int]]]) -> list[Given]:
    """Plausible registers: never back, never more than the connection can carry."""
    quarter, import_wh, export_wh = 0, 5_000, 300
    readings = [Given(0, 0, import_wh, export_wh)]
    for quarters, jitter, (imported, exported) in steps:
        quarter += quarters
        import_wh, export_wh = import_wh + imported * quarters, export_wh + exported * quarters
        readings.append(Given(quarter, jitter, import_wh, export_wh))
    return readings


SERIES = st.lists(STEPS, max_size=30).map(series_of)


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[Given], list[Given]]:
    """A series, and the same readings in disorder with some of them twice."""
    series = draw(SERIES)
    again = draw(st.lists(st.sampled_from(series), max_size=10))
    return series, draw(st.permutations([*series, *again]))


ANYTHING = st.lists(
    st.builds(
        Given,
        st.integers(0, 40),
        st.integers(-120, 120),
        st.integers(0, 30) | st.integers(0, 40_000),
        st.integers(0, 30) | st.just(0),
        st.booleans(),
        st.sampled_from([None, None, None, "old", "new"]),
    )
    | st.builds(Opened, st.integers(0, 40), st.none() | st.integers(1, 45_000)),
    max_size=40,
)


GAPS_MAX = st.sampled_from([GAP_SECONDS_MAX, 9 * QUARTER, QUARTER])


@contextmanager
def longest_gap(seconds: int) -> Iterator[None]:
    """The bound of what is a gap."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ledger.gap.GAP_SECONDS_MAX", seconds)
        yield


def folded(readings: Sequence[Given | Opened], *, position: int = 0) -> FoldedMeter:
    """The meter after all these readings."""
    meter = FoldedMeter(rated_w=RATED_W, position=position)
    for reading in readings:
        if isinstance(reading, Opened):
            meter.open_epoch(START + QUARTER * reading.quarter, reading.modulus_wh)
            continue
        meter.read(
            START + QUARTER * reading.quarter + reading.jitter,
            reading.import_wh,
            reading.export_wh,
            estimated=reading.estimated,
            serial=reading.serial,
        )
    return meter


def story(meter: FoldedMeter) -> list[tuple[int, int, int, int, int, str, str]]:
    """The intervals without the positions of the readings that decided them."""
    return [
        (
            interval.start, interval.import_wh, interval.export_wh, interval.import_register_wh,
            interval.export_register_wh, interval.end_quality, interval.quality,
        )
        for interval in meter.intervals
    ]  # fmt: skip


@given(deliveries())
def test_plausible_readings_in_any_order_sum_to_the_registers_difference(
    delivered: tuple[list[Given], list[Given]],
) -> None:
    series, arrivals = delivered
    meter = folded(arrivals)
    first, last = series[0], series[-1]
    assert sum(meter.imports) == last.import_wh - first.import_wh
    assert sum(meter.exports) == last.export_wh - first.export_wh
    assert [interval.start for interval in meter.intervals] == [
        START + QUARTER * quarter for quarter in range(last.quarter)
    ]


@given(deliveries())
def test_the_order_of_arrival_leaves_no_trace(delivered: tuple[list[Given], list[Given]]) -> None:
    series, arrivals = delivered
    assert story(folded(arrivals)) == story(folded(series))


@given(st.lists(ENERGIES, max_size=40), st.lists(st.integers(-90, 90), min_size=41, max_size=41))
def test_a_complete_series_in_order_is_measured_throughout(
    energies: list[tuple[int, int]], jitters: list[int]
) -> None:
    meter = folded(
        series_of([(1, jitter, energy) for energy, jitter in zip(energies, jitters, strict=False)])
    )
    assert list(zip(meter.imports, meter.exports, strict=True)) == energies
    assert meter.qualities == "m" * len(energies)


@settings(max_examples=300)
@given(ANYTHING, GAPS_MAX)
def test_any_readings_at_all_give_every_epoch_exactly_what_its_registers_say(
    readings: list[Given | Opened], gap_max: int
) -> None:
    with longest_gap(gap_max):
        meter = folded(readings)
    assert all(energy >= 0 for energy in [*meter.imports, *meter.exports])
    opened = [aside for aside in meter.asides if aside.verdict == "opened"]
    for epoch in {interval.epoch for interval in meter.intervals}:
        intervals = [interval for interval in meter.intervals if interval.epoch == epoch]
        assert all(before.start + QUARTER == after.start for before, after in pairwise(intervals))
        first = min((a for a in opened if a.epoch == epoch), key=lambda a: (a.at, a.quality == "estimated"))
        last = intervals[-1]
        assert first.at == intervals[0].start
        assert sum(i.import_wh for i in intervals) == last.import_register_wh - first.import_wh
        assert sum(i.export_wh for i in intervals) == last.export_register_wh - first.export_wh
        assert last.end_quality != "spread"


# --- the same through the store ------------------------------------------------------------------------


_numbers = count(1)


@pytest.fixture(scope="module")
async def store(postgres_server: EmbeddedPostgres) -> AsyncIterator[PostgresSettings]:
    """A database in which every example has communities of its own."""
    yield await migrated(await postgres_server.create_database("energy"))
    await postgres_server.drop_database("energy")


def _instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _event(told: Given | Opened) -> tuple[str, str, Event]:
    """What is told, as an event of the meter m-0: who signs it, in which stream, and itself."""
    if isinstance(told, Opened):
        since = _instant(START + QUARTER * told.quarter)
        opened = RegisterEpochOpened(
            meter="m-0",
            since=since,
            reason="rollover" if told.modulus_wh else "replacement",
            modulus_wh=told.modulus_wh,
        )
        return OPERATOR, "registry", opened
    event = MeterRead(
        import_wh=told.import_wh,
        export_wh=told.export_wh,
        measured_at=_instant(START + QUARTER * told.quarter + told.jitter),
        quality="estimated" if told.estimated else "measured",
        salt=SALT,
        serial=told.serial,
    )
    return GATEWAY, "meter/m-0", event


async def _projected(
    store: PostgresSettings, told: Sequence[Given | Opened], pages: list[int]
) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of a community of its own that was told all this, without the community's name."""
    campus = Campus(f"campus-{next(_numbers)}", rated_w=RATED_W)
    writer = await campus.opened(store)
    envelopes = [
        (device, campus.envelope(device, {stream: [event]})) for device, stream, event in map(_event, told)
    ]
    await writer.book.record([writer.book.examine(*envelope) for envelope in envelopes])
    await campus.close()
    into = await ProjectionStore.open(store)
    await into.prepare_live(VERSION)
    projector, number = CommunityProjector(campus.community, into), 0
    while await projector.step(pages[number % len(pages)]):
        number += 1
    await into.close()
    found = {}
    async with owner(store) as connection:
        for table in ("meter_intervals", "readings_aside", "meter_states"):
            rows = await connection.fetch(
                f"SELECT * FROM projection.{table} WHERE community = $1",  # noqa: S608 - our own names
                campus.community,
            )
            found[table] = sorted(tuple(row)[1:] for row in rows)
    return found


SHAPED_DAY = [Given(quarter, 0, 5_000 + quarter * quarter, 300) for quarter in range(97)]
LATE_NIGHT = [Given(quarter, 0, 5_000 + 40 * quarter, 300) for quarter in (200, 150, 175, 98, 99, 140)]
METER_CHANGED = [
    Given(0, 0, 5_000, 300, serial="old"),
    Given(0, 10, 100, 0, serial="new"),
    Given(4, 0, 500, 0),
    Given(2, 0, 300, 0),
]


@settings(
    max_examples=15,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # what is found is told before the time is up
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@example([*SHAPED_DAY, Given(108, 0, 20_000, 300)], [7], GAP_SECONDS_MAX)  # in the shape of the day before
@example([*SHAPED_DAY[::2], *LATE_NIGHT, *SHAPED_DAY[1::2], *LATE_NIGHT], [1, 3], GAP_SECONDS_MAX)  # divided
@example([*SHAPED_DAY[::2], *LATE_NIGHT, *SHAPED_DAY[1::2], *LATE_NIGHT], [1, 3], 9 * QUARTER)  # too long
@example(METER_CHANGED, [1], GAP_SECONDS_MAX)  # two epochs that begin at one boundary
@given(ANYTHING, st.lists(st.integers(1, 9), min_size=1, max_size=4), GAPS_MAX)
async def test_the_store_and_any_pages_give_what_the_rules_give_in_memory(
    store: PostgresSettings, told: list[Given | Opened], pages: list[int], gap_max: int
) -> None:
    with longest_gap(gap_max):
        whole = await _projected(store, told, [10_000])
        assert await _projected(store, told, pages) == whole
        meter = folded(told, position=1 + len(Campus("any").facts()))
    assert whole["meter_intervals"] == [
        ("m-0", _instant(interval.start), *msgspec.structs.astuple(interval)[1:])
        for interval in meter.intervals
    ]
    assert whole["readings_aside"] == sorted(
        ("m-0", aside.position, _instant(aside.at), *aside[2:]) for aside in meter.asides
    )
    assert whole["meter_states"] == ([("m-0", encode(meter.state))] if told else [])
