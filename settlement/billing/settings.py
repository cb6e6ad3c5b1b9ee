"""The settings of billing.

[billing]
name = "Campus Energy Co., Ltd."
tax_id = "0105561000011"
due_days = 15

[billing.buildings.school]
name = "School"
"""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from ledger.event import Text
from ledger.settings import Id, SettingsInvalid, convert
from ledger.words import did_you_mean
from settlement.billing.invoice import Party

TABLE = "billing"
_THAI_DIGITS = 13
Series = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[a-z0-9._-]{1,28}\Z", description="a series is 1 to 28 of these: [a-z0-9._-], no capitals"
    ),
]


class PartyTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who bills or is billed."""

    name: Text
    address: Text = ""
    tax_id: Annotated[str, msgspec.Meta(max_length=20)] = ""
    branch: Text = ""

    def party(self) -> Party:
        """The same as it stands in a document."""
        return Party(name=self.name, address=self.address, tax_id=self.tax_id, branch=self.branch)


class BillingSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who bills, in which series (the community's name unless told), and when it is due."""

    name: Text = ""
    address: Text = ""
    tax_id: Annotated[str, msgspec.Meta(max_length=20)] = ""
    branch: Text = ""
    series: Series | None = None
    due_days: Annotated[int, msgspec.Meta(ge=0, le=366)] = 15
    buildings: dict[Id, PartyTable] = {}

    def seller(self, community: str) -> Party:
        """Who bills."""
        return PartyTable(self.name or community, self.address, self.tax_id, self.branch).party()

    def buyer(self, building: str, name: str) -> Party:
        """Who is billed; a building that is not listed by the name that the registry has for it."""
        return self.buildings.get(building, PartyTable(name or building)).party()

    def odd_tax_ids(self, currency: str) -> Iterator[tuple[str, str]]:
        """Tables of the settings file with tax IDs that are none, and these; judged are Thailand's."""
        parties = {f"[{TABLE}]": self.tax_id}
        parties |= {f"[{TABLE}.buildings.{name}]": each.tax_id for name, each in self.buildings.items()}
        for table, tax_id in parties.items():
            if tax_id and currency == "THB" and not _is_thai_tax_id(tax_id):
                yield table, tax_id


class _File(msgspec.Struct, frozen=True):
    billing: BillingSettings = BillingSettings()


def billing_from(tables: Mapping[str, Any], path: Path, buildings: Collection[str]) -> BillingSettings:
    """The billing of a settings file, for buildings that it lists. Raises `SettingsInvalid`."""
    billing = convert({TABLE: tables[TABLE]} if TABLE in tables else {}, _File, path).billing
    for name in billing.buildings:
        if name not in buildings:
            raise SettingsInvalid(
                f"there is no building {name} to be billed",
                where=f"{path}: billing.buildings.{name}",
                hint=f"{did_you_mean(name, buildings)}buildings: {', '.join(sorted(buildings)) or 'none'}",
            )
    return billing


def _is_thai_tax_id(text: str) -> bool:
    """Whether it is a Thai taxpayer's number: 13 digits, the last of which checks the others (modulo 11)."""
    if len(text) != _THAI_DIGITS or not (text.isascii() and text.isdecimal()):
        return False
    *digits, check = map(int, text)
    weighted = sum(digit * weight for digit, weight in zip(digits, range(_THAI_DIGITS, 1, -1), strict=True))
    return (11 - weighted % 11) % 10 == check
