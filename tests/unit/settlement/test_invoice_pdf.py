"""The PDF shows what the document says, carries the proof of it, and is the same bytes each time."""

from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from io import BytesIO
from typing import Any

import pytest
from msgspec.structs import replace
from pypdf import PdfReader

from ledger.canonical import encode
from settlement.billing.as_json import as_json
from settlement.billing.as_pdf import NotPrintable, Printer
from settlement.billing.invoice import Invoice, Party
from settlement.billing.printed import page, proof_text
from settlement.billing.totals import InvoiceInvalid
from settlement.billing.wording import Label
from tests.unit.settlement.invoice_samples import (
    CHARGED,
    CHARGES,
    SELLER,
    charge,
    credit_note,
    invoice,
    preview,
)


@pytest.fixture(scope="module")
def printer() -> Printer:
    return Printer()


def read(printer: Printer, document: Invoice) -> PdfReader:
    return PdfReader(BytesIO(printer.pdf(document)))


def texts(reader: PdfReader) -> list[str]:
    """The text of each page. Where Thai letters stack, a reader may repeat them; the rest is as printed."""
    return [each.extract_text() for each in reader.pages]


def fonts(reader: PdfReader) -> set[str]:
    return {
        str(font.get_object()["/BaseFont"]).rpartition("+")[2]
        for each in reader.pages
        for font in each["/Resources"]["/Font"].values()
    }


def test_a_page_tells_what_is_to_be_paid_by_when_and_for_what(printer: Printer) -> None:
    (text,) = texts(read(printer, invoice()))
    for told in (
        "Invoice / Tax invoice", "campus-2026-000123", "2569 (2026-07-03)", "2569 (2026-07-18)",
        "(2026-06-01 – 2026-06-30)", "0105561000011", "0994000158378", "school (campus)",
        "Energy from the grid", "100.000", "4.1839", "418.390123", "-58.000001", "98.765432",
        "12.3457 %", "800.00", "459.155554", "0.004446", "459.16", "517.16", "36.20", "495.36 THB",
        "2026-06-01 00:00 – 2026-07-01 00:00", "run 42", "Page 1 / 1",
    ):  # fmt: skip
        assert told in text, told


def test_the_lines_that_are_shown_add_up_to_the_sum_that_is_shown() -> None:
    shown = page(invoice())
    sums = {label.en: Decimal(text.replace(",", "")) for label, text in shown.sums}
    assert sum(Decimal(line.amount.replace(",", "")) for line in shown.lines) == sums["Sum of the lines"]
    assert sums["Value before VAT"] == sums["Sum of the lines"] + sums["Rounding"]
    assert sums["Value before VAT"] + sums["VAT 7 %"] == sums["Total"]


def test_fifteen_lines_are_one_page_and_many_lines_repeat_their_header(printer: Printer) -> None:
    fifteen = [charge(kind, 1_234_567_891_234, 123_456_789) for kind in (*CHARGED, *CHARGED)][:15]
    assert len(read(printer, invoice(fifteen)).pages) == 1
    pages = texts(read(printer, invoice(CHARGES * 20)))
    assert len(pages) == 3
    for number, text in enumerate(pages, 1):
        assert f"Page {number} / 3" in text
        assert "Description" in text
        assert "campus-2026-000123" in text
    assert ["Amount to pay" in text for text in pages] == [False, False, True]


@pytest.mark.parametrize("document", [invoice(), preview(), credit_note(), invoice(CHARGES * 20)])
def test_the_same_document_is_the_same_bytes(printer: Printer, document: Invoice) -> None:
    first = printer.pdf(document)
    printer.pdf(invoice(number="campus-2026-000001"))
    assert printer.pdf(document) == first == Printer().pdf(document)


def test_the_record_is_attached_and_its_hash_is_the_code_that_is_printed(printer: Printer) -> None:
    document = invoice()
    reader = read(printer, document)
    (record,) = reader.attachments["invoice.json"]
    assert record == encode(document)
    code = sha256(record).hexdigest()
    assert code in texts(reader)[0].replace(" ", "").replace("\n", "")
    assert proof_text(document) == f"energy-ledger:invoice:campus:campus-2026-000123:{code}"


