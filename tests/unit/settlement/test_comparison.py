"""A period of the book under other rules: what changes is what was asked for, and all count the same."""

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ledger.canonical import encode
from ledger.errors import BadInput
from ledger.events import BuildingAdded, FeederAdded
from ledger.market_events import MarketRulesPublished, TariffPublished
from ledger.postgres.settlement import Energy
from ledger.recorded import RecordedEvent
from settlement.book_state import BookState
from settlement.comparison import Change, Comparison, as_published, by_file, by_mechanism, compare
from settlement.comparison_commands import (
    NOT_COUNTED,
    RESULT,
    Answer,
    Asked,
    as_json,
    print_answer,
    write_answer,
)
from settlement.mechanisms import MECHANISMS
from tests.support.campus import MORNING, QUARTER, Campus
from tests.support.plain_files import rules
from tests.support.trading import FLAT

WHEELING = """
[[wheeling]]
from = "f-1"
to = "f-2"
fee_micro_per_kwh = 100_000
"""


class Source:
    """A book in memory: b-1 gives 6 kWh in the first interval and 2 in the second, b-2 takes 2 and 3."""

    def __init__(self, begin: datetime | None) -> None:
        campus = Campus("campus")
        facts: list[Any] = [
            campus.opening(), *campus.facts(), FeederAdded(feeder="f-2", name=""),
            BuildingAdded(building="b-2", feeder="f-2", name=""),
            TariffPublished(tariff="flat", document=FLAT),
        ]  # fmt: skip
        if begin is not None:
            facts.append(
                MarketRulesPublished(
                    begin=begin, mechanism="mid_market_rate", tariff="flat", gate_minutes=0, final_days=7
                )
            )
        self.rows = [
            RecordedEvent(number, "registry", number + 1, encode(fact)) for number, fact in enumerate(facts)
        ]

    async def events(self, community: str, begin: int, end: int) -> Sequence[RecordedEvent]:
        return self.rows[begin:end]

    async def energies(
        self, community: str, begin: datetime, until: datetime
    ) -> Mapping[datetime, Sequence[Energy]]:
        metered: dict[datetime, Sequence[Energy]] = {
            MORNING: [("b-1", 0, 6_000), ("b-2", 2_000, 0)],
            MORNING + QUARTER: [("b-1", 0, 2_000), ("b-2", 3_000, 0)],
        }
        return {start: rows for start, rows in metered.items() if begin <= start < until}

    async def deliveries(
        self, community: str, begin: datetime, until: datetime
    ) -> Mapping[datetime, tuple[int, int]]:
        return {}


async def opened(begin: datetime | None = MORNING) -> BookState:
    source = Source(begin)
    book = BookState("campus", source)
    await book.follow(len(source.rows))
    return book


async def compared(book: BookState, **changes: Change) -> Comparison:
    return await compare(book, changes, MORNING - 40 * QUARTER, MORNING + timedelta(days=3))


def costs(found: Comparison, name: str) -> list[int]:
    return [row.cost_micro for row in found.ways[name].standings.rows()]


async def test_every_mechanism_counts_the_same_energy_beside_the_published_one() -> None:
    book = await opened()
    others = {name: by_mechanism(name) for name in MECHANISMS}
    found = await compared(book, published=as_published, **others)
    assert (found.intervals, found.without_rules) == (2, 0)
    assert costs(found, "published") == costs(found, "mid_market_rate") == [-20_000_000, 16_000_000]
    for way in found.ways.values():
        total = way.standings.total()
        assert (total.import_milliwh, total.export_milliwh) == (5_000_000, 8_000_000)
        assert total.cost_micro == -4_000_000, "what the grid is paid does not depend on who trades with whom"


async def test_intervals_before_the_first_rules_are_left_out_under_all() -> None:
    book = await opened(MORNING + QUARTER)
    found = await compared(book, published=as_published, other=by_mechanism("uniform_price"))
    assert (found.intervals, found.without_rules) == (1, 1)


