"""Rules of a market as a TOML file, for a what-if without a book.

mechanism = "mid_market_rate"
interval_minutes = 15
currency = "THB"
retail_micro_per_kwh = 4_184_900      # or the name of a column of the energies, or instead of both:
feed_in_micro_per_kwh = 2_200_000     # tariff = "th-mea-4.2-12-24kv"

[parameters]                          # the mechanism's own
[buildings.mall]
feeder = "feeder-1"
[[wheeling]]
from = "feeder-1"
to = "feeder-2"
fee_micro_per_kwh = 300_000
loss_ppm = 15_000
"""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from ledger.errors import BadInput
from ledger.words import did_you_mean
from settlement.amounts import PPM
from settlement.clearing import PriceRule
from settlement.market import Routes, Wheeling
from settlement.mechanisms import MECHANISMS, Parameters
from settlement.mechanisms.parameters import KeyKind
from settlement.plain.values import BadCell, name
from settlement.tariff_file import is_short, parse_tables, read_text
from settlement.toml_place import located

Natural = Annotated[int, msgspec.Meta(ge=0, le=10**12)]
Feeder = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Ppm = Annotated[int, msgspec.Meta(ge=0, le=PPM)]
Price = Natural | Annotated[str, msgspec.Meta(min_length=1)]
"""Micro-units a kilowatt-hour, or the name of a column that holds them."""
KEY_MAX = 10**9
KEY_DIGITS = 9


class RulesInvalid(BadInput):
    """Rules of a market do not fit."""

    code = "rules-invalid"


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the file."""


class ParametersTable(_Table, frozen=True):
    """A mechanism's own parameters; `compensation` and `split` from 0 to 1, `keys` in any unit."""

    compensation: Decimal = Decimal(0)
    split: Decimal = Decimal("0.5")
    price_rule: PriceRule = "midpoint"
    kind: KeyKind = "proportional"
    keys: dict[str, Decimal] = {}


class BuildingTable(_Table, frozen=True):
    """Where a building is."""

    feeder: Feeder


class WheelingTable(_Table, frozen=True, rename={"source": "from", "target": "to"}):
    """What it takes to bring energy from one feeder to another."""

    source: Feeder
    target: Feeder
    fee_micro_per_kwh: Natural = 0
    loss_ppm: Ppm = 0


class RulesFile(_Table, frozen=True):
    """The file."""

    mechanism: str
    interval_minutes: Literal[5, 10, 15, 30, 60]
    currency: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^[A-Z]{3}\Z", extra_json_schema={"description": "three capitals, such as THB"}
        ),
    ]
    retail_micro_per_kwh: Price | None = None
    feed_in_micro_per_kwh: Price | None = None
    tariff: str | None = None
    operator_fee_micro_per_kwh: Natural = 0
    zone: str | None = None  # of instants without an offset, not of a tariff's hours; else the tariff's
    parameters: ParametersTable = ParametersTable()
    buildings: dict[str, BuildingTable] = {}
    wheeling: list[WheelingTable] = []

    @property
    def has_told_keys(self) -> bool:
        """Whether the buildings' shares are what `parameters.keys` says."""
        return self.mechanism == "sharing_key" and self.parameters.kind in ("static", "cascading")

    def routes(self) -> Routes:
        """The wheeling by pair of feeders."""
        return Routes(
            {(w.source, w.target): Wheeling(w.fee_micro_per_kwh, w.loss_ppm) for w in self.wheeling}
        )

    def feeders(self) -> set[str]:
        """The feeders that the rules name."""
        told = {table.feeder for table in self.buildings.values()}
        return told.union(*((each.source, each.target) for each in self.wheeling))


def read_rules(path: Path) -> RulesFile:
    """The rules in a file. Raises `RulesInvalid`, naming the place and what may stand there."""
    return parse_rules(read_text(path, RulesInvalid), str(path))


def parse_rules(text: str, where: str) -> RulesFile:
    """The rules in the text of a file called `where`. Raises likewise."""
    try:
        rules = parse_tables(text, RulesFile, where, RulesInvalid)
    except RulesInvalid as error:
        if error.where.endswith("micro_per_kwh"):
            error.hint = "whole micro-units a kWh are meant, from 0 up: 4_184_900 for 4.1849 of the currency"
        raise
    for place, problem, hint in _problems(rules):
        raise RulesInvalid(problem, where=located(where, text, place), hint=hint)
    return rules


def place_in(path: Path, place: str) -> str:
    """Where in the rules something is that another file shows to be wrong."""
    return located(str(path), read_text(path, RulesInvalid), place)


def parameters_of(table: ParametersTable) -> Parameters:
    """The parameters in whole numbers."""
    return Parameters(
        compensation_ppm=int(table.compensation * PPM),
        split_ppm=int(table.split * PPM),
        price_rule=table.price_rule,
        kind=table.kind,
        keys={building: int(key.scaleb(KEY_DIGITS)) for building, key in table.keys.items()},
    )


_Problem = tuple[str, str, str]
"""A place in the file, what is wrong there, what to do."""


def _problems(rules: RulesFile) -> Iterator[_Problem]:
    """What the types cannot say."""
    if rules.mechanism not in MECHANISMS:
        meant = did_you_mean(rules.mechanism, MECHANISMS)
        allowed = f"allowed: {', '.join(sorted(MECHANISMS))}"
        yield "mechanism", f"there is no mechanism {rules.mechanism!r}", meant + allowed
    flat = [rules.retail_micro_per_kwh, rules.feed_in_micro_per_kwh]
    if flat != [None, None] if rules.tariff is not None else None in flat:
        yield (
            "",
            "the grid's prices are told twice"
            if rules.tariff
            else "the grid's prices are told in part or not at all",
            "give retail_micro_per_kwh and feed_in_micro_per_kwh, or tariff alone",
        )
    pairs = [(wheeling.source, wheeling.target) for wheeling in rules.wheeling]
    for index, pair in enumerate(pairs):
        if pair in pairs[:index]:
            what = f"wheeling from {pair[0]} to {pair[1]} is told twice"
            yield f"wheeling[{index}]", what, "keep one of the two"
    for place, names in (("buildings", rules.buildings), ("parameters.keys", rules.parameters.keys)):
        for building in names:
            try:
                name(building)
            except BadCell as error:
                yield f"{place}.{building}", error.what, error.hint
    yield from _parameter_problems(rules)


def _parameter_problems(rules: RulesFile) -> Iterator[_Problem]:
    table = rules.parameters
    for ratio, value in (("compensation", table.compensation), ("split", table.split)):
        if not (is_short(value, 6) and 0 <= value <= 1):
            yield f"parameters.{ratio}", f"{value} is not from 0 to 1 with at most six decimals", ""
    for building, key in table.keys.items():
        if not (is_short(key, KEY_DIGITS) and 0 <= key <= KEY_MAX):
            yield (
                f"parameters.keys.{building}",
                f"{key} is no key",
                f"a number from 0 up with at most {KEY_DIGITS} decimals",
            )
    if rules.has_told_keys and not any(table.keys.values()):
        yield (
            "parameters.keys",
            f"a {table.kind} key needs the buildings' shares",
            "keys = {mall = 0.5, school = 0.3, clinic = 0.2}",
        )
