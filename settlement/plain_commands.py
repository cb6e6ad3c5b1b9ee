"""`energy-ledger what-if`, `bill` and `tariffs`: on plain files and without any server, but for a what-if on
the book, whose own part is loaded when it is asked for."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cyclopts import Parameter
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ledger.arguments import Day, Folder, Number
from ledger.command_line import DEFAULT_CONFIG, ConfigPath
from ledger.errors import BadInput
from ledger.grid import Grid
from ledger.market_events import MechanismName
from settlement.plain.reading import read_load
from settlement.plain.rows import Told
from settlement.plain.shown import print_bill, print_result
from settlement.plain.values import BadCell
from settlement.plain.what_if import Result, settle_files
from settlement.tariff import Tariff, load_tariff, tariff_names
from settlement.tariff_copy import copy_tariff
from settlement.utility_bill import MonthBill, utility_bills

screen = Console(highlight=False, markup=False)

KILOWATTS_MAX = 10**6


class WrongOptions(BadInput):
    """Options that do not go together."""

    code = "wrong-options"


def what_if(
    *,
    energies: Path | None = None,
    rules: Annotated[tuple[Path, ...], Parameter(negative="", show_default=False)] = (),
    out: Folder | None = None,
    orders: Path | None = None,
    mechanism: Annotated[tuple[MechanismName, ...], Parameter(negative="", show_default=False)] = (),
    begin: Day | None = None,
    until: Day | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """Show who would pay what under the rules of a market: on plain files, or on the book.

    On plain files, without any server: give --energies, --rules and --out, and --orders if there are any.
    Writes trades.csv, shares.csv, buildings.csv and journal.csv; all of them, or none where a file is wrong.

    On the book of the installation: give --begin and --until, and --mechanism or --rules, each as often as
    you like. Settles what the book has of these days under each of them, beside the published rules; orders
    and agreements count as they did, and nothing is posted.

    Parameters
    ----------
    energies
        CSV, one row a building and interval: interval_start,building,import_wh,export_wh. Wh from and to the
        grid at the building's meter, decimals allowed; or import_kwh,export_kwh. Instants such as
        2026-06-01T00:15:00+07:00; without an offset they are local times of the zone that the rules name, or
        else of the tariff's, or else of Asia/Bangkok.
    rules
        TOML: mechanism, interval_minutes, currency, and retail_micro_per_kwh with feed_in_micro_per_kwh, or a
        tariff; the mechanism's parameters, feeders, wheeling and zone. settlement/plain/examples has one
        for each mechanism. On the book a building's feeder is the book's where the file names none.
    out
        The folder for the result; it is made where there is none. On the book: comparison.csv, if asked for.
    orders
        CSV: interval_start,building,side,energy_wh,limit_micro_per_kwh[,zone]. side is buy or sell; no energy
        means all that was metered. A building without orders takes the market's price.
    mechanism
        On the book: the published rules with this mechanism instead; `energy-ledger mechanisms` explains all.
    begin
        On the book: the first day, such as 2026-06-01, on the community's calendar.
    until
        On the book: the day after the last one, such as 2026-07-01.
    json
        Print one JSON object instead of tables.
    """
    if energies is None:
        _what_if_on_book(config, begin, until, rules, mechanism, orders, out, json=json)
        return
    if len(rules) != 1 or out is None or mechanism or begin or until:
        raise WrongOptions(
            "with --energies there is one --rules and --out, and no --mechanism, --begin or --until",
            hint="`energy-ledger what-if --help` tells the two uses",
        )
    with _progress() as told:
        result = settle_files(energies, rules[0], orders, out, told)
    if json:
        _print_json(_as_json(result))
        return
    print_result(screen, result)
    _print_notes(result.notes)
    screen.print(f"written to {out}: trades.csv, shares.csv, buildings.csv, journal.csv", soft_wrap=True)


def _what_if_on_book(
    config: Path,
    begin: date | None,
    until: date | None,
    rules: tuple[Path, ...],
    mechanisms: tuple[MechanismName, ...],
    orders: Path | None,
    out: Path | None,
    *,
    json: bool,
) -> None:
    from settlement import comparison_commands as on_book  # noqa: PLC0415 - plain files need no store

    if begin is None or until is None or not (rules or mechanisms) or orders is not None:
        raise WrongOptions(
            "on the book there are --begin, --until, and --mechanism or --rules, and no --orders",
            hint="or give --energies for plain files; `energy-ledger what-if --help` tells the two uses",
        )
    if until <= begin:
        raise WrongOptions(
            f"{until} is not after {begin}", where="--until", hint="it is the day after the last"
        )
    with _progress() as told:
        answer = on_book.what_if_on_book(config, on_book.Asked(begin, until, rules, mechanisms), told)
    if out is not None:
        on_book.write_answer(out, answer)
    if json:
        _print_json(on_book.as_json(answer))
        return
    on_book.print_answer(screen, answer)
    _print_notes(answer.notes())
    if out is not None:
        screen.print(f"written to {out}: {on_book.RESULT}", soft_wrap=True)


def bill(
    *,
    tariff: str,
    load: Path,
    interval_minutes: Literal[5, 10, 15, 30, 60] = 15,
    contracted_kw: Number | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Recompute a utility bill, month by month, from what flowed in every interval.

    Parameters
    ----------
    tariff
        Its name, one of those that `energy-ledger tariffs` lists, or a TOML file of your own.
    load
        CSV: interval_start,import_wh[,export_wh][,reactive_varh]. In the place of import_wh there may be
        import_kwh, or import_kw, the average power of the interval. Instants such as
        2026-06-01T00:15:00+07:00; without an offset they are local times of the tariff's zone.
    interval_minutes
        The intervals' length.
    contracted_kw
        The contracted power, for tariffs that bill it and for no others.
    json
        Print a JSON array instead of tables.
    """
    found = load_tariff(tariff)
    if contracted_kw is not None and not any(version.capacity for version in found.file.versions):
        raise WrongOptions(
            f"the tariff {found.name} bills no contracted power", where="--contracted-kw", hint="leave it out"
        )
    rows = read_load(load, Grid(interval_minutes, found.file.zone), found.terms)
    bills = list(utility_bills(found, rows, interval_minutes, _watts(contracted_kw)))
    if json:
        _print_json([_bill_json(each, found) for each in bills])
        return
    for each in bills:
        print_bill(screen, each, found)
    _print_notes(found.notes(each.month.year for each in bills))


