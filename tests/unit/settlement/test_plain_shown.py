"""What a person reads fits 80 columns, cuts no number and rounds at the edge."""

import io
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from settlement.plain.shown import (
    BUILDINGS_MAX,
    amounts,
    decimal,
    energies,
    percent,
    print_bill,
    print_result,
)
from settlement.plain.what_if import Result
from settlement.standing import Standing
from settlement.tariff import load_tariff
from settlement.utility_bill import BillLine, MonthBill

KWH = 1_000_000


def standing(building: str, scale: int = 1) -> Standing:
    return Standing(
        building, 1_234_567 * scale, 2 * KWH * scale, 600_000 * scale, KWH * scale, 634_567 * scale,
        KWH * scale, 0, 0, 0, 0, 0, -7_654_321 * scale, -1_000_000 * scale, 6_654_321 * scale,
        486_000, 500_000, 1_234_567,
    )  # fmt: skip


def shown(result: Result, width: int = 80) -> str:
    out = Console(file=io.StringIO(), width=width, highlight=False, markup=False)
    print_result(out, result)
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


def result(*buildings: Standing, scale: int = 1) -> Result:
    return Result(2_880, 12_345, list(buildings), standing("", scale), "THB", "mid_market_rate", [])


@pytest.mark.parametrize(
    ("value", "digits", "unit", "text"),
    [
        (0, 2, KWH, "0.00"),
        (1_234_567, 2, KWH, "1.23"),
        (1_235_000, 2, KWH, "1.24"),
        (-1_235_000, 2, KWH, "-1.24"),
        (-4_999, 2, KWH, "0.00"),
        (1_234_500_000_000, 0, KWH, "1,234,500"),
        (999_999, 0, KWH, "1"),
    ],
)
def test_numbers_are_rounded_to_the_nearest(value: int, digits: int, unit: int, text: str) -> None:
    assert decimal(value, digits, unit) == text


def test_a_column_has_as_many_decimals_as_there_is_room_for() -> None:
    assert energies([999 * KWH, 1]) == ["999.000", "0.000"]
    assert energies([1_000 * KWH, 1]) == ["1,000.0", "0.0"]
    assert energies([100_000 * KWH, 1]) == ["100,000", "0"]
    assert amounts([-999_999_990_000]) == ["-999,999.99"]
    assert amounts([-1_000_000_000_000, 5_000_000]) == ["-1,000,000", "5"]
    assert percent(None) == "-"
    assert percent(661_499) == "66.1"


@pytest.mark.parametrize("scale", [1, 1_000, 10**6, 10**8])
def test_a_table_fits_80_columns_and_shows_every_number_whole(scale: int) -> None:
    text = shown(result(standing("mall", scale), standing("plant-factory", scale), scale=scale))
    assert all(len(line) <= 80 for line in text.splitlines()), text
    assert "…" not in text
    heads = text.splitlines()[:2]
    assert heads[0].split() == ["imported", "bought", "exported", "sold", "pays", "saves", "fair-"]
    assert heads[1].split() == ["kWh", "%", "kWh", "%", "THB", "THB", "ness"]
    for name in ("mall", "plant-factory", "all"):
        row = next(line for line in text.splitlines() if line.startswith(name[:8]))
        assert row.split()[1:] == [
            *energies([1_234_567 * scale]), "48.6", *energies([2 * KWH * scale]), "50.0",
            *amounts([-7_654_321 * scale]), *amounts([6_654_321 * scale]), "1.23",
        ]  # fmt: skip


def test_a_number_is_not_cut_for_a_narrow_screen_or_a_long_name() -> None:
    text = shown(result(standing("a" * 64, 10**9), scale=10**9), width=40)
    assert "-7,654,321,000" in text
    assert "…" not in text
    assert text.count("\n" + "a" * 8) == 8, "a long name is folded"


def test_the_community_is_told_in_words_with_units() -> None:
    text = shown(result(standing("mall")))
    assert "mid_market_rate: 2,880 intervals, 12,345 trades\n" in text
    assert "energy traded     0.600 kWh\n" in text
    assert "self-sufficiency  48.6 % of the import came from neighbours\n" in text
    assert "saved in total    6.65 THB: -7.65 to be paid, not -1.00\n" in text


def test_of_many_buildings_the_first_are_shown() -> None:
    text = shown(result(*(standing(f"b{number:04d}") for number in range(1_000))))
    assert f"{1_000 - BUILDINGS_MAX} buildings more in buildings.csv" in text
    assert "b0049" in text
    assert "b0050" not in text


def test_nothing_to_divide_by_is_a_dash() -> None:
    nobody = Standing("", *[0] * 14, None, None, None)
    text = shown(Result(1, 0, [nobody], nobody, "THB", "bill_sharing", []))
    assert "self-sufficiency" not in text
    assert next(line for line in text.splitlines() if line.startswith("all")).split().count("-") == 3


def test_thai_names_are_as_wide_as_they_look() -> None:
    text = shown(result(standing("อาคารเรียน"), standing("ที่"), standing("mall")))
    numbers = [line.split()[1:] for line in text.splitlines() if line.startswith(("อาคาร", "ที่", "mall"))]
    assert len(numbers) == 3
    columns = {cell_len(line[: line.index("1.235")]) for line in text.splitlines() if "1.235" in line}
    assert len(columns) == 1


def printed(bill: MonthBill) -> str:
    out = Console(file=io.StringIO(), width=80, highlight=False, markup=False)
    print_bill(out, bill, load_tariff("th-mea-4.2-12-24kv"))
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


@given(st.integers(0, 10**9), st.integers(0, 10**13))
def test_a_bill_fits_80_columns_and_is_exact(quantity_milli: int, amount: int) -> None:
    lines = [
        BillLine("energy", "energy off-peak", quantity_milli, "kWh", 2_603_700, amount),
        BillLine("capacity", "capacity punta, 31 of 366 days", 4_600, "kW", 29_013_000, 5),
        BillLine("rounding", "rounding", 0, "", 0, -4_999),
    ]
    text = printed(MonthBill(date(2026, 6, 1), lines, 2_880, 2_880, {}))
    assert all(len(line) <= 80 for line in text.splitlines()), text
    assert f"{amount // KWH:,}.{amount % KWH:06d}" in text
    assert "-0.004999" in text
    assert "note" not in text


def test_a_bill_tells_what_its_load_lacks() -> None:
    assert "note: the load tells 96 of the month's 2,880 intervals" in printed(
        MonthBill(date(2026, 6, 1), [], 96, 2_880, {})
    )
