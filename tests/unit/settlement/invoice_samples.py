"""Documents of one small campus, for the tests of billing."""

from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any, get_args

from msgspec.structs import replace

from settlement.billing.invoice import Invoice, InvoiceLine, LineKind, Party
from settlement.billing.totals import COMPUTED, totalled

BEGIN = datetime(2026, 5, 31, 17, tzinfo=UTC)
UNTIL = datetime(2026, 6, 30, 17, tzinfo=UTC)
CHARGED: list[LineKind] = [kind for kind in get_args(LineKind) if kind not in COMPUTED]

SELLER = Party("บริษัท พลังงานชุมชน จำกัด", "99/9 ถนนพหลโยธิน กรุงเทพมหานคร 10900", "0105561000011", "สำนักงานใหญ่")
BUYER = Party("โรงเรียนสาธิตน้ำใส", "1 ถนนสุขุมวิท สมุทรปราการ 10270", "0994000158378", "00001")


def charge(kind: LineKind, amount_micro: int, energy_milliwh: int | None = None, **more: Any) -> InvoiceLine:
    """A line about June 2026 that run 42 decided."""
    return InvoiceLine(kind, amount_micro, BEGIN, UNTIL, energy_milliwh, run=42, **more)


CHARGES = [
    charge("grid-import", 418_390_123, 100_000_000),
    charge("sold", -58_000_001, 20_000_000),
    charge("demand", 98_765_432, share_ppm=123_457, of_micro=800_000_000),
]


def invoice(charges: Iterable[InvoiceLine] = CHARGES, vat_ppm: int = 70_000, **changes: Any) -> Invoice:
    """An invoice that adds up."""
    lines, total_micro = totalled(charges, vat_ppm)
    return replace(
        Invoice(
            kind="invoice", number="campus-2026-000123", community="campus", building="school",
            currency="THB", period_begin=date(2026, 6, 1), period_until=date(2026, 7, 1),
            issued_on=date(2026, 7, 3), due_on=date(2026, 7, 18), seller=SELLER, buyer=BUYER, lines=lines,
            vat_ppm=vat_ppm, total_micro=total_micro, salt="c2FsdHNhbHRzYWx0", zone="Asia/Bangkok",
        ),
        **changes,
    )  # fmt: skip


def preview(**changes: Any) -> Invoice:
    """The same before it is issued."""
    return invoice(kind="preview", number="", **changes)


def credit_note(**changes: Any) -> Invoice:
    """What cancels the invoice."""
    return invoice(
        [replace(line, amount_micro=-line.amount_micro) for line in CHARGES],
        kind="credit-note",
        number="campus-cn-2026-000001",
        cancels="campus-2026-000123",
        reason="อ่านมิเตอร์ผิดพลาด",
        **changes,
    )