async def test_rules_of_a_file_have_their_own_prices_and_ways_on_the_books_feeders(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(rules(more=WHEELING, retail_micro_per_kwh=5_000_000, operator_fee_micro_per_kwh=10_000))
    book = await opened()
    (seller, buyer) = (
        (await compared(book, other=by_file(path, book.registry))).ways["other"].standings.rows()
    )
    assert buyer.cost_without_market_micro == 25_000_000
    assert buyer.fees_micro == 440_000, "4 kWh at 0.10 for the way and 0.01 for the operator"
    assert seller.sold_milliwh == 4_000_000


async def test_rules_of_a_file_need_no_published_ones(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(rules("uniform_price"))
    book = await opened(None)
    found = await compared(book, other=by_file(path, book.registry))
    assert (found.intervals, found.ways["other"].trades) == (2, 2)


WRONG = {
    "another interval": (rules(interval_minutes=5), "rules-invalid", "line 2"),
    "another currency": (rules(currency='"EUR"'), "rules-invalid", "line 3"),
    "a column": (rules(retail_micro_per_kwh='"price"'), "rules-invalid", "line 4"),
    "no such building": (rules(more='[buildings.b-9]\nfeeder = "f-1"'), "unknown-building", "buildings.b-9"),
    "a key of nobody": (
        rules("sharing_key", more='[parameters]\nkind = "static"\nkeys = { b-9 = 1 }'),
        "unknown-building",
        "b-9",
    ),
    "no such feeder": (rules(more=WHEELING.replace("f-2", "f-3")), "rules-invalid", "wheeling[0]"),
    "no such tariff": (
        rules(retail_micro_per_kwh=None, feed_in_micro_per_kwh=None, tariff='"x"'),
        "unknown-tariff", "tariff",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
async def test_rules_that_do_not_fit_the_book_are_told_with_their_place(tmp_path: Path, what: str) -> None:
    text, code, place = WRONG[what]
    path = tmp_path / "rules.toml"
    path.write_text(text)
    registry = (await opened()).registry
    with pytest.raises(BadInput) as caught:
        by_file(path, registry)
    assert caught.value.code == code
    assert str(path) in caught.value.where
    assert place in caught.value.where


async def answer() -> Answer:
    book = await opened()
    found = await compared(
        book, **{"as published": as_published}, **{name: by_mechanism(name) for name in MECHANISMS}
    )
    asked = Asked(date(2026, 6, 1), date(2026, 6, 4), (), tuple(MECHANISMS))
    return Answer(asked, "THB", found, 288)


async def test_the_tables_fit_80_columns_and_name_all_rules() -> None:
    shown = io.StringIO()
    print_answer(Console(file=shown, width=80, highlight=False), await answer())
    lines = shown.getvalue().splitlines()
    assert all(len(line) <= 80 for line in lines)
    for number, name in enumerate(["as published", *MECHANISMS], 1):
        assert f"{number}  {name}" in lines
    assert lines[0] == "1  as published (mid_market_rate): 2 trades"
    assert "2 intervals from 2026-06-01 to before 2026-06-04." in shown.getvalue()


async def test_json_and_csv_have_every_building_under_every_rules(tmp_path: Path) -> None:
    found = await answer()
    write_answer(tmp_path / "out", found)
    with (tmp_path / "out" / RESULT).open(newline="") as file:
        rows = list(csv.DictReader(file))
    told: Any = as_json(found)
    assert len(rows) == 2 * len(told["rules"]) == 2 * (1 + len(MECHANISMS))
    for row in rows:
        assert row["cost_micro"] == str(
            told["rules"][row["rules"]]["buildings"][row["building"]]["cost_micro"]
        )
    assert told["notes"] == ["the book has no energy of 286 of the period's 288 intervals", NOT_COUNTED]
