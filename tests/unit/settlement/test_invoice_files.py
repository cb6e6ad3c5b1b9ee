"""What billing hands out reads back as what it was, to the last micro-unit, and is taken for no formula."""

import csv
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from io import BytesIO, StringIO
from typing import Any
from xml.etree import ElementTree
from zipfile import ZipFile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.canonical import INTEGER_MAX, Malformed, decode
from settlement.billing import as_xlsx
from settlement.billing.as_csv import write_csv
from settlement.billing.as_json import CodeMismatch, as_json, read_json
from settlement.billing.as_xlsx import TooManyRows, write_invoices, write_journal
from settlement.billing.invoice import Invoice, Party
from settlement.billing.tables import (
    INVOICES,
    JOURNAL,
    LINES,
    AnySheet,
    Entry,
    JournalUnbalanced,
    billed_lines,
    booked,
    summed,
)
from settlement.journal import Posting, transfer
from tests.unit.settlement.invoice_samples import BEGIN, UNTIL, charge, credit_note, invoice, preview

DAY = date(2026, 7, 3)
SMALL = replace(
    invoice(
        [charge("bought", 100_005_000, 25_000_001), charge("sold", -1)],
        seller=Party("=1+1"),
        buyer=Party("-", tax_id="'7"),
    ),
    salt="AAAAAAAAAAAAAAAA",
)
CODE = "@CODE@"

GOLDEN_JSON = (
    '{"code":"@CODE@","decimals":{"currency":"THB","lines":['
    '{"amount":"100.005000","energy_kwh":"25.000001","kind":"bought"},{"amount":"-0.000001","kind":"sold"},'
    '{"amount":"7.000000","kind":"vat"},{"amount":"-0.004999","kind":"rounding"}],"net":"100.000000",'
    '"total":"107.000000","vat":"7.000000"},"invoice":@INVOICE@}'
)
"""As it is written, with the record and its code in their places."""
GOLDEN_RECORD = (
    '{"building":"school","buyer":{"name":"-","tax_id":"\'7"},"community":"campus","currency":"THB",'
    '"due_on":"2026-07-18","issued_on":"2026-07-03","kind":"invoice","lines":['
    '{"amount_micro":100005000,"begin":"2026-05-31T17:00:00Z","energy_milliwh":25000001,"kind":"bought","run":42,'
    '"until":"2026-06-30T17:00:00Z"},'
    '{"amount_micro":-1,"begin":"2026-05-31T17:00:00Z","kind":"sold","run":42,"until":"2026-06-30T17:00:00Z"},'
    '{"amount_micro":7000000,"kind":"vat","of_micro":100010000,"share_ppm":70000},'
    '{"amount_micro":-4999,"kind":"rounding"}],"number":"campus-2026-000123","period_begin":"2026-06-01",'
    '"period_until":"2026-07-01","salt":"AAAAAAAAAAAAAAAA","seller":{"name":"=1+1"},"total_micro":107000000,'
    '"vat_ppm":70000,"zone":"Asia/Bangkok"}'
)

GOLDEN_INVOICES = (
    "number,kind,community,building,period_begin,period_until,issued_on,due_on,seller,seller_tax_id,"
    "seller_branch,buyer,buyer_tax_id,buyer_branch,currency,rounding,net,taxed,vat_rate,vat,total,cancels,"
    "reason,code\r\n"
    "campus-2026-000123,invoice,campus,school,2026-06-01,2026-07-01,2026-07-03,2026-07-18,'=1+1,,,'-,''7,,THB,"
    "-0.004999,100.000000,100.010000,0.070000,7.000000,107.000000,,,@CODE@\r\n"
)
GOLDEN_LINES = (
    "number,building,period_begin,period_until,line,reference,kind,begin,until,run,energy_kwh,share,of,amount,"
    "currency\r\n"
    "campus-2026-000123,school,2026-06-01,2026-07-01,1,campus-2026-000123/1,bought,2026-05-31T17:00:00Z,"
    "2026-06-30T17:00:00Z,42,25.000001,,,100.005000,THB\r\n"
    "campus-2026-000123,school,2026-06-01,2026-07-01,2,campus-2026-000123/2,sold,2026-05-31T17:00:00Z,"
    "2026-06-30T17:00:00Z,42,,,,-0.000001,THB\r\n"
    "campus-2026-000123,school,2026-06-01,2026-07-01,3,campus-2026-000123/3,vat,,,,,0.070000,100.010000,"
    "7.000000,THB\r\n"
    "campus-2026-000123,school,2026-06-01,2026-07-01,4,campus-2026-000123/4,rounding,,,,,,,-0.004999,THB\r\n"
)
GOLDEN_JOURNAL = (
    "begin,until,run,kind,account,energy_kwh,debit,credit\r\n"
    "2026-05-31T17:00:00Z,2026-06-30T17:00:00Z,42,trade,building/sun,-25.000001,0.000000,100.005000\r\n"
    "2026-05-31T17:00:00Z,2026-06-30T17:00:00Z,42,trade,building/school,25.000001,100.005000,0.000000\r\n"
    ",,,total,,0.000000,100.005000,100.005000\r\n"
)
TRADE = transfer("trade", "building/sun", "building/school", 25_000_001, 100_005_000)
ENTRIES = [Entry(BEGIN, UNTIL, 42, posting) for posting in TRADE]

