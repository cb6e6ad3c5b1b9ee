"""Documents speak Thai and English, and write figures as people do."""

import re
from datetime import date
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement.billing.figures import exact, places_of, shown
from settlement.billing.invoice import Kind, LineKind
from settlement.billing.wording import Label, baht_text, thai_date, wording

DIGITS = {
    "หนึ่ง": 1, "เอ็ด": 1, "สอง": 2, "ยี่": 2, "สาม": 3, "สี่": 4, "ห้า": 5, "หก": 6, "เจ็ด": 7, "แปด": 8, "เก้า": 9
}  # fmt: skip
PLACES = {"สิบ": 10, "ร้อย": 100, "พัน": 1_000, "หมื่น": 10_000, "แสน": 100_000}


@pytest.mark.parametrize(
    ("satang", "words"),
    [
        (0, "ศูนย์บาทถ้วน"),
        (1_00, "หนึ่งบาทถ้วน"),
        (10_00, "สิบบาทถ้วน"),
        (11_00, "สิบเอ็ดบาทถ้วน"),
        (20_00, "ยี่สิบบาทถ้วน"),
        (21_00, "ยี่สิบเอ็ดบาทถ้วน"),
        (101_00, "หนึ่งร้อยเอ็ดบาทถ้วน"),
        (1_000_000_00, "หนึ่งล้านบาทถ้วน"),
        (11_000_000_00, "สิบเอ็ดล้านบาทถ้วน"),
        (1_000_001_00, "หนึ่งล้านเอ็ดบาทถ้วน"),
        (21_000_021_25, "ยี่สิบเอ็ดล้านยี่สิบเอ็ดบาทยี่สิบห้าสตางค์"),
        (10**14, "หนึ่งล้านล้านบาทถ้วน"),
        (1, "หนึ่งสตางค์"),
        (1_01, "หนึ่งบาทหนึ่งสตางค์"),
    ],
)
def test_amounts_in_words(satang: int, words: str) -> None:
    assert baht_text(satang) == words


@given(st.integers(0, 10**15))
def test_an_amount_in_words_reads_back(satang: int) -> None:
    baht, _, rest = baht_text(satang).rpartition("บาท")
    assert number(baht) * 100 + number(rest.removesuffix("ถ้วน").removesuffix("สตางค์")) == satang


def number(words: str) -> int:
    """The number that Thai words say."""
    millions, _, rest = words.rpartition("ล้าน")
    found = 0
    for digit, place in re.findall(f"({'|'.join(DIGITS)})?({'|'.join(PLACES)})|", rest.replace("ศูนย์", "")):
        found += DIGITS.get(digit, 1) * PLACES[place] if place else 0
    last = re.search(f"({'|'.join(DIGITS)})$", rest)
    return number(millions) * 10**6 + found + (DIGITS[last[1]] if last else 0) if words else 0


@pytest.mark.parametrize(
    ("day", "written"),
    [(date(2026, 5, 31), "31 พฤษภาคม 2569"), (date(2024, 2, 29), "29 กุมภาพันธ์ 2567")],
)
def test_dates_have_the_year_of_the_buddhist_era(day: date, written: str) -> None:
    assert thai_date(day) == written


def test_every_kind_has_its_words_in_both_languages() -> None:
    found = wording()
    assert set(found.lines) == set(get_args(LineKind))
    assert set(found.titles) == {*get_args(Kind), "tax-invoice", "part"}
    assert len(found.months) == 12
    for label in [
        *found.titles.values(),
        *found.lines.values(),
        *found.words.values(),
        *found.notes.values(),
    ]:
        assert isinstance(label, Label)
        assert re.search("[ก-๙]", label.th)
        assert re.search("[A-Za-z]", label.en)


def test_a_preview_says_that_it_is_none() -> None:
    assert wording().titles["preview"] == Label("ตัวอย่าง", "Preview, not a tax invoice")


@given(st.integers(-(10**20), 10**20))
def test_six_decimals_tell_all(millionths: int) -> None:
    assert int(exact(millionths).replace(".", "")) == millionths
    assert int(shown(millionths, 6).replace(".", "").replace(",", "")) == millionths


@given(st.lists(st.integers(-(10**12), 10**12), max_size=8))
def test_a_column_is_shown_with_as_few_decimals_as_are_exact(column: list[int]) -> None:
    places = places_of(column)
    assert 2 <= places <= 6
    assert all(value % 10 ** (6 - places) == 0 for value in column)
    assert places == 2 or any(value % 10 ** (7 - places) for value in column)


@pytest.mark.parametrize(
    ("millionths", "places", "text"),
    [
        (1_234_567_891_234, 2, "1,234,567.89"),
        (-5_000, 2, "-0.01"),
        (-4_999, 2, "0.00"),
        (5_000, 2, "0.01"),
        (999_995_000, 2, "1,000.00"),
        (-1_000_000, 3, "-1.000"),
    ],
)
def test_figures_are_grouped_and_rounded_away_from_zero(millionths: int, places: int, text: str) -> None:
    assert shown(millionths, places) == text
