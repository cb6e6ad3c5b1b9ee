"""Commands that settle the book: the service, one step of it by hand, and what was settled so far."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ledger.bus import Bus
from ledger.bus_users import service_user
from ledger.clock import SystemClock
from ledger.command_line import DEFAULT_CONFIG, ConfigPath, configure_logs, environment, run, serve
from ledger.errors import BadInput
from ledger.market_events import SettlementRun
from ledger.opening import LedgerKeys
from ledger.postgres.settlement import RunRow, SettlementStore
from ledger.settings import FOREIGN_TABLES, Settings, read_toml, settings_from, with_servers
from settlement.settings import MarketSettings, market_from
from settlement.settler_service import keep_settling
from settlement.settler_service import settler as open_settler

out = Console(highlight=False, markup=False)


class NoMarket(BadInput):
    """The settings have no market."""

    code = "no-market"


def settler(*, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Run the settler: settle intervals when they close, and again what changed."""
    configure_logs()
    settings, market = _settings(config)

    async def until(stop: asyncio.Event) -> None:
        keys = LedgerKeys.load_or_create(settings.keys_folder)
        name = f"settler {settings.community.id}"
        async with await Bus.connect(settings.nats, name, service_user(settings, "settler")) as bus:
            await keep_settling(settings, market, bus, keys.service, SystemClock(), stop)

    serve(until)


def settle(*, config: ConfigPath = DEFAULT_CONFIG, json: bool = False) -> None:
    """Settle now what has closed or changed, and show the runs that it took. Not while a settler runs.

    Parameters
    ----------
    json
        Print a JSON array instead of a table.
    """
    settings, market = _settings(config)

    async def step() -> list[SettlementRun]:
        keys = LedgerKeys.load_or_create(settings.keys_folder)
        async with (
            await Bus.connect(settings.nats, "settle", service_user(settings, "settler")) as bus,
            open_settler(settings, market, bus, keys.service, SystemClock()) as settler,
        ):
            return await settler.step()

    _show(run(step()), ZoneInfo(settings.community.zone), json, "nothing to settle")


def runs(*, config: ConfigPath = DEFAULT_CONFIG, json: bool = False) -> None:
    """List the settlement runs, each with the size of the log that it counts and the digest of its result.

    Parameters
    ----------
    json
        Print a JSON array instead of a table.
    """
    settings, _ = _settings(config)

    async def read() -> list[RunRow]:
        async with await SettlementStore.open(settings.postgres) as store:
            return await store.runs_after(settings.community.id, 0)

    found = [row.event() for row in run(read())]
    _show(found, ZoneInfo(settings.community.zone), json, "nothing is settled yet")


def _settings(config: Path) -> tuple[Settings, MarketSettings]:
    tables = read_toml(config, environment())
    market = market_from(tables, config)
    if market is None:
        raise NoMarket(
            "the settings have no [market]",
            where=str(config),
            hint="give it a mechanism and a tariff: see README",
        )
    return with_servers(settings_from(tables, config, FOREIGN_TABLES)), market


def _show(runs: Sequence[SettlementRun], zone: ZoneInfo, json: bool, nothing: str) -> None:
    if json:
        out.print_json(msgspec.json.encode(runs).decode())
        return
    table = Table(box=SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)  # for 80 columns
    for heading in ("run", "kind", "from", "until", "set-\ntled", "re-\nvised", "log\nsize", "result"):
        is_number = heading in ("run", "set-\ntled", "re-\nvised", "log\nsize")
        table.add_column(heading, no_wrap=True, justify="right" if is_number else "left")
    for each in runs:
        begin, until = each.begin.astimezone(zone), each.until.astimezone(zone)
        table.add_row(
            str(each.number), each.kind, f"{begin:%Y-%m-%d %H:%M}", f"{until:%m-%d %H:%M}",
            f"{each.settled:,}", f"{each.revised:,}", f"{each.tree_size:,}", each.result[:8],
        )  # fmt: skip
    out.print(table if runs else nothing)
    if runs:
        out.print(f"on the clocks of {zone.key}; --json has the whole digests")
