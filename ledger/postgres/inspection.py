"""What an operator looks at: alarms, the market as published, and who asked the API for what."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from ledger.market_events import MarketRulesPublished, TariffPublished
from ledger.postgres.connection import statement, transaction
from ledger.postgres.pool import Pool
from ledger.postgres.reader import Reader, Row


class AlarmRow(NamedTuple):
    """An alarm, and its place in the log."""

    position: int
    device: str
    alarm: str
    meter: str | None
    detail: str
    at: datetime


class RequestRow(NamedTuple):
    """A request, and who asked: the prefix of a key, or a person's id and name."""

    at: datetime
    id: str
    prefix: str | None
    person: str | None
    role: str | None
    method: str
    path: str
    status: int
    micros: int


class RegistryRows(NamedTuple):
    """The registry in one state."""

    feeders: list[Row]
    buildings: list[Row]
    meters: list[Row]
    devices: list[Row]


class EpochsAround(NamedTuple):
    """A meter's intervals around an instant: the epoch of the last one that ends before it, with the highest
    register there, that of the first one that does not, and until when the newest is."""

    before: int | None
    register_wh: int | None
    after: int | None
    until: datetime | None


class Published(NamedTuple):
    """The market in one state."""

    rules: list[MarketRulesPublished]
    tariffs: list[TariffPublished]


class Inspection:
    """One community's. All methods raise `StoreUnavailable`."""

    def __init__(self, pool: Pool, community: str) -> None:
        self._pool = pool
        self._community = community

    async def registry(self) -> RegistryRows:
        """Feeders, buildings, meters with reader and newest interval, and devices."""
        async with self._pool.connection() as connection, transaction(connection, "repeatable_read"):
            reader = Reader(connection)
            return RegistryRows(
                await reader.feeders(self._community),
                await reader.buildings(self._community),
                await reader.meters(self._community),
                await reader.devices(self._community),
            )

    async def epochs_around(self, meter: str, at: datetime, step: timedelta) -> EpochsAround:
        """What is counted of a meter around an instant, in intervals of a length."""
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(
                statement("meter_epochs_around"), self._community, meter, at, step
            )
        assert row is not None  # noqa: S101 - there is always one
        return EpochsAround(*row)

    async def market(self) -> Published:
        """Rules in order of the instant from which they hold, tariffs by name."""
        async with self._pool.connection() as connection, transaction(connection, "repeatable_read"):
            rules = await connection.fetch(statement("market_rules"), self._community)
            tariffs = await connection.fetch(statement("market_tariffs"), self._community)
        return Published(
            [msgspec.json.decode(row["body"], type=MarketRulesPublished) for row in rules],
            [msgspec.json.decode(row["body"], type=TariffPublished) for row in tariffs],
        )

    async def alarms(self, after: Sequence[int], limit: int) -> list[AlarmRow]:
        """Alarms before a position, newest first."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(statement("alarms_page"), self._community, after[0], limit)
        return [AlarmRow(*row) for row in rows]

    async def requests(self, after: Sequence[Any], limit: int, path: str) -> list[RequestRow]:
        """Who asked for what, newest first, behind (at, id): somebody of the community, or under `path`."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(statement("requests_page"), self._community, *after, path, limit)
        return [RequestRow(*row) for row in rows]
