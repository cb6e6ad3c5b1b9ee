"""Commands that run or tend the services of the book."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar
from zoneinfo import ZoneInfo

import msgspec
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from ledger.arguments import Whole
from ledger.bus import Bus
from ledger.bus_users import service_user
from ledger.clock import rfc3339
from ledger.command_line import (
    DEFAULT_CONFIG,
    ConfigPath,
    configure_logs,
    environment,
    run,
    serve,
)
from ledger.keys import PublicKey
from ledger.postgres.reader import Reader, Row
from ledger.projector import rebuild as rebuild_projections
from ledger.quarantine import dropped_lines, listing, what_to_do
from ledger.services import migrate_store, run_projector, run_writer
from ledger.settings import FOREIGN_TABLES, Settings, load_settings
from ledger.words import counted

T = TypeVar("T")

SENTENCES = ("detail",)
SENTENCE_WIDTH_MIN = 40
GAP = 3
"""Columns that hold sentences."""

out = Console(highlight=False, markup=False)
progress_console = Console(stderr=True)


def book_settings(config: ConfigPath) -> Settings:
    """The book's part of the settings file. Raises `SettingsInvalid`, `NotRunning`."""
    return load_settings(config, environment(), FOREIGN_TABLES)


def migrate(*, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Bring the database to this version of the program."""
    taken = run(migrate_store(book_settings(config).postgres))
    out.print("\n".join(taken) if taken else "nothing to do: the database is up to date")


def writer(*, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Run the writer: verify what comes in, append it to the book, answer with receipts."""
    configure_logs()
    settings = book_settings(config)
    serve(lambda stop: run_writer(settings, stop))


def projector(*, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Run the projector: keep the tables that people read near the book."""
    configure_logs()
    settings = book_settings(config)
    serve(lambda stop: run_projector(settings, stop))


def rebuild(*, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Build all projections anew beside the live ones and put them in their place."""
    settings = book_settings(config)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=progress_console) as bar:
        tasks: dict[str, TaskID] = {}

        def show(community: str, applied: int, of: int) -> None:
            if community not in tasks:
                tasks[community] = bar.add_task(community)
            bar.update(tasks[community], completed=applied, total=of)

        counts = run(rebuild_projections(settings.postgres, show))
    for community, count in counts.items():
        out.print(f"{community}: {counted(count, 'event')} applied, projections swapped")


def seal(*, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Seal all events so far into a block now, and print the newest block."""
    settings = book_settings(config)

    async def ask() -> bytes:
        async with await Bus.connect(settings.nats, "seal", service_user(settings, "operator")) as bus:
            return await bus.ask_seal(settings.community.id)

    # One line, whatever the terminal's width: scripts read it, and auditors hash it.
    out.print(run(ask()).decode() or "the book is empty: nothing to seal", soft_wrap=True)


def status(*, config: ConfigPath = DEFAULT_CONFIG, json: bool = False) -> None:
    """Show the book: its size and root, how near the projections are, meters and when they were read last.

    Parameters
    ----------
    json
        Print one JSON object instead of tables.
    """

    async def ask(reader: Reader, community: str) -> tuple[Row, list[Row], list[Row]]:
        fence = await reader.fence(community)
        book = {
            "community": community,
            "size": fence.size if fence else 0,
            "root": fence.root.hex() if fence else "",
            "log_key": await reader.log_key(community),
            "projected": await reader.projected(community),
            "blocks": len(await reader.blocks(community)),
        }
        read = await reader.read_at(community)
        meters = [row | {"read_at": read.get(row["meter"])} for row in await reader.meters(community)]
        return book, meters, await reader.devices(community)

    settings = book_settings(config)
    book, meters, devices = run(_read(settings, ask))
    if json:
        _print_json(book | {"meters": meters, "devices": devices})
        return
    out.print(
        f"{book['community']}: {counted(book['size'], 'event')}, {book['projected']:,} projected, "
        f"{counted(book['blocks'], 'block')}\nroot {book['root']}\nlog key, for auditors: {book['log_key']}",
        soft_wrap=True,
    )
    zone = ZoneInfo(settings.community.zone)
    for meter in meters:
        meter["read"] = f"{meter['read_at'].astimezone(zone):%Y-%m-%d %H:%M}" if meter["read_at"] else ""
    _print_rows("Meters", meters, ("meter", "role", "building", "reader", "model", "read"))
    if meters:
        out.print(f"read: measured last of what is in the book, on the clocks of {zone.key}", soft_wrap=True)
    for device in devices:
        public = device["public_key"]
        device["key"] = PublicKey.from_hex(public).id if public else "revoked"
    _print_rows("Devices", devices, ("device", "role", "key"))


def quarantine(*, config: ConfigPath = DEFAULT_CONFIG, most: Whole = 20, json: bool = False) -> None:
    """List what was refused, why, and what to do about it, newest first.

    Parameters
    ----------
    most
        Messages to show.
    json
        Print a JSON array instead of lines.
    """

    async def read(reader: Reader, community: str) -> tuple[list[Row], list[Row]]:
        return await reader.quarantine(community, most), await reader.quarantine_dropped(community)

    rows, dropped = run(_read(book_settings(config), read))
    if json:
        _print_json([row | {"what_to_do": what_to_do(row)} for row in rows])
        return
    for line in [*(listing(rows) or ["Quarantine: none"]), *dropped_lines(dropped)]:
        out.print(_printable(line), soft_wrap=True)


def alarms(*, config: ConfigPath = DEFAULT_CONFIG, most: Whole = 20, json: bool = False) -> None:
    """List the alarms that gateways raised, newest first.

    Parameters
    ----------
    most
        Rows to show.
    json
        Print a JSON array instead of a table.
    """
    rows = run(_read(book_settings(config), lambda reader, community: reader.alarms(community, most)))
    if json:
        _print_json(rows)
    else:
        _print_rows("Alarms", rows, ("at", "device", "alarm", "meter", "detail"))


async def _read(settings: Settings, ask: Callable[[Reader, str], Awaitable[T]]) -> T:
    async with await Reader.open(settings.postgres) as reader:
        return await ask(reader, settings.community.id)


def _print_json(value: object) -> None:
    out.print_json(msgspec.json.encode(value).decode())


def _shown(value: object) -> str:
    return _printable(rfc3339(value) if isinstance(value, datetime) else str(value))


def _printable(text: str) -> str:
    """What others wrote must not steer the reader's terminal."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def _print_rows(title: str, rows: list[Row], columns: tuple[str, ...]) -> None:
    if not rows:
        out.print(f"{title}: none")
        return
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
    cells = [["" if row[column] is None else _shown(row[column]) for column in columns] for row in rows]
    needed = 1
    for column, values in zip(columns, zip(*cells, strict=True), strict=True):
        # What people type again or look for is shown whole, in a window that is too narrow as well.
        is_sentence = column in SENTENCES
        width = SENTENCE_WIDTH_MIN if is_sentence else max(map(cell_len, (column, *values)))
        needed += width + GAP
        table.add_column(column, overflow="fold", min_width=width, no_wrap=not is_sentence)
    for row in cells:
        table.add_row(*map(escape, row))
    out.print(table, width=max(out.width, needed), soft_wrap=True)
