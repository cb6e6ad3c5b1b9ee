"""What webhooks are made of: store, outbox, seal, words and the way out. Made once, by whoever serves."""

import asyncio
from dataclasses import dataclass, field
from typing import Self

from api.webhooks.messages import Telling
from api.webhooks.sealing import WebhookSeal
from ledger.keys import SigningKey
from ledger.outgoing.door import Outgoing
from ledger.postgres.pool import Pool
from ledger.postgres.webhook_outbox import Outbox
from ledger.postgres.webhooks import WebhookStore


@dataclass
class Webhooks:
    """One community's. `wake` is set by whoever has put something into the outbox that is due at once."""

    store: WebhookStore
    outbox: Outbox
    seal: WebhookSeal
    telling: Telling
    outgoing: Outgoing
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def of(cls, pool: Pool, community: str, service: SigningKey, outgoing: Outgoing) -> Self:
        """Those of a community, whose secrets follow from the ledger's service key."""
        telling = Telling(community)
        return cls(
            WebhookStore(pool, community), Outbox(pool, community, telling), WebhookSeal(community, service),
            telling, outgoing,
        )  # fmt: skip
