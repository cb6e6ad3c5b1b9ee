"""What is told: one JSON object a message, canonical, so that every process makes the same bytes of an event.

    {"data":{..},"timestamp":"2026-07-08T00:15:04Z","type":"invoice.issued"}

Ids, amounts and links, and nothing that was measured: whoever wants to know more asks the API with a key of
their own. Links are paths of the API, which does not know by which name it is reached from outside.
"""

from datetime import date, datetime

import msgspec

from api.http.shapes import Amount, amount
from ledger.canonical import encode
from ledger.clock import rfc3339
from ledger.event import new_salt
from ledger.events import read_recorded
from ledger.market_events import InvoiceIssued, SettlementRun
from ledger.postgres.webhook_outbox import AlarmTold, ForkTold, SettledRow
from ledger.webhooks import ALARM, DISABLED, FORK, PING, Message, Webhook
from settlement.billing.as_json import read_document
from settlement.billing.totals import line_micro


class RunTold(msgspec.Struct, frozen=True):
    """A settlement run of the intervals of [begin, until). `result` is the digest of its postings."""

    community: str
    position: int
    number: int
    kind: str
    begin: str
    until: str
    settled: int
    revised: int
    tree_size: int
    result: str
    link: str


class DocumentTold(msgspec.Struct, frozen=True):
    """An invoice, or the credit note that `cancels` one. `code` is the SHA-256 of the document."""

    community: str
    position: int
    number: str
    building: str
    period_begin: date
    period_until: date
    issued_on: date
    due_on: date
    vat: Amount
    total: Amount
    code: str
    run: int
    cancels: str
    link: str


class AlarmRaisedTold(msgspec.Struct, frozen=True):
    """An alarm that a gateway raised; what it said of it stands in the list of alarms."""

    community: str
    position: int
    device: str
    alarm: str
    meter: str | None
    at: str
    link: str


class ForkSeen(msgspec.Struct, frozen=True):
    """A message that tells other than the book at a place of a stream: somebody else may have the key."""

    community: str
    digest: str
    device: str
    stream: str | None
    sequence: int | None
    first_at: str
    link: str


class DisabledTold(msgspec.Struct, frozen=True):
    """Another webhook that is told nothing more, and why: `gone` or `failing`."""

    community: str
    webhook: str
    origin: str
    reason: str
    disabled_at: str
    link: str


class PingTold(msgspec.Struct, frozen=True):
    """Somebody wants to know whether this webhook works."""

    community: str
    webhook: str
    link: str


def body_of(topic: str, at: datetime, data: msgspec.Struct) -> bytes:
    """The bytes of a message."""
    return encode({"type": topic, "timestamp": rfc3339(at), "data": data})


class Telling:
    """Makes messages for one community."""

    def __init__(self, community: str) -> None:
        self._community = community
        self._base = f"/v1/communities/{community}"

    def settled(self, row: SettledRow) -> Message:
        """Of a run, or of a document."""
        (event,) = read_recorded([row.body])
        assert isinstance(event, SettlementRun | InvoiceIssued)  # noqa: S101 - all that the stream can hold
        if isinstance(event, SettlementRun):
            return self._told(f"run.{event.kind}", row, self._run(event, row.position))
        topic, data = self._document(event, row.position)
        return self._told(topic, row, data)

    def alarm(self, row: AlarmTold) -> Message:
        """Of an alarm."""
        data = AlarmRaisedTold(
            self._community, row.position, row.device, row.alarm, row.meter, rfc3339(row.at),
            f"{self._base}/alarms",
        )  # fmt: skip
        return Message(_place(row.position), ALARM, body_of(ALARM, row.at, data), row.position)

    def fork(self, row: ForkTold) -> Message:
        """Of a fork."""
        digest = row.digest.hex()
        data = ForkSeen(
            self._community, digest, row.device, row.stream, row.sequence, rfc3339(row.first_at),
            f"{self._base}/quarantine/{digest}",
        )  # fmt: skip
        return Message(f"fork/{digest}", FORK, body_of(FORK, row.first_at, data))

    def disabled(self, webhook: Webhook) -> Message:
        """Of a webhook that was disabled."""
        assert webhook.disabled_at is not None  # noqa: S101 - that is what is told
        at = webhook.disabled_at
        data = DisabledTold(
            self._community, webhook.webhook, webhook.origin, webhook.disabled_for or "", rfc3339(at),
            f"{self._base}/webhooks/{webhook.webhook}",
        )  # fmt: skip
        source = f"disabled/{webhook.webhook}/{at.isoformat()}"
        return Message(source, DISABLED, body_of(DISABLED, at, data))

    def ping(self, webhook: str, now: datetime) -> Message:
        """A test."""
        data = PingTold(self._community, webhook, f"{self._base}/webhooks/{webhook}")
        return Message(f"ping/{new_salt()}", PING, body_of(PING, now, data))

    def _told(self, topic: str, row: SettledRow, data: msgspec.Struct) -> Message:
        return Message(_place(row.position), topic, body_of(topic, row.recorded_at, data), row.position)

    def _run(self, run: SettlementRun, position: int) -> RunTold:
        return RunTold(
            self._community, position, run.number, run.kind, rfc3339(run.begin), rfc3339(run.until),
            run.settled, run.revised, run.tree_size, run.result, f"{self._base}/runs/{run.number}",
        )  # fmt: skip

    def _document(self, event: InvoiceIssued, position: int) -> tuple[str, DocumentTold]:
        found = read_document(event.document)
        data = DocumentTold(
            self._community, position, found.number, found.building, found.period_begin, found.period_until,
            found.issued_on, found.due_on, amount(line_micro(found, "vat"), found.currency),
            amount(found.total_micro, found.currency), event.code, event.run, found.cancels,
            f"{self._base}/invoices/{found.number}",
        )  # fmt: skip
        return f"{found.kind}.issued", data


def _place(position: int) -> str:
    return f"position/{position}"
