"""A process that tells webhooks until it is killed: `python -m tests.support.telling DSN`."""

import asyncio
import sys
from datetime import timedelta

from api.webhooks import dispatcher
from api.webhooks.parts import Webhooks
from ledger.clock import SystemClock
from ledger.outgoing.addresses import networks
from ledger.outgoing.door import Outgoing
from ledger.postgres import PostgresSettings
from ledger.postgres.pool import Pool
from ledger.registry import SERVICE
from tests.support.campus import key
from tests.support.webhooks import LOOPBACK

LEASE = timedelta(seconds=3)


async def main(dsn: str) -> None:
    """Tell the campus' webhooks; what is taken is left to others after `LEASE`."""
    dispatcher.LEASE = LEASE
    pool = await Pool.open(PostgresSettings(url=dsn), 4)
    webhooks = Webhooks.of(pool, "campus", key(SERVICE), Outgoing(networks(LOOPBACK)))
    await dispatcher.Dispatcher(webhooks, SystemClock(), lambda _: None).run(asyncio.Event())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
