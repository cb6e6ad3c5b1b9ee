"""Commands that show accounts: the journal for the books, a building's statement, and all balances."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from textwrap import wrap
from zoneinfo import ZoneInfo

import msgspec
from rich.console import Console

from ledger.book_commands import book_settings
from ledger.clock import SystemClock
from ledger.command_line import DEFAULT_CONFIG, ConfigPath, run
from ledger.errors import BadInput
from ledger.postgres.settlement import SettlementStore
from ledger.settings import Settings
from ledger.words import counted
from settlement.amounts import MICRO, MILLIWH_PER_KWH
from settlement.billing.accounts import Accounts, Balance, Statement
from settlement.billing.as_xlsx import write_journal
from settlement.billing.files import as_csv, write_file
from settlement.billing.tables import JOURNAL, STATEMENT, Entry, booked
from settlement.brought import Brought
from settlement.plain.shown import WIDTH, decimal, print_table
from settlement.told_month import told_month

out = Console(highlight=False, markup=False, soft_wrap=True)


class OtherForm(BadInput):
    """A file's ending asks for a form that is not written."""

    code = "other-form"


def journal(month: str, *, file: Path | None = None, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Write a month's journal for the books: debits and credits by kind and account, which balance.

    Parameters
    ----------
    month
        Such as 2026-06.
    file
        Where to write it, a .csv or, as a workbook, an .xlsx; by default journal-MONTH.csv.
    """
    place = file or Path(f"journal-{month}.csv")
    _check_ending(place, ".csv", ".xlsx")
    first, settings = told_month(month), book_settings(config)

    async def read() -> list[Entry]:
        async with _accounts(settings) as accounts:
            return await accounts.journal(first)

    entries = run(read())
    if not entries:
        out.print(_nothing(month))
        return
    if place.suffix.lower() == ".xlsx":
        workbook = BytesIO()
        today = SystemClock().now().astimezone(ZoneInfo(settings.community.zone)).date()
        write_journal(entries, workbook, today)
        write_file(place, workbook.getvalue())
    else:
        write_file(place, as_csv(JOURNAL, booked(entries)))
    out.print(f"{counted(len(entries), 'row')} written to {place}: debits and credits balance")


def balances(month: str | None = None, *, json: bool = False, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Show what every account got and gave: buildings, grid, losses, wheeling, operator, tax, rounding.

    Parameters
    ----------
    month
        Such as 2026-06; all that was ever posted without it.
    json
        Print a JSON array instead of a table.
    """
    first, settings = told_month(month) if month else None, book_settings(config)

    async def read() -> list[Balance]:
        async with _accounts(settings) as accounts:
            return await accounts.balances(first)

    found = run(read())
    if json:
        out.print_json(msgspec.json.encode([each._asdict() for each in found]).decode())
    elif found:
        rows = [*found, Balance("sum", sum(each[1] for each in found), sum(each[2] for each in found))]
        columns = {
            "account": [each.account for each in rows],
            "energy\nkWh": [decimal(each.energy_milliwh, 3, MILLIWH_PER_KWH) for each in rows],
            f"{settings.community.currency}": [decimal(each.amount_micro, 2, MICRO) for each in rows],
        }
        print_table(out, columns)
        out.print("got (+) and gave (-); tax and rounding stand in the month in which they were billed")
    else:
        out.print(_nothing(month) if month else "nothing is settled yet")


def statement(
    building: str,
    month: str,
    *,
    file: Path | None = None,
    json: bool = False,
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """Show a building's month day by day: energy, what it pays, its documents and what is not billed yet.

    Parameters
    ----------
    building
        Its name in the book.
    month
        Such as 2026-06.
    file
        Write the days to this file too, a .csv.
    json
        Print a JSON object instead of a table.
    """
    if file is not None:
        _check_ending(file, ".csv")
    first, settings = told_month(month), book_settings(config)

    async def read() -> Statement:
        async with _accounts(settings) as accounts:
            return await accounts.statement(building, first)

    found = run(read())
    if file is not None:
        write_file(file, as_csv(STATEMENT, found.days))
    if json:
        days = [{"day": each.day, **_told(each.brought)} for each in found.days]
        documents = [each.number for each in found.documents]
        told = found._asdict() | {
            "days": days, "total": _told(found.total) if days else None, "documents": documents,
        }  # fmt: skip
        out.print_json(msgspec.json.encode(told).decode())
        return
    for line in _heading(found, ZoneInfo(settings.community.zone)):
        out.print(line)
    if found.days:
        print_table(out, _columns(found))
    for line in _footing(found):
        out.print(line)


def _told(found: Brought) -> dict[str, int]:
    return found._asdict() | {"cost_micro": found.cost_micro}


def _heading(found: Statement, zone: ZoneInfo) -> Sequence[str]:
    if found.settled_until is None:
        return ["nothing is settled yet"]
    until = found.settled_until.astimezone(zone)
    what = f"{found.building}, {found.month:%B %Y}, in {found.currency} before tax"
    return [f"{what}; settled until {until:%Y-%m-%d %H:%M} ({zone.key})"]


def _columns(found: Statement) -> dict[str, Sequence[str]]:
    rows = [*(each.brought for each in found.days), found.total]
    names = ["grid_import_milliwh", "bought_milliwh", "sold_milliwh", "grid_export_milliwh"]
    heads = ["from grid\nkWh", "bought\nkWh", "sold\nkWh", "to grid\nkWh"]
    energies = {
        head: [decimal(getattr(row, name), 3, MILLIWH_PER_KWH) for row in rows]
        for head, name in zip(heads, names, strict=True)
    }
    return {
        "day": [*(str(each.day) for each in found.days), "all"],
        **energies,
        "loss": [decimal(row.loss_micro, 2, MICRO) for row in rows],
        "pays": [decimal(row.cost_micro, 2, MICRO) for row in rows],
    }


def _made_of(found: Brought) -> Sequence[str]:
    """What the month's cost is made of, part by part."""
    parts = {
        "grid": found.grid_cost_micro, "bought": found.paid_micro, "fees": found.fees_micro,
        "losses": found.loss_micro, "sold": -found.earned_micro, "to grid": -found.grid_income_micro,
    }  # fmt: skip
    told = ", ".join(f"{name} {decimal(micro, 2, MICRO)}" for name, micro in parts.items() if micro)
    return wrap(f"pays for: {told or 'nothing'}", WIDTH)


def _footing(found: Statement) -> Sequence[str]:
    charges = "come when the month is closed"
    if found.charges_micro is not None:
        charges = decimal(found.charges_micro, 2, MICRO)
    documents = [
        f"{each.kind} {each.number}: {decimal(each.total_micro, 2, MICRO)} with tax, due {each.due_on}"
        for each in found.documents
    ]
    return [
        *(_made_of(found.total) if found.days else []),
        f"its part of the campus's charges: {charges}",
        *documents,
        f"not billed yet: {decimal(found.unbilled_micro, 2, MICRO)}",
    ]


def _check_ending(file: Path, *endings: str) -> None:
    if file.suffix.lower() not in endings:
        raise OtherForm(
            "no file of this form is written", where=str(file), hint=f"let it end in {' or '.join(endings)}"
        )


def _nothing(month: str) -> str:
    return f"nothing is settled in {month} yet"


@asynccontextmanager
async def _accounts(settings: Settings) -> AsyncIterator[Accounts]:
    async with await SettlementStore.open(settings.postgres) as store:
        yield Accounts(settings.community.id, store)
