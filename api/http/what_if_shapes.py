"""What a what-if is asked by, and what its answer looks like."""

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any

import msgspec

from api.http.shapes import Amount, amount
from ledger.market_events import MechanismName

WAYS_MAX = 6
RULES_LENGTH_MAX = 256 * 1024


class WhatIfRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Local days from `begin` to before `until`, and what is to be tried beside what was published: other
    mechanisms in the published rules, and rules of one's own as the text of a file for `energy-ledger
    what-if` (TOML)."""

    begin: date
    until: date
    mechanisms: Annotated[list[MechanismName], msgspec.Meta(max_length=WAYS_MAX)] = []
    rules: Annotated[str, msgspec.Meta(max_length=RULES_LENGTH_MAX)] = ""


class StandingShape(msgspec.Struct, frozen=True):
    """A building over the period, or the community as if it were one. What it pays is above zero; fractions
    are parts a million, none where there is nothing to divide by."""

    building: str
    import_milliwh: int
    export_milliwh: int
    bought_milliwh: int
    sold_milliwh: int
    grid_import_milliwh: int
    grid_export_milliwh: int
    paid: Amount
    earned: Amount
    fees: Amount
    grid_cost: Amount
    grid_income: Amount
    cost: Amount
    cost_without_market: Amount
    saving: Amount
    self_sufficiency_ppm: int | None
    local_coverage_ppm: int | None
    fairness_ppm: int | None


class WayShape(msgspec.Struct, frozen=True):
    """The period under one set of rules: `as published`, a mechanism, or one's own `rules`."""

    name: str
    mechanisms: list[str]
    trades: int
    community: StandingShape
    buildings: list[StandingShape]


class WhatIfShape(msgspec.Struct, frozen=True):
    """Who would have paid what; all ways count the same intervals. `notes` are what a reader should know."""

    begin: date
    until: date
    intervals: int
    ways: list[WayShape]
    notes: list[str]


def what_if_shape(asked: WhatIfRequest, answer: Mapping[str, Any]) -> WhatIfShape:
    """As the API shows what `settlement.comparison_commands.as_json` tells."""
    currency: str = answer["currency"]
    ways = [
        WayShape(
            name, way["mechanisms"], way["trades"], _standing(way["community"], currency),
            [_standing(each, currency) for each in way["buildings"].values()],
        )
        for name, way in answer["rules"].items()
    ]  # fmt: skip
    return WhatIfShape(asked.begin, asked.until, answer["intervals"], ways, answer["notes"])


def _standing(row: Mapping[str, Any], currency: str) -> StandingShape:
    fields: dict[str, Any] = {
        name.removesuffix("_micro"): amount(value, currency) if name.endswith("_micro") else value
        for name, value in row.items()
    }
    return StandingShape(**fields)
