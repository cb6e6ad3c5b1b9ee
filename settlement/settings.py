"""The market's part of the settings file.

[market]
mechanism = "uniform_price"
tariff = "th-mea-4.2-12-24kv"       # one of `energy-ledger tariffs`, or a .toml of your own
"""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from ledger.event import Name, Natural
from ledger.events import YEAR_MAX, YEAR_MIN
from ledger.market_events import GATE_MINUTES_MAX, MechanismName, Ppm, Price
from ledger.settings import Id, PathText, SettingsInvalid, convert

TABLE = "market"


def needs_keys(mechanism: str, key_kind: str) -> bool:
    """Whether rules share by what they say of each building."""
    return mechanism == "sharing_key" and key_kind in ("static", "cascading")


Part = Annotated[Natural, msgspec.Meta(description="such as parts a million: 500_000 for a half")]
"""What a building is entitled to by its key."""


class WheelingTable(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"source": "from", "target": "to"}
):
    """What it takes to bring energy from one feeder to another."""

    source: Name
    target: Name
    fee_micro_per_kwh: Price = 0
    loss_ppm: Ppm = 0


class MarketSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """By what rules the community trades; they are published as an event of the book when they change.

    `gate_minutes` before an interval begins its orders are fixed; `settle_after_minutes` after it ended it is
    settled, and `final_days` after its month it is settled for good. `contracted_w` is the power that the
    campus has contracted, where its tariff bills that. From `begin` on, a local date, what differs from what
    was published before holds; as soon as it can where there is none.
    """

    mechanism: MechanismName
    tariff: PathText
    gate_minutes: Annotated[int, msgspec.Meta(ge=0, le=GATE_MINUTES_MAX)] = 60
    settle_after_minutes: Annotated[int, msgspec.Meta(ge=0, le=24 * 60)] = 15
    final_days: Annotated[int, msgspec.Meta(ge=0, le=366)] = 7
    compensation_ppm: Ppm = 0
    split_ppm: Ppm = 500_000
    price_rule: Literal["midpoint", "seller", "buyer"] = "midpoint"
    key_kind: Literal["static", "proportional", "equal", "cascading"] = "proportional"
    keys: dict[Id, Part] = {}
    operator_fee_micro_per_kwh: Price = 0
    contracted_w: Natural | None = None
    begin: date | None = None
    wheeling: list[WheelingTable] = []

    @property
    def has_told_keys(self) -> bool:
        """Whether the buildings' shares are what `keys` says."""
        return needs_keys(self.mechanism, self.key_kind)


class _File(msgspec.Struct, frozen=True):
    market: MarketSettings | None = None


def market_from(tables: Mapping[str, Any], path: Path) -> MarketSettings | None:
    """The market of a settings file; none where the community only keeps its book. Raises `SettingsInvalid`.

    A tariff that is a file is looked for beside the settings.
    """
    mine = {TABLE: tables[TABLE]} if TABLE in tables else {}
    market = convert(mine, _File, path).market
    if market is None:
        return None
    if market.begin is not None and not YEAR_MIN < market.begin.year < YEAR_MAX:
        raise SettingsInvalid(
            f"rules cannot begin on {market.begin}",
            where=f"{path}: {TABLE}.begin",
            hint=f"a day between the years {YEAR_MIN} and {YEAR_MAX} is meant, such as begin = 2026-07-01",
        )
    if market.tariff.endswith(".toml"):
        return msgspec.structs.replace(market, tariff=str(path.parent.absolute().joinpath(market.tariff)))
    return market
