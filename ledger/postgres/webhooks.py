"""Webhooks in the store, as whoever runs them looks at them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from ledger.access import Role
from ledger.postgres.connection import Connection, statement, transaction
from ledger.postgres.pool import Pool
from ledger.webhooks import Backlog, Delivery, DeliveryState, Message, Webhook, delivery_id


class WebhookStore:
    """One community's. All methods raise `StoreUnavailable`."""

    def __init__(self, pool: Pool, community: str) -> None:
        self._pool = pool
        self._community = community

    async def add(self, new: Webhook, most: int) -> bool:
        """Keep a webhook that is told of what comes from now on; false where there are `most` already."""
        async with self._pool.connection() as connection:
            found = await connection.fetchval(statement("webhook_add"), self._community, *new[:8], most)
        return found is not None

    async def webhooks(self, after: Sequence[str], limit: int, roles: Sequence[Role]) -> list[Webhook]:
        """Webhooks of some roles that come later, in their order."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                statement("webhook_page"), self._community, list(roles), after[0], limit
            )
        return [Webhook(*row) for row in rows]

    async def webhook(self, name: str) -> Webhook | None:
        """One of them."""
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(statement("webhook_one"), self._community, name)
        return Webhook(*row) if row else None

    async def delete(self, name: str) -> None:
        """Forget one and all its deliveries."""
        async with self._pool.connection() as connection:
            await connection.execute(statement("webhook_delete"), self._community, name)

    async def reseal(self, before: Webhook, sealed: bytes, now: datetime) -> bool:
        """Give one another secret; false where somebody else did so since it was read."""
        async with self._pool.connection() as connection:
            found = await connection.fetchval(
                statement("webhook_reseal"), self._community, before.webhook, sealed, now, before.sealed
            )
        return found is not None

    async def enable(self, name: str, now: datetime) -> None:
        """Tell one again that is disabled, and first what waits for it."""
        async with self._pool.connection() as connection, transaction(connection):
            await connection.execute(statement("webhook_enable"), self._community, name)
            await connection.execute(statement("webhook_resume"), self._community, name, now)

    # --- deliveries ---------------------------------------------------------------------------

    async def deliveries(
        self, after: Sequence[Any], limit: int, name: str, state: DeliveryState | None
    ) -> list[Delivery]:
        """Those of one webhook, newest first, behind (created_at, delivery); in one state, if it is told."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                statement("webhook_deliveries_page"), self._community, name, *after, state or "", limit
            )
        return [Delivery(*row) for row in rows]

    async def delivery(self, name: str, delivery: str) -> tuple[Delivery, bytes] | None:
        """One delivery, and the body that is sent."""
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(statement("webhook_delivery"), self._community, name, delivery)
        return (Delivery(*row[:-1]), row["body"]) if row else None

    async def redeliver(self, name: str, delivery: str, now: datetime) -> bool:
        """Let a delivery be tried now, as if it never had been; whether there is such a one."""
        async with self._pool.connection() as connection:
            found = await connection.fetchval(
                statement("webhook_redeliver"), self._community, name, delivery, now
            )
        return found is not None

    async def ping(self, name: str, message: Message, now: datetime) -> str:
        """Tell a webhook that it is there. The id of the delivery: of one that waits, if there is one."""
        async with self._pool.connection() as connection:
            waiting = await connection.fetchval(statement("webhook_ping"), self._community, name)
            if waiting is None:
                await put(connection, self._community, name, [message], now)
        return waiting or delivery_id(self._community, name, message.source)

    async def backlog(self) -> Backlog:
        """What waits."""
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(statement("webhook_backlog"), self._community)
        return Backlog(*row or (0, None, 0))


async def put(
    connection: Connection, community: str, name: str, messages: Sequence[Message], now: datetime
) -> None:
    """Messages for a webhook into its outbox; what it was told before is there already.

    Raises `StoreUnavailable`.
    """
    rows = [
        (community, name, delivery_id(community, name, each.source), each.source, each.topic, each.position,
         each.body, now)
        for each in messages
    ]  # fmt: skip
    await connection.executemany(statement("webhook_deliver"), rows)