PARTIES = st.builds(Party, name=st.text(max_size=40), tax_id=st.text(max_size=20))
INVOICES_MADE = st.builds(
    lambda seller, amounts: invoice([charge("bought", amount) for amount in amounts], seller=seller),
    PARTIES,
    st.lists(st.integers(-(10**14), 10**14), min_size=1, max_size=4),
)


def as_csv(sheet: AnySheet, rows: Any) -> str:
    file = StringIO(newline="")
    write_csv(sheet, rows, file)
    return file.getvalue()


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(text, newline="")))


def cells(workbook: bytes, sheet: int) -> Iterator[list[str | Decimal | None]]:
    """The rows of a worksheet: texts as text, numbers as decimals. Formulas would fail it."""
    space = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
    root = ElementTree.fromstring(ZipFile(BytesIO(workbook)).read(f"xl/worksheets/sheet{sheet}.xml"))  # noqa: S314 - our own bytes
    for row in root.iter(f"{space}row"):
        found: dict[int, str | Decimal | None] = {}
        for cell in row:
            column = 0
            for letter in cell.get("r", "").rstrip("0123456789"):
                column = column * 26 + ord(letter) - 64
            kind, parts = cell.get("t"), {part.tag.removeprefix(space): part for part in cell}
            if kind == "inlineStr":
                found[column] = "".join(parts["is"].itertext())
            else:
                assert set(parts) == {"v"}
                found[column] = Decimal(parts["v"].text or "")
        yield [found.get(column) for column in range(1, max(found, default=0) + 1)]


def workbook(*invoices: Invoice) -> bytes:
    file = BytesIO()
    write_invoices(invoices, file, DAY)
    return file.getvalue()


def journal_book(entries: list[Entry]) -> bytes:
    file = BytesIO()
    write_journal(entries, file, DAY)
    return file.getvalue()


def test_the_json_is_as_it_was_published() -> None:
    golden = GOLDEN_JSON.replace("@INVOICE@", GOLDEN_RECORD)
    code = sha256(GOLDEN_RECORD.encode()).hexdigest()
    assert as_json(SMALL).decode() == golden.replace(CODE, code)


