"""Gate closure, ends of runs and dates of issue, held against the blocks: these bound when each came."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from ledger.canonical import UNREADABLE
from ledger.clock import rfc3339
from ledger.entry import stream_kind, stream_subject
from ledger.events import BlockSealed, CommunityOpened, read_recorded
from ledger.market import Market
from ledger.market_events import HOLDS_FROM, InvoiceIssued, MarketRulesPublished, SettlementRun
from ledger.verify.further import Entry
from ledger.verify.report import Place
from settlement.replay.told import Fault

TOLERANCE = timedelta(minutes=1)
"""By so much a ledger's clock may have been set back between two of its events."""
DAY = timedelta(days=1)
"""By so much a date of issue may be off: a document is drafted before midnight and recorded after it."""


class _Dated(msgspec.Struct):
    """Of a document, when it was issued."""

    issued_on: date


class ReplayedGates:
    """Whether orders, agreements and changed rules can have come before the gate closed for them.

    An event that the newest block does not cover was recorded after that block was sealed and before the next
    one is, and the service signed when that was. What no block follows is not judged.
    """

    def __init__(self, found: Fault) -> None:
        self._found = found
        self._market = Market()
        self._sealed_at: datetime | None = None  # of the newest block
        self._unsealed: list[tuple[SettlementRun, Place]] = []  # runs since the newest block
        self._undated: list[tuple[str, date, Place]] = []  # documents since then, and when they were issued
        self._zone = ZoneInfo("UTC")

    def take(self, entries: Iterable[Entry]) -> None:
        """The events that come next."""
        told = [entry for entry in entries if stream_kind(entry.row[1]) != "meter"]
        events = read_recorded([entry.row[3] for entry in told])
        for entry, event in zip(told, events, strict=True):
            match event:
                case BlockSealed():
                    self._sealed_at = event.sealed_at
                    self._judge_runs(event.sealed_at)
                    self._judge_documents(event.sealed_at)
                case CommunityOpened():
                    self._zone = ZoneInfo(event.zone)
                case SettlementRun():
                    self._unsealed.append((event, Place(entry.line, entry.row[1], entry.row[2])))
                case InvoiceIssued():
                    self._take_document(event, Place(entry.line, entry.row[1], entry.row[2]))
                case MarketRulesPublished():
                    if self._market.rules:
                        self._judge(event.begin, entry)
                    self._market = replace(self._market, rules=(*self._market.rules, event))
                case _ if type(event) in HOLDS_FROM:
                    self._judge(getattr(event, HOLDS_FROM[type(event)]), entry)

    def _judge_runs(self, sealed_at: datetime) -> None:
        """Nothing can have been settled that was not over when the next block was sealed."""
        for run, place in self._unsealed:
            if run.until > sealed_at + TOLERANCE:
                self._found(
                    f"run {run.number} settled until {rfc3339(run.until)}, and the block after it was sealed"
                    f" at {rfc3339(sealed_at)}",
                    place,
                )
        self._unsealed = []

    def _take_document(self, event: InvoiceIssued, place: Place) -> None:
        try:
            issued_on = msgspec.json.decode(event.document, type=_Dated).issued_on
        except UNREADABLE:
            return  # told already
        self._undated.append((event.number, issued_on, place))
        if self._sealed_at is not None and issued_on < self._day(self._sealed_at) - DAY:
            self._found(
                f"invoice {event.number} is issued on {issued_on}, and the block before it was sealed on"
                f" {self._day(self._sealed_at)}",
                place,
            )

    def _judge_documents(self, sealed_at: datetime) -> None:
        """Nothing can have been issued on a day that had not come when the next block was sealed."""
        for number, issued_on, place in self._undated:
            if issued_on > self._day(sealed_at) + DAY:
                self._found(
                    f"invoice {number} is issued on {issued_on}, and the block after it was sealed on"
                    f" {self._day(sealed_at)}",
                    place,
                )
        self._undated = []

    def _day(self, instant: datetime) -> date:
        return instant.astimezone(self._zone).date()

    def _judge(self, holds_from: datetime, entry: Entry) -> None:
        if self._sealed_at is None:
            return
        if holds_from + TOLERANCE < self._market.gate_after(self._sealed_at):
            _, stream, sequence, _ = entry.row
            self._found(
                f"what {stream_subject(stream) or stream} says holds from {rfc3339(holds_from)} on;"
                f" the block before it was sealed at {rfc3339(self._sealed_at)}, after the gate had closed",
                Place(entry.line, stream, sequence),
            )
