"""From postings to lines: what a building is billed for a month, as it follows from the settlement's runs.

A month's lines sum up what was posted to the building's account, by kind and direction. What a correction
changed in months that were billed before comes as an adjustment: what is owed for such a month by now, less
all that documents which stand have billed for it. So no invoice is ever touched again, and one that was
cancelled leaves nothing behind.

The lines follow from the runs up to one and from the documents before, so who bills and who verifies draft
alike.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple, Protocol
from zoneinfo import ZoneInfo

from ledger.settlement_rows import PostedRow
from settlement.amounts import COIN_MICRO, PPM, divided
from settlement.billing.invoice import Invoice, InvoiceLine, LineKind
from settlement.billing.totals import COMPUTED, NOT_TAXED
from settlement.book_state import BookState
from settlement.journal import GRID, Posting, building_account
from settlement.month import Month, month_at, month_of
from settlement.rules_in_force import RulesInForce
from settlement.tariff_file import micro, ppm

POSTED: Mapping[LineKind, tuple[str, bool]] = {
    "bought": ("trade", True),
    "sold": ("trade", False),
    "grid-import": ("grid-import", True),
    "grid-export": ("grid-export", False),
    "wheeling": ("wheeling", False),
    "wheeling-loss": ("wheeling-loss", False),
    "loss": ("loss", False),
    "operator-fee": ("operator-fee", False),
    "demand": ("demand", False),
    "levy": ("levy", False),
    "service": ("service", False),
}
"""Kind of line -> kind of posting, and whether the building took energy by it; in the order of the lines."""

_KINDS = {posted: kind for kind, posted in POSTED.items()}
_ORDER = list(POSTED)


class BillingSource(Protocol):
    """What is asked of a store: what was posted, by runs up to one."""

    async def posted(
        self, community: str, account: str, begin: datetime, until: datetime, run: int
    ) -> Sequence[PostedRow]:
        """The sums of what was posted to an account for the intervals and months that start in [begin,
        until)."""

    async def charged(self, community: str, begin: datetime, until: datetime, run: int) -> Mapping[str, int]:
        """What all buildings together were charged for the months that begin in [begin, until), by kind."""

    async def corrected(self, community: str, run: int) -> Sequence[tuple[datetime, datetime]]:
        """The spans of the runs that corrected months which had been closed."""


class WithCharges:
    """A source that has the charges of a month which is not closed yet, as if run `run` had posted them."""

    def __init__(self, source: BillingSource, month: Month, charges: Sequence[Posting], run: int) -> None:
        self._source = source
        self._month = month
        self._charges = charges
        self._run = run

    async def posted(
        self, community: str, account: str, begin: datetime, until: datetime, run: int
    ) -> Sequence[PostedRow]:
        """Those of the source, and the charges."""
        rows = await self._source.posted(community, account, begin, until, run)
        own = [each for each in self._charges if each.account == account and begin == self._month.begin]
        return [*rows, *(PostedRow(each.kind, False, 0, each.amount_micro, self._run) for each in own)]

    async def charged(self, community: str, begin: datetime, until: datetime, run: int) -> Mapping[str, int]:
        """The sums of the charges."""
        found: dict[str, int] = {}
        for each in self._charges:
            if each.account == GRID:
                found[each.kind] = found.get(each.kind, 0) + each.amount_micro
        return found

    async def corrected(self, community: str, run: int) -> Sequence[tuple[datetime, datetime]]:
        """Those of the source."""
        return await self._source.corrected(community, run)


class Billed(NamedTuple):
    """What documents have billed a building for a month: for what it got, and for what it supplied."""

    charged_micro: int = 0
    supplied_micro: int = 0

    def plus(self, other: "Billed") -> "Billed":
        """Both together."""
        return Billed(self.charged_micro + other.charged_micro, self.supplied_micro + other.supplied_micro)


def uncancelled(documents: Sequence[Invoice]) -> list[Invoice]:
    """The invoices among documents that stand."""
    cancelled = {each.cancels for each in documents}
    return [each for each in documents if each.kind == "invoice" and each.number not in cancelled]


class Drafting:
    """A month's documents in the making: by the runs up to `run`, after the invoices that stand.

    `before` are those of the buildings that are drafted, `issued` the months that were billed to anybody.
    """

    def __init__(
        self,
        source: BillingSource,
        book: BookState,
        month: Month,
        run: int,
        before: Iterable[Invoice],
        issued: Iterable[date],
    ) -> None:
        self._source = source
        self._community = book.community
        self._month = month
        self._run = run
        self._issued = [month_of(first, book.grid.zone) for first in issued]
        self._corrected: set[Month] | None = None  # of the months that were billed; asked for once
        self._wholes: Mapping[str, int] | None = None  # likewise
        self._billed: dict[str, dict[Month, Billed]] = {}  # by building
        for invoice in before:
            told = self._billed.setdefault(invoice.building, {})
            for each, billed in _by_month(invoice.lines, book.grid.zone):
                told[each] = told.get(each, Billed()).plus(billed)

    async def lines(self, building: str) -> list[InvoiceLine]:
        """A building's lines before tax: the month's, then adjustments of all months that were billed."""
        told = self._billed.get(building, {})
        lines = await self._of_month(building, told.get(self._month, Billed()))
        for month in sorted(await self._corrected_months() - {self._month}):
            rows = await self._posted(building, month)
            lines += adjustment_lines(rows, told.get(month, Billed()), month)
        return lines

    async def _of_month(self, building: str, billed: Billed) -> list[InvoiceLine]:
        rows = await self._posted(building, self._month)
        if billed == _of_rows(rows):  # nothing, or it came as an adjustment already
            return []
        if self._wholes is None:
            span = (self._month.begin, self._month.until)
            self._wholes = await self._source.charged(self._community, *span, self._run)
        lines = posted_lines(rows, self._wholes, self._month)
        return [*lines, *adjustment_lines(rows, billed.plus(_of_rows(rows)), self._month)]

    async def unbilled_micro(self, building: str) -> int:
        """What a building owes for the month by now, less what was billed of it; before tax."""
        owed = _of_rows(await self._posted(building, self._month))
        billed = self._billed.get(building, {}).get(self._month, Billed())
        return sum(owed) - sum(billed)

    async def _posted(self, building: str, month: Month) -> Sequence[PostedRow]:
        account = building_account(building)
        return await self._source.posted(self._community, account, month.begin, month.until, self._run)

    async def _corrected_months(self) -> set[Month]:
        """Those that were billed to anybody, and corrected at some time."""
        if self._corrected is None:
            spans = await self._source.corrected(self._community, self._run)
            self._corrected = {
                month
                for month in self._issued
                if any(begin < month.until and until > month.begin for begin, until in spans)
            }
        return self._corrected


class Terms(NamedTuple):
    """What else a month's documents follow: the rate of the tax, and the smallest coin."""

    vat_ppm: int = 0
    coin_micro: int = COIN_MICRO


