"""Plain files of a what-if, written and settled in a folder of the test."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from settlement.plain.what_if import Result, settle_files

RESULTS = ("trades.csv", "shares.csv", "buildings.csv", "journal.csv")
RULES = """
mechanism = "mid_market_rate"
interval_minutes = 15
currency = "THB"
retail_micro_per_kwh = 4_000_000
feed_in_micro_per_kwh = 2_000_000
"""
ENERGIES = """interval_start,building,import_wh,export_wh
2026-06-01T09:00:00+07:00,sun,0,6000
2026-06-01T09:00:00+07:00,a,2000,0
2026-06-01T09:00:00+07:00,b,1000,0
2026-06-01T09:15:00+07:00,sun,0,2000
2026-06-01T09:15:00+07:00,a,3000,0
2026-06-01T09:15:00+07:00,b,1000,0
"""


class PlainFiles:
    """The three files and the folder for what comes out."""

    def __init__(self, folder: Path) -> None:
        self.energies = folder / "energies.csv"
        self.rules = folder / "rules.toml"
        self.orders = folder / "orders.csv"
        self.out = folder / "out"

    def write(
        self, energies: str | bytes = ENERGIES, rules: str | bytes = RULES, orders: str | bytes | None = None
    ) -> "PlainFiles":
        """Write them; bytes as they are."""
        texts = ((self.energies, energies), (self.rules, rules), (self.orders, orders))
        for path, text in texts:
            if text is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return self

    def settle(self) -> Result:
        """What comes out of them."""
        orders = self.orders if self.orders.exists() else None
        return settle_files(self.energies, self.rules, orders, self.out)

    def results(self) -> dict[str, bytes]:
        """The bytes of every file that was written."""
        return {name: (self.out / name).read_bytes() for name in RESULTS}

    def rows(self, name: str) -> list[dict[str, str]]:
        """The rows of a file that was written."""
        with (self.out / name).open(newline="") as file:
            return list(csv.DictReader(file))


def rules(mechanism: str = "mid_market_rate", more: str = "", **values: Any) -> str:
    """Rules with other values than usual; None leaves one out. `more` stands below them."""
    found: dict[str, Any] = {
        "mechanism": f'"{mechanism}"', "interval_minutes": 15, "currency": '"THB"',
        "retail_micro_per_kwh": 4_000_000, "feed_in_micro_per_kwh": 2_000_000, **values,
    }  # fmt: skip
    lines = [f"{name} = {value}" for name, value in found.items() if value is not None]
    return "\n".join([*lines, more, ""])


def table(header: str, rows: Iterable[tuple[object, ...]]) -> str:
    """A CSV file."""
    return "\n".join([header, *(",".join(map(str, row)) for row in rows), ""])