def test_only_our_font_is_used_and_the_date_is_that_of_issue(printer: Printer) -> None:
    reader = read(printer, invoice())
    assert fonts(reader) == {"Sarabun-Regular", "Sarabun-Bold"}
    assert reader.metadata is not None
    assert reader.metadata.title == "Invoice / Tax invoice campus-2026-000123"
    assert str(reader.metadata["/CreationDate"]).startswith("D:20260703000000")


def test_a_preview_is_marked_and_proves_nothing(printer: Printer) -> None:
    reader = read(printer, preview())
    (text,) = texts(reader)
    assert "Preview, not a tax invoice" in text
    assert "PREVIEW" in text
    assert "nothing is to be paid on it" in " ".join(text.split())
    assert not reader.attachments
    assert preview().code[:8] not in text


def test_a_preview_of_a_month_that_is_not_over_says_until_when_and_is_not_due(printer: Printer) -> None:
    part = preview(settled_until=datetime(2026, 6, 27, 9, 30, tzinfo=UTC))
    (text,) = texts(read(printer, part))
    told = " ".join(text.split())
    for said in (
        "Preview of part of the period", "settled until 27 Jun 2026 16:30; more will come", "To pay so far",
    ):  # fmt: skip
        assert said in told
    for whole in ("Amount to pay", "2026-07-18"):
        assert whole not in told
    assert page(part).so_far == Label(
        "คำนวณแล้วถึง 27 มิถุนายน 2569 16:30 น. และจะมีรายการเพิ่มเติม",
        "settled until 27 Jun 2026 16:30; more will come",
    )
    assert b'"settled_until":"2026-06-27T09:30:00Z"' in as_json(part)


def test_a_document_that_is_issued_is_of_a_whole_period(printer: Printer) -> None:
    with pytest.raises(InvoiceInvalid, match="only a preview is of part of a period"):
        printer.pdf(invoice(settled_until=datetime(2026, 6, 27, 9, 30, tzinfo=UTC)))


def test_a_credit_note_says_what_it_cancels_why_and_by_how_much(printer: Printer) -> None:
    (text,) = texts(read(printer, credit_note()))
    for told in ("Credit note", "campus-cn-2026-000001", "campus-2026-000123", "459.16", "-459.16", "-36.20"):
        assert told in text, told
    shown = page(credit_note())
    assert shown.due == (Label("ยอดที่ท่านจะได้รับ", "Amount you receive"), "495.36")
    assert (Label("เหตุผล", "Reason"), "อ่านมิเตอร์ผิดพลาด") in shown.head


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({}, "Invoice / Tax invoice"),
        ({"vat_ppm": 0}, "Invoice"),
        ({"seller": replace(SELLER, tax_id="")}, "Invoice"),
    ],
)
def test_only_who_is_registered_for_the_tax_issues_a_tax_invoice(changes: dict[str, Any], title: str) -> None:
    assert page(invoice(**changes)).title.en == title


def test_only_baht_are_written_in_thai_words() -> None:
    assert page(invoice()).in_words == "สี่ร้อยเก้าสิบห้าบาทสามสิบหกสตางค์"
    assert page(invoice(currency="INR")).in_words == ""


def test_every_kind_of_line_can_be_printed(printer: Printer) -> None:
    printer.pdf(invoice([charge(kind, 1_000_000) for kind in CHARGED]))


@pytest.mark.parametrize("name", ["*x* #sys.inputs $1$ _y_ `z` <a> @b", '"\\u{1F600}"', "// 5%", "= A\n- B"])
def test_a_name_is_printed_as_it_is(printer: Printer, name: str) -> None:
    (text,) = texts(read(printer, invoice(buyer=Party(name))))
    for line in name.split("\n"):
        assert line in text


def test_a_name_that_the_font_cannot_show_is_refused_and_not_left_out(printer: Printer) -> None:
    with pytest.raises(NotPrintable) as caught:
        printer.pdf(invoice(buyer=Party("大学")))
    assert caught.value.code == "not-printable"
    assert "大" in caught.value.what


def test_a_document_that_contradicts_itself_is_not_printed(printer: Printer) -> None:
    with pytest.raises(InvoiceInvalid):
        printer.pdf(invoice(total_micro=1))
