"""`energy-ledger what-if` on the book: a past period under other rules, beside the published ones."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from ledger.book_commands import book_settings
from ledger.command_line import run
from ledger.errors import BadInput
from ledger.events import YEAR_MAX, YEAR_MIN
from ledger.postgres.settlement import SettlementStore
from ledger.registry import Registry
from ledger.settings import Settings
from ledger.words import counted
from settlement.book_state import BookState
from settlement.comparison import Change, Comparison, as_published, by_file, by_mechanism, compare
from settlement.month import midnight
from settlement.plain.rows import Told
from settlement.plain.shown import BUILDINGS_MAX, LEGEND, amounts, print_standings, print_table
from settlement.plain.writing import csv_files
from settlement.standing import Standing

PUBLISHED = "as published"
RESULT = "comparison.csv"
NOT_COUNTED = "losses on the campus, its demand and fixed charges, and taxes are not in these figures"
COLUMNS_MAX = 4
"""Columns of amounts that fit beside the buildings' names."""


class NothingToCompare(BadInput):
    """The book has no energy of the period, or no rules that a mechanism could be changed in."""

    code = "nothing-to-compare"


@dataclass(frozen=True)
class Asked:
    """What is asked: local days from `begin` to before `until`, and the rules to be tried."""

    begin: date
    until: date
    rules: Sequence[Path]
    mechanisms: Sequence[str]


@dataclass(frozen=True)
class Answer:
    """What came out."""

    asked: Asked
    currency: str
    found: Comparison
    intervals_max: int

    def notes(self) -> Iterator[str]:
        """What a reader should know, each a sentence without a stop."""
        if self.found.without_rules:
            yield (
                f"{counted(self.found.without_rules, 'interval')} left out: no rules were published for them"
            )
        if (missing := self.intervals_max - self.found.intervals - self.found.without_rules) > 0:
            yield f"the book has no energy of {missing:,} of the period's {self.intervals_max:,} intervals"
        yield NOT_COUNTED
        yield from sorted(self.found.notes)


def what_if_on_book(config: Path, asked: Asked, told: Told) -> Answer:
    """Settle a period of the book under other rules. Raises `NothingToCompare` and what rules can lack."""
    return run(compared_on_book(book_settings(config), asked, told))


async def compared_on_book(settings: Settings, asked: Asked, told: Told = lambda what, done: None) -> Answer:
    """The same by the settings themselves; `told` hears how many intervals are settled."""
    community = settings.community.id
    _check_days(asked)
    async with (
        await SettlementStore.open(settings.postgres) as store,
        store.transaction(community) as size,
    ):
        book = BookState(community, store)
        await book.follow(size)
        begin, until = _span(asked, book)
        changes = _changes(asked, book.registry, until)
        intervals_max = (until - begin) // book.step
        begin, until = await known_span(store, book, asked)
        found = await compare(book, changes, begin, until, told)
    if not found.intervals:
        raise _nothing(asked, community)
    return Answer(asked, settings.community.currency, found, intervals_max)


async def known_span(store: SettlementStore, book: BookState, asked: Asked) -> tuple[datetime, datetime]:
    """The part of a period that the book has energy of: to ask it for the other days takes as long.

    Raises `NothingToCompare` where there is none, and where no rules were published to try mechanisms in.
    """
    begin, until = _span(asked, book)
    if asked.mechanisms and not _is_published(book.registry, until):
        raise NothingToCompare(
            "no rules were published for this period, in which another mechanism could be tried",
            where="--mechanism",
            hint="tell all rules in a file: --rules RULES.toml",
        )
    first, newest = await store.energy_span(book.community) or (until, begin)
    begin, until = max(begin, first), min(until, newest + book.step)
    if begin >= until:
        raise _nothing(asked, book.community)
    return begin, until


def _span(asked: Asked, book: BookState) -> tuple[datetime, datetime]:
    return midnight(asked.begin, book.grid.zone), midnight(asked.until, book.grid.zone)


