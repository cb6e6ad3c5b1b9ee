"""Commands for what buildings want: orders at a limit, and agreements with one neighbour."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter
from rich.console import Console

from ledger.arguments import Number, Whole
from ledger.book_commands import book_settings
from ledger.bus import Bus
from ledger.bus_users import user_of
from ledger.client import BookClient
from ledger.clock import SystemClock
from ledger.command_line import DEFAULT_CONFIG, ConfigPath, environment, run
from ledger.events import AnyEvent
from ledger.grid import Grid
from ledger.keys import SigningKey
from ledger.market_events import Side
from ledger.opening import service_public
from ledger.postgres.reader import Reader
from ledger.postgres.settlement import SettlementStore
from ledger.postgres.turns import turn
from ledger.registry import OPERATOR
from ledger.settings import Settings, device_settings, read_toml
from settlement.amounts import MICRO
from settlement.book_state import BookState
from settlement.known_building import check_building
from settlement.order_rows import AgreementRow, OrderRow, agreement_rows, order_rows
from settlement.ordering import Desk, Words, clock_window, price_micro

out = Console(highlight=False, soft_wrap=True, markup=False)

ClockFrom = Annotated[str | None, Parameter(name="--from")]
ClockTo = Annotated[str | None, Parameter(name="--to")]


def place(
    order: str,
    *,
    building: str,
    side: Side,
    limit: Number,
    until: str,
    begin: str | None = None,
    energy_wh: Whole | None = None,
    clock_from: ClockFrom = None,
    clock_to: ClockTo = None,
    key_file: Path | None = None,
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """Say at what price a building would sell or buy in every interval of a time to come.

    Parameters
    ----------
    order
        A name for it, such as night-sale; one that the building does not use meanwhile.
    building
        Whose order it is.
    side
        sell or buy.
    limit
        The worst price a kWh at which it would, in the currency: 3.20.
    until
        Until when it holds: 2026-07-01T00:00:00+07:00, or 2026-07-01T00:00 on the community's clocks.
    begin
        From when on; without it from the first interval whose gate is still open.
    energy_wh
        So much an interval at most; without it all that is metered.
    clock_from
        It holds from this time of day only, such as 22:00.
    clock_to
        .. to this one; over midnight where it is the earlier of the two.
    key_file
        The building's own key, enrolled in its name; without it the operator signs on its behalf.
    """
    price, window = price_micro(limit, "--limit"), clock_window(clock_from, clock_to)
    _write(
        config, building, key_file,
        lambda desk: desk.placed(building, order, side, price, energy_wh, (begin, until), window),
    )  # fmt: skip


def cancel(
    order: str,
    *,
    building: str,
    since: str | None = None,
    key_file: Path | None = None,
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """Let an order hold no longer.

    Parameters
    ----------
    order
        Its name.
    building
        Whose order it is.
    since
        From when on; without it from the first interval whose gate is still open.
    key_file
        The building's own key, enrolled in its name; without it the operator signs on its behalf.
    """
    _write(config, building, key_file, lambda desk: desk.cancelled(building, order, since))


def orders(
    *,
    building: str | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """List the orders that hold, have held and will hold.

    Parameters
    ----------
    building
        Those of one building only.
    json
        Print a JSON array instead.
    """
    settings = book_settings(config)
    desk = _reading_desk(settings, building)
    _show([*order_rows(desk.orders, desk.now, building)], desk, settings, json, "no orders")


def propose(
    agreement: str,
    *,
    building: str,
    side: Side,
    partner: str,
    price: Number,
    until: str,
    begin: str | None = None,
    energy_wh: Whole | None = None,
    key_file: Path | None = None,
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """Propose to a neighbour to trade at a fixed price, before all other trade.

    Parameters
    ----------
    agreement
        A name for it.
    building
        Who proposes.
    side
        sell or buy, of the building that proposes.
    partner
        The other building; it holds once that has accepted.
    price
        A kWh, in the currency: 3.20.
    until
        Until when it holds: 2026-07-01T00:00:00+07:00, or 2026-07-01T00:00 on the community's clocks.
    begin
        From when on; without it from the first interval whose gate is still open.
    energy_wh
        So much an interval at most; without it all that both sides meter.
    key_file
        The building's own key, enrolled in its name; without it the operator signs on its behalf.
    """
    micro = price_micro(price, "--price")
    _write(
        config, building, key_file,
        lambda desk: desk.proposed(building, agreement, side, partner, micro, energy_wh, (begin, until)),
    )  # fmt: skip


def accept(
    agreement: str,
    *,
    building: str,
    proposer: str,
    since: str | None = None,
    key_file: Path | None = None,
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """Agree to what a neighbour has proposed.

    Parameters
    ----------
    agreement
        Its name.
    building
        Who accepts.
    proposer
        The building that has proposed it.
    since
        From when on it holds; without it from the first interval whose gate is still open.
    key_file
        The building's own key, enrolled in its name; without it the operator signs on its behalf.
    """
    _write(config, building, key_file, lambda desk: desk.accepted(building, agreement, proposer, since))


def end(
    agreement: str,
    *,
    building: str,
    proposer: str,
    since: str | None = None,
    key_file: Path | None = None,
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """End an agreement, or take a proposal back. Either side may.

    Parameters
    ----------
    agreement
        Its name.
    building
        Who ends it.
    proposer
        The building that has proposed it.
    since
        From when on; without it from the first interval whose gate is still open.
    key_file
        The building's own key, enrolled in its name; without it the operator signs on its behalf.
    """
    _write(config, building, key_file, lambda desk: desk.ended(building, agreement, proposer, since))


def agreements(
    *,
    building: str | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """List the agreements that hold, have held and will hold, and what is proposed.

    Parameters
    ----------
    building
        Those with one building only.
    json
        Print a JSON array instead.
    """
    settings = book_settings(config)
    desk = _reading_desk(settings, building)
    _show([*agreement_rows(desk.orders, desk.now, building)], desk, settings, json, "no agreements")


# --- the book ----------------------------------------------------------------------------------------


async def _desk(settings: Settings) -> Desk:
    """What the book has by now: all of it, projected or not. Raises `NotOpen`, `StoreUnavailable`."""
    community = settings.community.id
    async with await Reader.open(settings.postgres) as reader:
        fence = await reader.fence(community)
    async with await SettlementStore.open(settings.postgres) as store, store.transaction(community):
        book = BookState(community, store)
        await book.follow(fence.size if fence else 0)
    return Desk(book.grid, book.registry, book.orders, SystemClock().now())


@asynccontextmanager
async def _turn(settings: Settings, stream: str) -> AsyncIterator[None]:
    """Be the only one to append to a stream, if the store can be asked: the API takes such turns too.

    Raises `NoTurn`, `StoreUnavailable`.
    """
    if not settings.postgres.url:
        yield
        return
    async with (
        await SettlementStore.open(settings.postgres) as store,
        turn(store.connection, f"{settings.community.id} {stream}"),
    ):
        yield


def _settings(config: Path, key_file: Path | None) -> Settings:
    """The settings. A building with a key of its own may name NATS alone: the store is the ledger's."""
    tables = read_toml(config, environment())
    nats = tables.get("nats")
    is_far = key_file is not None and "postgres" not in tables and isinstance(nats, dict) and "url" in nats
    return device_settings(tables, config) if is_far else book_settings(config)