def month_terms(rules: RulesInForce, month: Month) -> Terms:
    """As the tariff at the month's end has it. Raises `TariffHole`."""
    in_force = rules.at(month.until - timedelta(seconds=1))
    if in_force is None:
        return Terms()
    version = in_force.tariff.version(month.next_first - timedelta(days=1))
    return Terms(ppm(version.vat), micro(in_force.tariff.file.smallest_coin))


def posted_lines(rows: Iterable[PostedRow], wholes: Mapping[str, int], month: Month) -> list[InvoiceLine]:
    """The lines of a month, out of what was posted; `wholes` is what all were charged, by kind."""
    lines = []
    for row in sorted(rows, key=lambda row: _ORDER.index(_kind(row))):
        if row.amount_micro or row.energy_milliwh:
            whole = wholes.get(row.kind)
            line = InvoiceLine(
                kind=_kind(row),
                amount_micro=-row.amount_micro,
                begin=month.begin,
                until=month.until,
                energy_milliwh=abs(row.energy_milliwh) or None,
                of_micro=whole,
                run=row.run,
                share_ppm=divided(-row.amount_micro * PPM, whole) if whole else None,
            )
            lines.append(line)
    return lines


def adjustment_lines(rows: Sequence[PostedRow], billed: Billed, month: Month) -> Iterator[InvoiceLine]:
    """What is owed for a month less what was billed for it; what the building supplied has its own line."""
    owed = _of_rows(rows)
    run = max((row.run for row in rows), default=1)
    kinds: tuple[LineKind, ...] = ("adjustment", "adjustment-supplied")
    for kind, amount, before in zip(kinds, owed, billed, strict=True):
        if amount != before:
            yield InvoiceLine(kind, amount - before, begin=month.begin, until=month.until, run=run)


def _by_month(lines: Iterable[InvoiceLine], zone: ZoneInfo) -> Iterator[tuple[Month, Billed]]:
    for line in lines:
        if line.begin is not None and line.kind not in COMPUTED:
            yield month_at(line.begin, zone), _billed(line.kind, line.amount_micro)


def _of_rows(rows: Iterable[PostedRow]) -> Billed:
    found = Billed()
    for row in rows:
        found = found.plus(_billed(_kind(row), -row.amount_micro))
    return found


def _billed(kind: LineKind, amount_micro: int) -> Billed:
    return Billed(0, amount_micro) if kind in NOT_TAXED else Billed(amount_micro, 0)


def _kind(row: PostedRow) -> LineKind:
    return _KINDS[row.kind, row.took]