def _nothing(asked: Asked, community: str) -> NothingToCompare:
    return NothingToCompare(
        f"the book has no energy from {asked.begin} to {asked.until} that rules held for",
        where=community,
        hint="`energy-ledger status` shows since when meters are read",
    )


def _check_days(asked: Asked) -> None:
    """Return if a book may know of the days. Raises `NothingToCompare`."""
    for where, day in (("begin", asked.begin), ("until", asked.until)):
        if not YEAR_MIN < day.year < YEAR_MAX:
            raise NothingToCompare(
                f"no book has anything of {day}",
                where=where,
                hint=f"a day between the years {YEAR_MIN} and {YEAR_MAX} is meant, such as 2026-06-01",
            )


def _changes(asked: Asked, registry: Registry, until: datetime) -> dict[str, Change]:
    """What was published, where anything was, and what is to be tried beside it."""
    changes: dict[str, Change] = {PUBLISHED: as_published} if _is_published(registry, until) else {}
    changes |= {name: by_mechanism(name) for name in asked.mechanisms}
    for path in asked.rules:
        changes[path.name if path.name not in changes else str(path)] = by_file(path, registry)
    return changes


def _is_published(registry: Registry, until: datetime) -> bool:
    rules = registry.market.rules
    return bool(rules) and rules[0].begin < until


# --- what is shown -----------------------------------------------------------------------------------


def print_answer(out: Console, answer: Answer) -> None:
    """A table for each set of rules, then who pays what under each."""
    found, currency = answer.found, answer.currency
    numbered = list(enumerate(found.ways.items(), 1))
    for number, (name, way) in numbered:
        by = ", ".join(sorted(way.mechanisms - {name}))
        shown = f"{name} ({by})" if by else name
        out.print(f"{number}  {shown}: {counted(way.trades, 'trade')}", soft_wrap=True)
        print_standings(out, [*way.standings.rows()], way.standings.total(), currency, RESULT)
        out.print()
    if len(numbered) > 1:
        out.print(f"what each building pays, in {currency}, under")
        for number, (name, _) in numbered:
            out.print(f"{number}  {name}", soft_wrap=True)
        for begin in range(0, len(numbered), COLUMNS_MAX):
            print_table(out, _payments(dict(numbered[begin : begin + COLUMNS_MAX])))
        out.print()
    out.print(
        f"{counted(found.intervals, 'interval')} from {answer.asked.begin} to before {answer.asked.until}. "
        f"{LEGEND}"
    )


def _payments(ways: Mapping[int, tuple[str, Any]]) -> dict[str, Sequence[str]]:
    columns: dict[str, Sequence[str]] = {}
    for number, (_, way) in ways.items():
        shown = [*way.standings.rows()][:BUILDINGS_MAX]
        columns.setdefault("", [*(row.building for row in shown), "all"])
        rows = [*shown, way.standings.total()]
        columns[f"pays\n{number}"] = amounts([row.cost_micro for row in rows])
    return columns


def as_json(answer: Answer) -> dict[str, object]:
    """All of it, for a program."""
    return {
        "begin": answer.asked.begin,
        "until": answer.asked.until,
        "currency": answer.currency,
        "intervals": answer.found.intervals,
        "rules": {
            name: {
                "mechanisms": sorted(way.mechanisms),
                "trades": way.trades,
                "community": way.standings.total()._asdict(),
                "buildings": {row.building: row._asdict() for row in way.standings.rows()},
            }
            for name, way in answer.found.ways.items()
        },
        "notes": list(answer.notes()),
    }


def write_answer(folder: Path, answer: Answer) -> None:
    """A row a building and set of rules. Raises `CannotWrite`."""
    with csv_files(folder, {RESULT: ("rules", *Standing._fields)}) as files:
        for name, way in answer.found.ways.items():
            files[RESULT].rows.writerows((name, *row) for row in way.standings.rows())
