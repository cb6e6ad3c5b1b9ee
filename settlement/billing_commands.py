"""`energy-ledger invoices`: a month's documents, as a preview or for good, in every form."""

import os
import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ledger.bus import Bus
from ledger.client import BookClient
from ledger.clock import SystemClock
from ledger.command_line import DEFAULT_CONFIG, ConfigPath, environment, run
from ledger.errors import BadInput
from ledger.market_events import InvoiceIssued
from ledger.opening import LedgerKeys
from ledger.postgres.settlement import SettlementStore
from ledger.registry import SERVICE
from ledger.settings import FOREIGN_TABLES, Settings, read_toml, settings_from, with_servers
from ledger.words import counted
from settlement.amounts import MICRO
from settlement.billing.as_csv import write_csv
from settlement.billing.as_json import as_json
from settlement.billing.as_pdf import Printer
from settlement.billing.as_xlsx import write_invoices
from settlement.billing.biller import Biller, Record
from settlement.billing.invoice import Invoice
from settlement.billing.proving import Proof, Prover, proof_steps
from settlement.billing.settings import BillingSettings, billing_from
from settlement.billing.tables import INVOICES, LINES, billed_lines
from settlement.plain.shown import decimal

out = Console(highlight=False, markup=False, soft_wrap=True)
STREAM = "settlement"


class NotAMonth(BadInput):
    """A month that is none."""

    code = "not-a-month"


class CannotWrite(BadInput):
    """The folder for the documents cannot be written."""

    code = "cannot-write"


def invoices(
    month: str, *, issue: bool = False, folder: Path | None = None, config: ConfigPath = DEFAULT_CONFIG
) -> None:
    """Draft a month's invoices, or issue them for good, and write them as PDF, JSON, CSV and XLSX.

    Parameters
    ----------
    month
        Such as 2026-06.
    issue
        For good: with numbers, into the book, once a month. Without it there is only a preview.
    folder
        Where to write them; by default `invoices-MONTH` or `preview-MONTH` in this folder.
    """
    first = _month(month)
    tables = read_toml(config, environment())
    settings = with_servers(settings_from(tables, config, FOREIGN_TABLES))
    found = run(_made(settings, billing_from(tables, config), first, issue=issue))
    if not found:
        out.print(f"there is nothing to bill for {month}")
        return
    place = folder or Path(f"{'invoices' if issue else 'preview'}-{month}")
    _write(found, place)
    _print(found)
    out.print(f"{counted(len(found), 'document')} written to {place}")


def _month(text: str) -> date:
    try:
        return date.fromisoformat(f"{text}-01")
    except ValueError:
        raise NotAMonth(f"{text!r} is no month", hint="write it as 2026-06") from None


async def _made(
    settings: Settings, billing: BillingSettings, month: date, *, issue: bool
) -> Sequence[Invoice]:
    store = await SettlementStore.open(settings.postgres)
    biller = Biller(settings.community.id, store, billing)
    today = SystemClock().now().astimezone(ZoneInfo(settings.community.zone)).date()
    try:
        if not issue:
            return await biller.preview(month, today)
        async with await Bus.connect(settings.nats, "invoices") as bus:
            return await biller.issue(month, today, await _recorder(settings, bus))
    finally:
        await store.close()


async def _recorder(settings: Settings, bus: Bus) -> Record:
    """Appends documents to the book, signed by the ledger's service."""
    key = LedgerKeys.load_or_create(settings.keys_folder).service
    client = BookClient(bus, settings.community.id, SERVICE, key, key.public)
    await client.open()

    async def record(events: Sequence[InvoiceIssued]) -> None:
        await client.append(STREAM, events)

    return record


def _write(documents: Sequence[Invoice], folder: Path) -> None:
    """All forms of the documents; each file appears when it is whole."""
    printer = Printer()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for each in documents:
            name = each.number or f"preview-{each.building}"
            _put(folder, f"{name}.pdf", printer.pdf(each))
            _put(folder, f"{name}.json", as_json(each))
        with tempfile.TemporaryDirectory(dir=folder, prefix=".draft-") as draft:
            place = Path(draft)
            with place.joinpath("invoices.csv").open("w", newline="", encoding="utf-8") as file:
                write_csv(INVOICES, documents, file)
            with place.joinpath("lines.csv").open("w", newline="", encoding="utf-8") as file:
                write_csv(LINES, billed_lines(documents), file)
            with place.joinpath("invoices.xlsx").open("wb") as sheet:
                write_invoices(documents, (), sheet, documents[0].issued_on)
            for path in place.iterdir():
                os.replace(path, folder.joinpath(path.name))
    except OSError as error:
        raise CannotWrite(f"cannot be written: {error.strerror}", where=str(folder)) from error


def _put(folder: Path, name: str, data: bytes) -> None:
    draft = folder.joinpath(f".{name}.part")
    draft.write_bytes(data)
    draft.replace(folder.joinpath(name))


def _print(documents: Sequence[Invoice]) -> None:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    for heading in ("number", "building", "due", documents[0].currency):
        table.add_column(heading, justify="right" if heading.isupper() else "left", no_wrap=True)
    for each in documents:
        table.add_row(
            each.number or "preview", each.building, each.due_on.isoformat(),
            decimal(each.total_micro, 2, MICRO),
        )  # fmt: skip
    out.print(table)


def prove(number: str, line: int, *, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Walk from a line of an invoice down to the signed readings, and check every step.

    Parameters
    ----------
    number
        The invoice's number, such as campus-2026-000001.
    line
        Which of its lines, counted from 1.
    """
    settings = with_servers(settings_from(read_toml(config, environment()), config, FOREIGN_TABLES))

    async def walk() -> Proof:
        store = await SettlementStore.open(settings.postgres)
        try:
            return await Prover(settings.community.id, store).prove(number, line)
        finally:
            await store.close()

    for step in proof_steps(run(walk())):
        out.print(step)
