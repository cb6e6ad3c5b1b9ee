"""`energy-ledger demo`: the demo's course with a progress bar, then what there is to see."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter, validators
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from api.demo.campus import DAYS_MAX
from api.demo.life import BuildingResult, DemoResult, live
from api.demo.market import MarketResult
from ledger.arguments import Whole
from ledger.command_line import configure_logs, run
from ledger.errors import Damaged
from ledger.verify.report import Report
from ledger.words import counted
from settlement.amounts import MICRO
from settlement.plain.shown import decimal

out = Console(highlight=False)
error = Console(stderr=True, highlight=False)

Days = Annotated[Whole, Parameter(validator=validators.Number(gte=1, lte=DAYS_MAX))]
MARKS = {"pass": "[green]pass[/]", "fail": "[red]FAIL[/]", "warnings": "[yellow]warnings[/]"}


def demo(*, days: Days = DAYS_MAX, keep: Path | None = None, json: bool = False) -> None:
    """A campus of five buildings in a minute: meters, gateway, NATS, Postgres, proof, all of them real.

    Everything runs on this machine's loopback, in a folder of its own that is removed at the end.

    Parameters
    ----------
    days
        How many days of June 2016 to live through, up to 30.
    keep
        A folder for what is worth a look afterwards: the exported book, the invoices in every form, and the
        installation, which `energy-ledger up` starts again there.
    json
        Print one JSON object for scripts instead of tables.
    """
    configure_logs(logging.ERROR)
    with _farewell():
        result = _lived(days, keep)
        if json:
            _print_json(result)
        else:
            _print_tables(result)
            if keep is not None:
                out.print(
                    f"kept in {keep}: campus.book.jsonl, the invoices and the installation; `cd {keep}`,"
                    " `energy-ledger up`, and in another terminal `energy-ledger statement mall 2016-06`",
                    soft_wrap=True,
                )
    if not result.verified or not result.tamper_found_at:
        raise Damaged("the demo's book does not prove what it should", where="demo")


@contextmanager
def _farewell() -> Iterator[None]:
    """Whoever breaks the demo off is told what became of it."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        error.print("stopped; nothing was left running")
        raise


def _lived(days: int, keep: Path | None) -> DemoResult:
    """The demo's course, under bars."""
    columns = (
        TextColumn("{task.description:<32}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=error) as bar:
        tasks: dict[str, TaskID] = {}

        def show(stage: str, done: int, of: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage)
            bar.update(tasks[stage], completed=done, total=of)

        show("starting Postgres and NATS", 0, 1)

        def step(stage: str, done: int, of: int) -> None:
            show("starting Postgres and NATS", 1, 1)
            show(stage, done, of)

        return run(live(days, step, keep))


def _print_json(result: DemoResult) -> None:
    """The keys that scripts rely on, and no others of the report's innards."""
    keys = (
        "days", "events", "buildings", "main", "market", "blocks", "tree_size", "root", "verified",
        "tamper_found_at", "seconds",
    )  # fmt: skip
    print(msgspec.json.encode({key: getattr(result, key) for key in keys}).decode())  # noqa: T201 - one line of JSON, which the console would wrap


def _print_tables(result: DemoResult) -> None:
    out.print(
        f"\n[bold]{counted(result.days, 'day')} of June 2016, {result.events:,} signed events in the book[/]"
    )
    table = Table(box=SIMPLE_HEAD, padding=0, pad_edge=False)  # 80 columns are enough for it
    table.add_column("kWh", no_wrap=True)
    for heading in ("imported", "in the data", "exported", "in the data"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("step", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for name, building in result.buildings.items():
        _add_row(table, name, building)
    table.add_section()
    _add_row(table, "main meter", result.main)
    out.print(table)
    out.print("ok: the book equals the data to one step of the meter's register\n")
    _print_market(result.market)
    out.print(
        f"{counted(result.blocks, 'block')} sealed, tree of {counted(result.tree_size, 'event')} with root\n"
        f"{result.root}\n"
    )
    _print_report("The exported book, verified with Postgres and NATS stopped", result.verification)
    _print_report("The same book with one bit of one reading flipped", result.tampered)
    if result.tamper_found_at:
        out.print(f"found at [bold]{result.tamper_found_at}[/]\n")
    out.print(f"done in {result.seconds:.0f} s; nothing is left running. Next: README.md, Running a campus")


def _print_market(market: MarketResult) -> None:
    """Who pays what under each mechanism, and what it saves against having no market."""
    intervals = counted(market.intervals, "interval")
    out.print(
        f"[bold]{intervals} settled by the tariff MEA 4.2.2: energy in THB, no fixed charges or taxes[/]"
    )
    table = Table(box=SIMPLE_HEAD, padding=0, pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("without", justify="right")
    for mechanism in market.outcomes:
        table.add_column(mechanism, justify="right")
        table.add_column("saves", justify="right")
    first, *_ = market.outcomes.values()
    for building, outcome in first.items():
        cells = [_money(outcome.without_micro)]
        for outcomes in market.outcomes.values():
            cells += [_money(outcomes[building].cost_micro), _money(outcomes[building].saving_micro)]
        table.add_row(building, *cells)
    out.print(table)
    out.print("every posting has its counter-posting: energy and money sum to zero in every interval")
    mechanism = next(iter(market.outcomes))
    out.print(
        f"\n[bold]Invoices by {mechanism}, with parts of the campus's demand and fixed charges, and VAT[/]"
    )
    for invoice in market.invoices:
        name = f"invoice {invoice.number}" if invoice.number else "preview"
        out.print(f"  {name} for {invoice.building}: {_money(invoice.total_micro)} THB")
    if market.proof:
        out.print("\n[bold]One line of an invoice, proven down to the meter[/]")
        for step in market.proof:
            out.print(f"  {step}", markup=False)
    out.print()


def _money(micro: int) -> str:
    return decimal(micro, 2, MICRO)


def _add_row(table: Table, name: str, result: BuildingResult) -> None:
    table.add_row(
        name,
        _kwh(result.import_wh),
        _kwh(result.data_import_wh),
        _kwh(result.export_wh),
        _kwh(result.data_export_wh),
        f"{result.resolution_wh} Wh",
        "[green]ok[/]" if result.agrees else "[red]differs[/]",
    )


def _kwh(energy_wh: int) -> str:
    return f"{energy_wh // 1_000:,}.{energy_wh % 1_000:03d}"


def _print_report(title: str, report: Report) -> None:
    out.print(f"[bold]{title}[/]")
    for verdict in report.verdicts:
        mark = MARKS.get(verdict.status, verdict.status)
        out.print(f"  {verdict.step} {verdict.name:<20} {mark}  {verdict.summary}")
        for finding in verdict.findings[:1]:
            out.print(f"      first at {finding.where}: {finding.what}")
    out.print()