@given(INVOICES_MADE)
def test_json_reads_back_and_its_code_can_be_computed_without_us(made: Invoice) -> None:
    data = as_json(made)
    assert read_json(data) == made
    shown = decode(data)
    record = json.dumps(shown["invoice"], ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    assert sha256(record.encode()).hexdigest() == shown["code"] == made.code
    assert Decimal(shown["decimals"]["total"]) * 10**6 == made.total_micro


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        (b'"total_micro":107000000', b'"total_micro":107000001', CodeMismatch),
        (b'"total":"107.000000"', b'"total":"1.000000"', CodeMismatch),
        (b'{"code"', b' {"code"', CodeMismatch),
        (b'"total_micro":', b'"total":', Malformed),
        (b"{", b"", Malformed),
    ],
)
def test_a_changed_document_is_refused(old: bytes, new: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        read_json(as_json(SMALL).replace(old, new, 1))


@pytest.mark.parametrize(
    ("sheet", "rows", "golden"),
    [
        (INVOICES, [SMALL], GOLDEN_INVOICES.replace(CODE, SMALL.code)),
        (LINES, billed_lines([SMALL]), GOLDEN_LINES),
        (JOURNAL, booked(ENTRIES), GOLDEN_JOURNAL),
        (JOURNAL, booked([]), GOLDEN_JOURNAL.partition("\n")[0] + "\n"),
    ],
    ids=["invoices", "lines", "journal", "empty journal"],
)
def test_the_csv_is_as_it_was_published(sheet: AnySheet, rows: Any, golden: str) -> None:
    assert as_csv(sheet, rows) == golden


@given(INVOICES_MADE)
def test_csv_reads_back(made: Invoice) -> None:
    (row,) = read_csv(as_csv(INVOICES, [made]))
    for name, text in (("seller", made.seller.name), ("seller_tax_id", made.seller.tax_id)):
        assert row[name].removeprefix("'") == text
        assert not row[name].startswith(("=", "+", "-", "@", "\t", "\r"))
    assert Decimal(row["total"]) * 10**6 == made.total_micro
    lines = read_csv(as_csv(LINES, billed_lines([made])))
    assert [int(Decimal(line["amount"]) * 10**6) for line in lines] == [
        line.amount_micro for line in made.lines
    ]


@given(INVOICES_MADE)
def test_xlsx_reads_back_with_numbers_as_numbers_and_texts_as_they_are(made: Invoice) -> None:
    data = workbook(made)
    heading, row = cells(data, 1)
    assert heading == [column.name for column in INVOICES.columns]
    shown = dict(zip(map(str, heading), row, strict=True))
    total = shown["total"]
    assert isinstance(total, Decimal)
    assert round(total * 10**6) == made.total_micro
    _, *lines = cells(data, 2)
    amounts = [line[LINES.columns.index(LINES.columns[-2])] for line in lines]
    assert [isinstance(amount, Decimal) and round(amount * 10**6) for amount in amounts] == [
        line.amount_micro for line in made.lines
    ]


@pytest.mark.parametrize("name", ["=1+1", "+66", "-", "@sum", "{=1}", "https://example.org", "0105", " ก\n"])
def test_no_text_of_a_workbook_is_a_formula_a_link_or_a_number(name: str) -> None:
    _, row = cells(workbook(invoice(seller=Party(name))), 1)
    assert row[8] == name


@given(st.text(max_size=60))
def test_any_text_makes_a_workbook_that_can_be_read(name: str) -> None:
    _, row = cells(workbook(invoice(seller=Party(name))), 1)
    plain = all(letter.isprintable() for letter in name)
    assert not plain or (row[8] or "") == name


def test_a_number_that_a_spreadsheet_would_change_is_written_as_text() -> None:
    entries = [Entry(BEGIN, UNTIL, None, each) for each in transfer("trade", "a", "b", 0, INTEGER_MAX)]
    _, first, _, _ = cells(journal_book(entries), 1)
    assert first[-1] == "9007199254.740991"


def test_a_workbook_of_documents_has_two_sheets_and_the_same_bytes_each_time() -> None:
    data = workbook(invoice(), preview(), credit_note())
    assert data == workbook(invoice(), preview(), credit_note())
    assert [len(list(cells(data, sheet))) for sheet in (1, 2)] == [4, 16]
    names = ZipFile(BytesIO(data)).read("xl/workbook.xml").decode()
    assert [f'name="{name}"' in names for name in ("invoices", "lines", "journal")] == [True, True, False]


def test_a_journal_alone_is_a_workbook_of_one_sheet() -> None:
    file = BytesIO()
    write_journal(ENTRIES, file, DAY)
    *_, total = cells(file.getvalue(), 1)
    assert total[3:] == ["total", None, 0, Decimal("100.005"), Decimal("100.005")]


def test_a_table_too_long_for_a_worksheet_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(as_xlsx, "ROWS_MAX", 4)
    write_journal(ENTRIES, BytesIO(), DAY)  # two postings and the totals
    with pytest.raises(TooManyRows):
        write_journal(ENTRIES * 2, BytesIO(), DAY)


NAMES = st.sampled_from(["grid", "tax", "building/a", "building/b"])
TRANSFERS = st.lists(
    st.builds(
        transfer,
        st.sampled_from(["trade", "vat"]),
        *(NAMES, NAMES),
        *(st.integers(0, 10**9), st.integers(-(10**9), 10**9)),
    ),
    max_size=20,
).map(lambda pairs: [posting for pair in pairs for posting in pair])


@given(TRANSFERS.filter(bool))
def test_debits_and_credits_balance_and_sums_keep_them(postings: list[Posting]) -> None:
    *_, single = booked(Entry(BEGIN, UNTIL, 1, posting) for posting in postings)
    *rows, total = booked(summed(BEGIN, UNTIL, 1, postings))
    assert (total.debit_micro, total.credit_micro) == (single.debit_micro, single.credit_micro)
    assert total.debit_micro == total.credit_micro == sum(row.debit_micro for row in rows)
    assert sum(row.energy_milliwh for row in rows) == 0
    assert all(not row.debit_micro or not row.credit_micro for row in rows)
    assert [(row.kind, row.account) for row in rows] == sorted((row.kind, row.account) for row in rows)


@given(TRANSFERS.filter(bool), st.sampled_from(["energy_milliwh", "amount_micro"]))
def test_a_journal_that_does_not_balance_is_not_handed_out(postings: list[Posting], field: str) -> None:
    wrong = postings[0]._replace(**{field: getattr(postings[0], field) + 1})
    with pytest.raises(JournalUnbalanced):
        list(booked(Entry(BEGIN, UNTIL, 1, posting) for posting in [wrong, *postings[1:]]))


def test_a_month_of_postings_sums_in_one_row_for_each_kind_account_and_side() -> None:
    first = datetime(2026, 6, 1, tzinfo=UTC)
    postings = [*TRADE, *TRADE, *transfer("trade", "building/school", "building/sun", 1, 10)]
    rows = summed(first, first + timedelta(days=30), 7, postings)
    assert [tuple(row.posting) for row in rows] == [
        ("trade", "building/school", 50_000_002, -200_010_000),
        ("trade", "building/school", -1, 10),
        ("trade", "building/sun", 1, -10),
        ("trade", "building/sun", -50_000_002, 200_010_000),
    ]
