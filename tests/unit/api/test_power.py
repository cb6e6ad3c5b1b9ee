"""The power of a building: what is known of its meters, summed as far as it can be."""

from datetime import UTC, datetime, timedelta
from typing import Any

from api.http.power_shapes import building_power
from ledger.events import MeterRead
from ledger.postgres.power import PowerRow

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
STEP = timedelta(minutes=15)


def reading(at: datetime, power_w: int) -> MeterRead:
    return MeterRead(
        import_wh=0, export_wh=0, measured_at=at, quality="measured", salt="A" * 16, power_w=power_w
    )


def meter(name: str, power_w: int | None = None, at: datetime = NOON, **changed: Any) -> PowerRow:
    """A meter that took 250 Wh in the interval before noon."""
    row = PowerRow(name, "connection", None, NOON - STEP, 250, 0, "measured")
    if power_w is not None:
        row = row._replace(reading=reading(at, power_w))
    return row._replace(**changed)


def test_an_interval_is_told_as_the_average_that_it_is() -> None:
    found = building_power("b", [meter("m-1"), meter("m-2", import_wh=0, export_wh=1)], STEP, NOON)
    powers = [each.power for each in found.meters if each.power is not None]
    assert [(each.power_w, each.kind) for each in powers] == [
        (1_000, "interval-average"), (-4, "interval-average"),
    ]  # fmt: skip
    assert found.total is not None
    assert (found.total.power_w, found.total.since, found.total.until) == (996, NOON - STEP, NOON)


def test_the_meters_own_word_counts_unless_an_interval_is_newer() -> None:
    def told(at: datetime) -> tuple[int, str]:
        (found,) = building_power("b", [meter("m-1", 77, at)], STEP, NOON).meters
        assert found.power is not None
        return found.power.power_w, found.power.kind

    assert told(NOON) == told(NOON + STEP) == (77, "instantaneous")
    assert told(NOON - STEP) == (1_000, "interval-average")


def test_a_total_is_none_where_a_connection_meter_is_silent_and_leaves_others_out() -> None:
    silent = meter("m-2", start=None, import_wh=None, export_wh=None, quality=None)
    assert building_power("b", [meter("m-1"), silent], STEP, NOON).total is None
    assert building_power("b", [], STEP, NOON).total is None
    alone = building_power("b", [meter("m-1"), silent._replace(role="sub")], STEP, NOON)
    assert alone.total is not None
    assert alone.total.power_w == 1_000


def test_what_is_summed_of_both_kinds_or_instants_is_an_average() -> None:
    def kind(*rows: PowerRow) -> str:
        total = building_power("b", rows, STEP, NOON).total
        assert total is not None
        return total.kind

    assert kind(meter("m-1", 5), meter("m-2", 6)) == "instantaneous"
    assert kind(meter("m-1", 5), meter("m-2")) == "interval-average"
    assert kind(meter("m-1", 5), meter("m-2", 6, NOON + STEP)) == "interval-average"


def test_what_is_older_than_two_intervals_is_stale() -> None:
    for late, stale in ((2 * STEP, False), (2 * STEP + timedelta(seconds=1), True)):
        total = building_power("b", [meter("m-1")], STEP, NOON + late).total
        assert total is not None
        assert (total.stale, total.age_seconds) == (stale, late.total_seconds())
