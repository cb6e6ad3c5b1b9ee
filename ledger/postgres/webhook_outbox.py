"""The outbox of webhooks: filled from the book by position, emptied by whichever process comes first.

    fill    what the projections have seen, in one transaction with the place up to which a webhook was told
    take    what is due, each by one process alone (FOR UPDATE SKIP LOCKED), and for so long only
    note    what became of a try; a process that dies in between leaves it to be tried again

Nothing is told under two ids, and nothing is left out: a webhook's place and its messages move together.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from ledger.postgres.connection import Connection, statement, transaction
from ledger.postgres.pool import Pool
from ledger.postgres.webhooks import put
from ledger.webhooks import ALARM, DISABLED, FORK, DisabledFor, Due, Message, Webhook

PAGE = 500


class SettledRow(NamedTuple):
    """An event of the stream `settlement`, and when it was recorded."""

    sequence: int
    position: int
    body: bytes
    recorded_at: datetime


class AlarmTold(NamedTuple):
    """An alarm, without what a gateway said of it."""

    position: int
    device: str
    alarm: str
    meter: str | None
    at: datetime


class ForkTold(NamedTuple):
    """A message that was refused as a fork."""

    digest: bytes
    device: str
    stream: str | None
    sequence: int | None
    first_at: datetime


class Telling(Protocol):
    """What a webhook is told of what came into the book."""

    def settled(self, row: SettledRow) -> Message:
        """Of a run, or of a document."""

    def alarm(self, row: AlarmTold) -> Message:
        """Of an alarm."""

    def fork(self, row: ForkTold) -> Message:
        """Of a fork."""

    def disabled(self, webhook: Webhook) -> Message:
        """Of another webhook that was disabled."""


class Outbox:
    """One community's. All methods raise `StoreUnavailable`, and `NotReady` as long as there are no
    projections."""

    def __init__(self, pool: Pool, community: str, telling: Telling) -> None:
        self._pool = pool
        self._community = community
        self._telling = telling

    async def behind(self, oldest_fork: datetime) -> list[str]:
        """Webhooks that something is to be told which is not in their outbox."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(statement("webhook_behind"), self._community, oldest_fork)
        return [row["webhook"] for row in rows]

    async def fill(self, name: str, oldest_fork: datetime, now: datetime) -> None:
        """Put what comes next for a webhook into its outbox: a page at most, and nothing where another
        process does so right now."""
        async with self._pool.connection() as connection, transaction(connection):
            place = await connection.fetchrow(statement("webhook_lock"), self._community, name)
            if place is None:
                return
            settled = [
                SettledRow(*row)
                for row in await connection.fetch(
                    statement("webhook_settled"), self._community, place["sequence"], place["projected"], PAGE
                )
            ]
            alarms = await self._alarms(connection, place["topics"], place["position"], place["projected"])
            forks = await self._forks(
                connection, name, place["topics"], max(place["created_at"], oldest_fork)
            )
            messages = [
                *map(self._telling.settled, settled), *map(self._telling.alarm, alarms),
                *map(self._telling.fork, forks),
            ]  # fmt: skip
            wanted = [each for each in messages if each.topic in place["topics"]]
            await put(connection, self._community, name, wanted, now)
            sequence = settled[-1].sequence if settled else place["sequence"]
            position = alarms[-1].position + 1 if alarms else place["position"]
            await connection.execute(statement("webhook_move"), self._community, name, sequence, position)

    async def _alarms(
        self, connection: Connection, topics: Sequence[str], begin: int, end: int
    ) -> list[AlarmTold]:
        if ALARM not in topics:
            return []
        rows = await connection.fetch(statement("webhook_alarms"), self._community, begin, end, PAGE)
        return [AlarmTold(*row) for row in rows]

    async def _forks(
        self, connection: Connection, name: str, topics: Sequence[str], since: datetime
    ) -> list[ForkTold]:
        if FORK not in topics:
            return []
        rows = await connection.fetch(statement("webhook_forks"), self._community, name, since, PAGE)
        return [ForkTold(*row) for row in rows]

    async def take(
        self, now: datetime, until: datetime, free: Mapping[str, int], of_each: int, most: int
    ) -> list[Due]:
        """The deliveries that are due longest, to be tried until an instant: `of_each` webhook, but of some
        so many as `free` tells."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                statement("webhook_take"), self._community, now, until,
                list(free), list(free.values()), of_each, most,
            )  # fmt: skip
        return [Due(*row) for row in rows]

    async def note_delivered(self, due: Due, status: int) -> None:
        """It was taken by who it is for."""
        async with self._pool.connection() as connection, transaction(connection):
            await connection.execute(
                statement("webhook_note_delivered"), self._community, due.webhook, due.delivery, status
            )
            await connection.execute(statement("webhook_works"), self._community, due.webhook)

    async def note_failed(
        self, due: Due, now: datetime, again_at: datetime | None, status: int | None, code: str
    ) -> None:
        """A try failed; there is another one at an instant, or none any more."""
        state = "waiting" if again_at else "failed"
        async with self._pool.connection() as connection, transaction(connection):
            await connection.execute(
                statement("webhook_note_failed"), self._community, due.webhook, due.delivery, due.tries,
                state, again_at or now, status, code,
            )  # fmt: skip
            await connection.execute(statement("webhook_fails"), self._community, due.webhook, now)

    async def disable(
        self, name: str, now: datetime, reason: DisabledFor, failing_before: datetime | None = None
    ) -> bool:
        """Tell a webhook nothing more, and others that this is so; whether that is new. With `failing_before`
        only if it took nothing since then."""
        async with self._pool.connection() as connection, transaction(connection):
            row = await connection.fetchrow(
                statement("webhook_disable"), self._community, name, now, reason, failing_before
            )
            if row is None:
                return False
            message = self._telling.disabled(Webhook(*row))
            for other in await connection.fetch(
                statement("webhook_subscribed"), self._community, DISABLED, name
            ):
                await put(connection, self._community, other["webhook"], [message], now)
        return True

    async def forget(self, before: datetime) -> None:
        """Forget deliveries that came to an end and were made before an instant."""
        async with self._pool.connection() as connection:
            await connection.execute(statement("webhook_forget"), self._community, before)