def _write(config: Path, building: str, key_file: Path | None, made: Callable[[Words], AnyEvent]) -> None:
    """Make an event, check it against the book where that can be asked, send it, wait for the receipt."""
    settings = _settings(config, key_file)
    device = OPERATOR if key_file is None else building
    key = SigningKey.load(key_file or settings.keys_folder / "operator.pem")
    service = service_public(settings.keys_folder)

    async def write() -> tuple[Words, AnyEvent]:
        async with _turn(settings, f"building/{building}"):
            words: Words = Words(Grid(settings.community.interval_minutes, settings.community.zone))
            if settings.postgres.url:
                words = await _desk(settings)
            event = made(words)
            words.check_signer(device, key.public.id, building, event)
            user = user_of(settings, device, key)
            async with await Bus.connect(settings.nats, f"orders of {building}", user) as bus:
                client = BookClient(bus, settings.community.id, device, key, service)
                await client.open()
                await client.append(f"building/{building}", [event])
        return words, event

    words, event = run(write())
    holds = {key: words.shown(at) for key in ("begin", "until", "since") if (at := getattr(event, key, None))}
    span = ", ".join(f"{'from' if key in ('begin', 'since') else key} {at}" for key, at in holds.items())
    out.print(f"in the book, signed by {device}; it counts {span} ({words.grid.zone.key})")
    if isinstance(words, Desk) and not words.registry.market.rules:
        out.print("note: no rules of a market are published yet, and until then nothing is traded")


# --- what is listed ----------------------------------------------------------------------------------


def _reading_desk(settings: Settings, building: str | None) -> Desk:
    """What the book has, of a building if one is named. Raises `UnknownBuilding`."""
    desk = run(_desk(settings))
    if building is not None:
        check_building(building, desk.registry.buildings, where="--building")
    return desk


Row = OrderRow | AgreementRow


def _show(rows: Sequence[Row], desk: Desk, settings: Settings, json: bool, nothing: str) -> None:
    """The rows, the newest last."""
    rows = sorted(rows, key=lambda row: row.begin)
    if json:
        out.out(msgspec.json.format(msgspec.json.encode(rows), indent=2).decode(), highlight=False)
        return
    for line in _lines(rows, desk, settings.community.currency):
        out.print(line)
    out.print(f"on the clocks of {desk.grid.zone.key}" if rows else nothing)


def _lines(rows: Iterable[Row], desk: Desk, currency: str) -> Iterator[str]:
    """Two lines a row: who would trade what at what price, and when."""
    for row in rows:
        hours = ""
        if isinstance(row, OrderRow):
            who, price = f"{row.building} {row.order}", row.limit_micro_per_kwh
            bound = "or more" if row.side == "sell" else "or less"
            hours = f", {row.clock_from} to {row.clock_until}" if row.clock_from else ""
        else:
            who, price = f"{row.proposer} {row.agreement}", row.price_micro_per_kwh
            bound = f"{'to' if row.side == 'sell' else 'from'} {row.partner}"
        energy = "all" if row.energy_wh is None else f"{row.energy_wh:,} Wh an interval"
        yield f"{row.state:<11}{who}: {row.side} {energy} at {_price(price)} {currency}/kWh {bound}"
        yield f"{'':<11}{desk.shown(row.begin)} until {desk.shown(row.until)}{hours}"


def _price(micro: int) -> str:
    """Exact, with two decimals at least."""
    whole, rest = divmod(micro, MICRO)
    return f"{whole:,}.{f'{rest:06d}'.rstrip('0').ljust(2, '0')}"