def tariffs(*, copy: str = "", to: Folder = Path()) -> None:
    """List the tariffs that there are, or copy one to be edited.

    Parameters
    ----------
    copy
        The tariff whose file is wanted, with those that it refers to: holidays and surcharges such as Ft.
    to
        The folder; this one by default. What is there already is left as it is.
    """
    if copy:
        for path in copy_tariff(copy, to):
            screen.print(f"written: {path}", soft_wrap=True)
        screen.print(
            f'use it: tariff = "{to.joinpath(copy)}.toml" under [market], or --tariff', soft_wrap=True
        )
        return
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("tariff", no_wrap=True)
    table.add_column("what", overflow="fold")
    table.add_column("confirmed", no_wrap=True)
    for name in tariff_names():
        tariff = load_tariff(name)
        begin, until = tariff.known()
        span = f"{begin} to before {until}" if until else f"from {begin} on"
        what = f"{tariff.file.name} ({tariff.file.currency})\nknown {span}"
        table.add_row(name, what, "yes" if tariff.file.confirmed else "not yet")
    screen.print(table)
    screen.print("known: all of it, its surcharges and holidays too", soft_wrap=True)
    screen.print("confirmed: somebody has held it against the regulator's own text", soft_wrap=True)


def _watts(kilowatts: Decimal | None) -> int | None:
    if kilowatts is None:
        return None
    if not (kilowatts.is_finite() and 0 <= kilowatts <= KILOWATTS_MAX and kilowatts * 1_000 % 1 == 0):
        raise BadCell(f"{kilowatts} is no power from 0 kW up in whole watts", where="--contracted-kw")
    return int(kilowatts * 1_000)


@contextmanager
def _progress() -> Iterator[Told]:
    """Tells on standard error what is read and settled, if a person looks at it."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done: bar.update(task, description=f"{what}: {done:,}")


def _print_notes(notes: Iterable[str]) -> None:
    for note in notes:
        screen.print(f"note: {note}", soft_wrap=True)


def _print_json(value: object) -> None:
    """As it is: what reads it is a program, and the screen's library would take a while to colour it."""
    screen.out(msgspec.json.format(msgspec.json.encode(value), indent=2).decode(), highlight=False)


def _as_json(result: Result) -> dict[str, object]:
    return {
        "mechanism": result.mechanism,
        "intervals": result.intervals,
        "trades": result.trades,
        "currency": result.currency,
        "community": result.community._asdict(),
        "buildings": {each.building: each._asdict() for each in result.buildings},
        "notes": result.notes,
    }


def _bill_json(bill: MonthBill, tariff: Tariff) -> dict[str, object]:
    return {
        "month": f"{bill.month:%Y-%m}",
        "tariff": tariff.name,
        "currency": tariff.file.currency,
        "intervals": bill.intervals,
        "intervals_max": bill.intervals_max,
        "lines": [line._asdict() for line in bill.lines],
        "total_micro": bill.total_micro,
    }
