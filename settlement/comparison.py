"""What-if on the book: a past period under other rules, and who would have paid what."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from ledger.registry import Registry
from ledger.words import did_you_mean
from settlement.book_state import BookState
from settlement.interval import Rules, settle
from settlement.known_building import check_building
from settlement.market import Band
from settlement.plain.rules import RulesFile, RulesInvalid, parameters_of, place_in, read_rules
from settlement.plain.what_if import tariff_of
from settlement.rules_in_force import InForce
from settlement.standing import Standings
from settlement.tariff import Tariff

CHUNK = timedelta(days=1)


class Way(NamedTuple):
    """By what rules an interval is settled, and what the grid asks and gives at an instant."""

    rules: Rules
    band: Callable[[int], Band]
    tariff: Tariff | None = None


Change = Callable[[InForce | None], Way | None]
"""From what was published for an interval to what it is settled by; none where that leaves it open."""


@dataclass
class Compared:
    """A period under one set of rules."""

    standings: Standings = field(default_factory=Standings)
    trades: int = 0
    mechanisms: set[str] = field(default_factory=set)


@dataclass
class Comparison:
    """A period under several; all of them count the same intervals."""

    ways: dict[str, Compared]
    intervals: int = 0
    without_rules: int = 0  # intervals that are left out: no rules were published for them yet
    notes: set[str] = field(default_factory=set)


async def compare(
    book: BookState,
    changes: Mapping[str, Change],
    begin: datetime,
    until: datetime,
    told: Callable[[str, int], None] = lambda what, done: None,
) -> Comparison:
    """The intervals of [begin, until) settled by each of `changes`; `told` hears how many, day by day.

    Orders and agreements count as they did. Nothing is written. Raises `TariffHole` and `CalendarHole`.
    """
    rules = book.rules()
    found = Comparison({name: Compared() for name in changes})
    while begin < until:
        async for facts in book.facts(begin, min(begin + CHUNK, until)):
            in_force = rules.at(facts.start)
            ways = {name: way for name, change in changes.items() if (way := change(in_force)) is not None}
            if len(ways) < len(changes):
                found.without_rules += 1
                continue
            found.intervals += 1
            for name, way in ways.items():
                band = way.band(int(facts.start.timestamp()))
                settled = settle(way.rules, band, facts.metered, facts.orders, facts.agreements)
                found.ways[name].standings.add(band, facts.metered, settled)
                found.ways[name].trades += len(settled.trades)
                found.ways[name].mechanisms.add(way.rules.mechanism)
                if way.tariff is not None:
                    found.notes.update(way.tariff.notes([facts.start.astimezone(way.tariff.zone).year]))
        told("intervals settled", found.intervals)
        begin += CHUNK
    return found


# --- the ways ----------------------------------------------------------------------------------------


def as_published(in_force: InForce | None) -> Way | None:
    """What an interval is settled by in earnest."""
    return Way(in_force.rules, in_force.tariff.band, in_force.tariff) if in_force else None


def by_mechanism(name: str) -> Change:
    """The published rules with another mechanism."""

    def changed(in_force: InForce | None) -> Way | None:
        way = as_published(in_force)
        return way._replace(rules=way.rules._replace(mechanism=name)) if way else None

    return changed


def by_file(path: Path, registry: Registry) -> Change:
    """Rules of a file, of the same form as for plain files, for the buildings and feeders of the book.

    Where the file does not name a building's feeder, it is the book's. Raises `RulesInvalid`,
    `UnknownBuilding`, `UnknownTariff`.
    """
    file = read_rules(path)
    _check_fit(file, path, registry)
    tariff = tariff_of(file, path)
    feeders = {name: building.feeder for name, building in registry.buildings.items()}
    feeders |= {name: table.feeder for name, table in file.buildings.items()}
    rules = Rules(
        file.mechanism, parameters_of(file.parameters), file.routes(), feeders.__getitem__,
        file.operator_fee_micro_per_kwh,
    )  # fmt: skip
    if tariff is not None:
        return lambda _: Way(rules, tariff.band, tariff)
    flat = Band(*_flat_prices(file, path))
    return lambda _: Way(rules, lambda at: flat)


def _flat_prices(file: RulesFile, path: Path) -> list[int]:
    found = []
    for key in ("retail_micro_per_kwh", "feed_in_micro_per_kwh"):
        price = getattr(file, key)
        if not isinstance(price, int):
            raise RulesInvalid(
                f"{price!r} would be a column of the energies, and a book has no such column",
                where=place_in(path, key),
                hint="give a number, or a tariff",
            )
        found.append(price)
    return found


def _check_fit(file: RulesFile, path: Path, registry: Registry) -> None:
    """Return if the file is about the community of a book. Raises `RulesInvalid`, `UnknownBuilding`."""
    opened = registry.opened
    for key in ("interval_minutes", "currency"):
        told, known = getattr(file, key), getattr(opened, key, None)
        if told != known:
            raise RulesInvalid(
                f"the book's {key} is {known}, that of the rules {told}", where=place_in(path, key)
            )
    places = {name: f"buildings.{name}" for name in file.buildings}
    places |= {name: f"parameters.keys.{name}" for name in file.parameters.keys}
    for name, place in places.items():
        check_building(name, registry.buildings, where=place_in(path, place))
    feeders = {*registry.feeders, *(table.feeder for table in file.buildings.values())}
    for index, wheeling in enumerate(file.wheeling):
        for feeder in (wheeling.source, wheeling.target):
            if feeder not in feeders:
                raise RulesInvalid(
                    f"there is no feeder {feeder}",
                    where=place_in(path, f"wheeling[{index}]"),
                    hint=f"{did_you_mean(feeder, feeders)}feeders: {', '.join(sorted(feeders))}",
                )
