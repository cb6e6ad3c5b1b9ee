"""`energy-ledger invoices`: a month's documents, as a preview or for good, in every form."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ledger.bus import Bus
from ledger.bus_users import service_user
from ledger.clock import SystemClock
from ledger.command_line import DEFAULT_CONFIG, ConfigPath, environment, run
from ledger.opening import LedgerKeys
from ledger.postgres.settlement import SettlementStore
from ledger.settings import (
    FOREIGN_TABLES,
    Settings,
    SettingsInvalid,
    read_toml,
    settings_from,
    with_servers,
)
from ledger.words import counted
from settlement.amounts import MICRO
from settlement.billing.biller import Biller, Bills, Record
from settlement.billing.files import write_documents
from settlement.billing.invoice import Invoice
from settlement.billing.proving import Proof, Prover, line_reference, proof_steps
from settlement.billing.settings import BillingSettings, billing_from
from settlement.plain.shown import decimal
from settlement.settlement_stream import SettlementStream
from settlement.told_month import told_month

out = Console(highlight=False, markup=False, soft_wrap=True)


def invoices(
    month: str, *, issue: bool = False, folder: Path | None = None, config: ConfigPath = DEFAULT_CONFIG
) -> None:
    """Write a month's invoices as PDF, JSON, CSV and XLSX: those that were issued, and drafts of the others.

    Parameters
    ----------
    month
        Such as 2026-06.
    issue
        Issue what is a draft so far, for good: with numbers, into the book, once the month is closed.
    folder
        Where to write them; by default `invoices-MONTH`, or `preview-MONTH` where all are drafts.
    """
    first = told_month(month)
    settings, billing = _settings(config)
    found, refused = run(_made(settings, billing, first, issue=issue))
    for each in refused:
        out.print(f"not billed: {each}")
    for table, tax_id in billing.odd_tax_ids(settings.community.currency):
        out.print(f"{table}: {tax_id} is no Thai tax ID; nothing is issued with it")
    if not found:
        out.print(f"there is nothing to bill for {month}")
        return
    place = folder or Path(f"{'invoices' if any(each.number for each in found) else 'preview'}-{month}")
    write_documents(found, place)
    _print(found)
    if (until := next((each.settled_until for each in found if each.settled_until), None)) is not None:
        out.print(f"{month}: {_so_far(until, ZoneInfo(settings.community.zone))}")
    out.print(f"{counted(len(found), 'document')} written to {place}")


def credit(
    number: str, *, reason: str, folder: Path = Path("credit-notes"), config: ConfigPath = DEFAULT_CONFIG
) -> None:
    """Cancel an invoice by a credit note; `invoices --issue` bills the building's month again.

    Parameters
    ----------
    number
        The invoice's number.
    reason
        Why, as the law asks; it is printed on the note.
    folder
        Where to write it.
    """
    settings, billing = _settings(config)

    async def made() -> Invoice:
        async with _biller(settings, billing) as biller, await _connected(settings, "credit") as bus:
            return await biller.credit(number, reason, _today(settings), await _recorder(settings, bus))

    note = run(made())
    write_documents([note], folder, tables=False)
    _print([note])
    out.print(f"written to {folder}; the month's tables come with `invoices {note.period_begin:%Y-%m}`")


def _so_far(until: datetime, zone: ZoneInfo) -> str:
    return f"settled until {until.astimezone(zone):%Y-%m-%d %H:%M} ({zone.key}); more will come"


def _settings(config: Path) -> tuple[Settings, BillingSettings]:
    tables = read_toml(config, environment())
    settings = with_servers(settings_from(tables, config, FOREIGN_TABLES))
    return settings, billing_from(tables, config, {building.id for building in settings.buildings})


async def _made(settings: Settings, billing: BillingSettings, month: date, *, issue: bool) -> Bills:
    async with _biller(settings, billing) as biller:
        if not issue:
            drafts = await biller.preview(month, _today(settings))
            return drafts._replace(invoices=[*await biller.issued(month), *drafts.invoices])
        async with await _connected(settings, "invoices") as bus:
            bills = await biller.issue(month, _today(settings), await _recorder(settings, bus))
        return bills._replace(invoices=await biller.issued(month))  # the tables are the month's


@asynccontextmanager
async def _biller(settings: Settings, billing: BillingSettings) -> AsyncIterator[Biller]:
    async with await SettlementStore.open(settings.postgres) as store:
        yield Biller(settings.community.id, store, billing)


def _today(settings: Settings) -> date:
    return SystemClock().now().astimezone(ZoneInfo(settings.community.zone)).date()


async def _connected(settings: Settings, name: str) -> Bus:
    return await Bus.connect(settings.nats, name, service_user(settings, "settler"))


async def _recorder(settings: Settings, bus: Bus) -> Record:
    """Appends documents to the book, signed by the ledger's service."""
    key = LedgerKeys.load_or_create(settings.keys_folder).service
    stream = SettlementStream(bus, settings.community.id, key)
    await stream.open()
    return stream.append


def _print(documents: Sequence[Invoice]) -> None:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    for heading in ("number", "building", "due", documents[0].currency):
        table.add_column(heading, justify="right" if heading.isupper() else "left", no_wrap=True)
    for each in documents:
        table.add_row(
            each.number or ("preview so far" if each.settled_until else "preview"), each.building,
            "" if each.settled_until else each.due_on.isoformat(),
            decimal(each.total_micro, 2, MICRO),
        )  # fmt: skip
    out.print(table)


def prove(line: str, *, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Walk from a line of an invoice down to the signed readings, and check every step.

    Parameters
    ----------
    line
        The invoice's number and the line's, such as campus-2026-000001/2; `lines.csv` has it as `reference`.
    """
    number, place = line_reference(line)
    if not config.exists():
        raise SettingsInvalid(
            "there is no settings file",
            where=str(config),
            hint="a proof asks the ledger's store: run it where the ledger's settings are, or name them"
            " (--config); what was exported, its invoices too, is checked by `energy-ledger verify`",
        )
    settings, _ = _settings(config)

    async def walk() -> Proof:
        async with await SettlementStore.open(settings.postgres) as store:
            return await Prover(settings.community.id, store).prove(number, place)

    for step in proof_steps(run(walk())):
        out.print(step)
