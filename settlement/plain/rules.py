"""Rules of a market as a TOML file, for a what-if without a book.

mechanism = "mid_market_rate"
interval_minutes = 15
currency = "THB"
retail_micro_per_kwh = 4_184_900      # or the name of a column of the energies, or instead of both:
feed_in_micro_per_kwh = 2_200_000     # tariff = "th-mea-4.2-12kv"

[parameters]                          # the mechanism's own
[buildings.mall]
feeder = "feeder-1"
[[wheeling]]
from = "feeder-1"
to = "feeder-2"
fee_micro_per_kwh = 300_000
loss_ppm = 15_000
"""

import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from ledger.errors import BadInput
from ledger.event import Name
from ledger.misfit import misfit
from ledger.words import did_you_mean
from settlement.amounts import PPM
from settlement.clearing import PriceRule
from settlement.market import Routes, Wheeling
from settlement.mechanisms import MECHANISMS, Parameters
from settlement.mechanisms.parameters import KeyKind

Natural = Annotated[int, msgspec.Meta(ge=0, le=10**12)]
Ppm = Annotated[int, msgspec.Meta(ge=0, le=PPM)]
Price = Natural | str
"""Micro-units a kilowatt-hour, or the name of a column that holds them."""


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

    feeder: Name


class WheelingTable(_Table, frozen=True, rename={"source": "from", "target": "to"}):
    """What it takes to bring energy from one feeder to another."""

    source: Name
    target: Name
    fee_micro_per_kwh: Natural = 0
    loss_ppm: Ppm = 0


class RulesFile(_Table, frozen=True):
    """The file."""

    mechanism: str
    interval_minutes: Literal[5, 10, 15, 30, 60]
    currency: Annotated[
        str,
        msgspec.Meta(pattern="^[A-Z]{3}$", extra_json_schema={"description": "three capitals, such as THB"}),
    ]
    retail_micro_per_kwh: Price | None = None
    feed_in_micro_per_kwh: Price | None = None
    tariff: str | None = None
    operator_fee_micro_per_kwh: Natural = 0
    zone: str = "Asia/Bangkok"  # of instants without an offset, and of days
    parameters: ParametersTable = ParametersTable()
    buildings: dict[str, BuildingTable] = {}
    wheeling: list[WheelingTable] = []

    def routes(self) -> Routes:
        """The wheeling by pair of feeders."""
        return Routes(
            {(w.source, w.target): Wheeling(w.fee_micro_per_kwh, w.loss_ppm) for w in self.wheeling}
        )


def read_rules(path: Path) -> RulesFile:
    """The rules in a file. Raises `RulesInvalid`, naming the place and what may stand there."""
    try:
        tables = tomllib.loads(path.read_text(), parse_float=Decimal)
        rules = msgspec.convert(tables, RulesFile)
    except OSError as error:
        raise RulesInvalid(f"cannot be read: {error.strerror}", where=str(path)) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RulesInvalid(f"this is no TOML: {error}", where=str(path)) from error
    except msgspec.ValidationError as error:
        what, place, hint = misfit(error, RulesFile)
        raise RulesInvalid(what, where=f"{path}: {place}" if place else str(path), hint=hint) from error
    _check(rules, path)
    return rules


def parameters_of(table: ParametersTable) -> Parameters:
    """The parameters in whole numbers."""
    return Parameters(
        compensation_ppm=int(table.compensation * PPM),
        split_ppm=int(table.split * PPM),
        price_rule=table.price_rule,
        kind=table.kind,
        keys=_whole(table.keys),
    )


def _whole(keys: Mapping[str, Decimal]) -> dict[str, int]:
    """The same proportions in whole numbers."""
    digits = max((-int(key.as_tuple().exponent) for key in keys.values()), default=0)
    return {building: int(key.scaleb(max(digits, 0))) for building, key in keys.items()}


def _check(rules: RulesFile, path: Path) -> None:
    """What the types cannot say. Raises `RulesInvalid`."""
    if rules.mechanism not in MECHANISMS:
        raise RulesInvalid(
            f"there is no mechanism {rules.mechanism!r}",
            where=f"{path}: mechanism",
            hint=f"{did_you_mean(rules.mechanism, MECHANISMS)}allowed: {', '.join(sorted(MECHANISMS))}",
        )
    flat = (rules.retail_micro_per_kwh, rules.feed_in_micro_per_kwh)
    if (rules.tariff is None) == (None in flat) or (rules.tariff and flat != (None, None)):
        raise RulesInvalid(
            "the grid's prices are told not at all, in part or twice",
            where=str(path),
            hint="give retail_micro_per_kwh and feed_in_micro_per_kwh, or tariff alone",
        )
    pairs = [(wheeling.source, wheeling.target) for wheeling in rules.wheeling]
    for index, pair in enumerate(pairs):
        if pair in pairs[:index]:
            raise RulesInvalid(
                f"wheeling from {pair[0]} to {pair[1]} is told twice", where=f"{path}: wheeling[{index}]"
            )
    table = rules.parameters
    for name, value in (("compensation", table.compensation), ("split", table.split)):
        if not 0 <= value <= 1:
            raise RulesInvalid(f"{value} is not from 0 to 1", where=f"{path}: parameters.{name}")
    for building, key in table.keys.items():
        if not (key.is_finite() and key >= 0):
            raise RulesInvalid(f"a key of {key} is none", where=f"{path}: parameters.keys.{building}")
    if (
        rules.mechanism == "sharing_key"
        and table.kind in ("static", "cascading")
        and not any(table.keys.values())
    ):
        raise RulesInvalid(
            f"a {table.kind} key needs the buildings' shares",
            where=f"{path}: parameters.keys",
            hint="keys = {mall = 0.5, school = 0.3, clinic = 0.2}",
        )
