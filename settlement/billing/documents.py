"""The documents that a book has."""

from typing import NamedTuple

from ledger.postgres.billing import BillingStore
from settlement.billing.as_json import read_document
from settlement.billing.invoice import Invoice


class Issued(NamedTuple):
    """A document, and the run up to which it counts."""

    invoice: Invoice
    run: int


async def issued_documents(store: BillingStore, community: str) -> list[Issued]:
    """All documents of a community, in their order."""
    return [Issued(read_document(event.document), event.run) for event in await store.issued(community)]
