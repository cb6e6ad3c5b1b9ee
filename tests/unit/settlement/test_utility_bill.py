"""The utility's bill against computations by hand."""

import random
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import BadInput
from ledger.grid import Grid
from settlement.plain.reading import read_load
from settlement.tariff import Tariff, TariffHole, load_tariff, parse_tariff
from settlement.utility_bill import ContractMissing, LoadRow, MonthBill, utility_bills

KWH = 1_000_000
MEA = load_tariff("th-mea-4.2-12-24kv")
HEAD = """
name = "x"
country = "TH"
currency = "THB"
zone = "Asia/Bangkok"
source = "x"
confirmed = true
"""


def at(text: str, zone: str = "Asia/Bangkok") -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp())


def own(text: str) -> Tariff:
    return parse_tariff("x", HEAD + text, {})


def bills(tariff: Tariff, *rows: LoadRow, minutes: int = 15, watts: int | None = None) -> list[MonthBill]:
    return list(utility_bills(tariff, rows, minutes, watts))


def amounts(bill: MonthBill) -> dict[str, int]:
    found = {line.what: line.amount_micro for line in bill.lines}
    assert len(found) == len(bill.lines), "no two lines of one name"
    return found


@pytest.mark.parametrize("turned", [False, True])
def test_the_peak_of_a_period_is_the_earliest_of_equals(turned: bool) -> None:
    rows = [
        PEAK._replace(start=PEAK.start + 900 * k, import_milliwh=KWH * part)
        for k, part in enumerate((5, 7, 7))
    ]
    (bill,) = bills(MEA, *(rows[::-1] if turned else rows))
    assert bill.peaks == {"demand on-peak": rows[1].start}


# --- MEA 4.2 ------------------------------------------------------------------------------------------

PEAK = LoadRow(at("2026-06-01T09:00:00"), 250_125_000, 0, 200 * KWH)  # 1,000.5 kW, 800 kvar
NIGHT = LoadRow(at("2026-06-01T22:00:00"), 300 * KWH, 40 * KWH)  # 1,200 kW


def test_a_month_of_mea_4_2_2_as_done_by_hand() -> None:
    (bill,) = bills(MEA, PEAK, NIGHT)
    assert bill.peaks == {"demand on-peak": PEAK.start, "demand off-peak": NIGHT.start}
    assert bill.month == date(2026, 6, 1)
    assert [(line.what, line.quantity_milli, line.unit, line.price_micro) for line in bill.lines] == [
        ("energy on-peak", 250_125, "kWh", 4_183_900),
        ("energy off-peak", 300_000, "kWh", 2_603_700),
        ("demand on-peak", 1_000_000, "kW", 132_930_000),  # half a kW is discarded
        ("reactive power", 56_000, "kvar", 56_070_000),  # 800 - 61.97 % of 1,200 = 56.36
        ("service", 1_000, "month", 312_240_000),
        ("Ft", 550_125, "kWh", 162_300),
        ("VAT", 7_000, "% of", 138_299_053_276),
        ("feed-in", 40_000, "kWh", -2_200_000),
        ("rounding", 0, "", 0),
    ]
    assert list(amounts(bill).values()) == [
        1_046_497_988,  # 250.125 * 4.1839 = 1,046.4979875
        781_110_000,
        132_930_000_000,
        3_139_920_000,
        312_240_000,
        89_285_288,  # 550.125 * 0.1623 = 89.2852875
        9_680_933_729,  # 7 % of 138,299.053276
        -88_000_000,
        2_995,
    ]
    assert bill.total_micro == 147_891_990_000


@pytest.mark.parametrize(
    ("milliwh", "kilowatts"),
    [(25_000_000, 100), (25_125_000, 100), (25_125_001, 101), (25_374_999, 101), (25_375_000, 101), (1, 0)],
)
def test_demand_is_to_the_nearest_kilowatt_and_half_a_one_is_discarded(milliwh: int, kilowatts: int) -> None:
    (bill,) = bills(MEA, LoadRow(PEAK.start, milliwh))
    assert amounts(bill)["demand on-peak"] == kilowatts * 132_930_000


def test_demand_is_on_peak_alone_and_the_highest_of_the_month_by_the_length_of_its_intervals() -> None:
    low, high = LoadRow(PEAK.start, 10 * KWH), LoadRow(at("2026-06-30T21:00:00"), 20 * KWH)
    assert amounts(bills(MEA, NIGHT, low, high)[0])["demand on-peak"] == 80 * 132_930_000
    assert amounts(bills(MEA, NIGHT, low, high, minutes=60)[0])["demand on-peak"] == 20 * 132_930_000


@pytest.mark.parametrize(("kvarh", "kilovars"), [(61_970, 0), (62_095, 0), (62_096, 1), (62_345, 1)])
def test_reactive_power_beyond_61_97_percent_of_the_highest_kilowatts_is_billed(
    kvarh: int, kilovars: int
) -> None:
    (bill,) = bills(MEA, LoadRow(PEAK.start, 100 * KWH, 0, kvarh * 1_000))
    assert amounts(bill).get("reactive power", 0) == kilovars * 56_070_000


def test_ft_may_be_below_zero_and_change_within_a_load() -> None:
    april, may = (LoadRow(at(f"2016-{month}T00:00:00"), 100 * KWH) for month in ("04-30", "05-01"))
    assert [amounts(bill)["Ft"] for bill in bills(MEA, may, april)] == [-4_800_000, -33_290_000]


# --- minimum ------------------------------------------------------------------------------------------

DEMAND = own(
    """
[[versions]]
from = 2020-01-01
minimum_demand_share = 0.70
[[versions.periods]]
name = "all day"
energy_per_kwh = 1
demand_per_kw = 100
"""
)


def test_the_minimum_is_70_percent_of_the_highest_demand_charge_of_twelve_months() -> None:
    rows = [LoadRow(at("2025-01-15T12:00:00"), 250 * KWH)]  # 1,000 kW: 100,000
    rows += [LoadRow(at(f"2025-{month:02d}-15T12:00:00"), 5 * KWH) for month in range(2, 13)]  # 2,000 + 5
    rows += [LoadRow(at("2026-01-15T12:00:00"), 5 * KWH)]
    found = [amounts(bill).get("minimum charge", 0) for bill in bills(DEMAND, *rows)]
    assert found == [0, *[70_000_000_000 - 2_005_000_000] * 11, 0], "a year later it is forgotten"


def test_there_is_no_minimum_where_energy_and_demand_reach_it() -> None:
    high, most = LoadRow(at("2025-01-15T12:00:00"), 250 * KWH), LoadRow(at("2025-02-15T12:00:00"), 175 * KWH)
    assert "minimum charge" not in amounts(bills(DEMAND, high, most)[1])


# --- blocks -------------------------------------------------------------------------------------------

JUNE = at("2026-06-01T12:00:00")


@pytest.mark.parametrize(
    ("tariff", "kwh", "lines", "total"),
    [
        # 150 * 3.2484, 200 * 4.2218; with service, Ft and VAT 1,511.95815
        ("th-mea-1.2", 350, [487_260_000, 844_360_000], 1_511_960_000),
        ("th-mea-1.2", 150, [487_260_000], 573_760_000),
        ("th-mea-1.2", 401, [487_260_000, 1_055_450_000, 4_421_700], 1_751_410_000),
        ("th-mea-1.2", 0, [0], 26_340_000),
        # 15 * 2.3488, 10 * 2.9882, 10 * 3.2405, 65 * 3.6237
        ("th-mea-1.1", 100, [35_232_000, 29_882_000, 32_405_000, 235_540_500], 382_500_000),
        # 50 * 1,984, 50 * 2,050, 100 * 2,380, 50 * 2,998; 8 % tax; no coin below a dong
        ("vn-evn-residential", 250, [99_200_000_000, 102_500_000_000, 238_000_000_000, 149_900_000_000],
         636_768_000_000),
    ],
)  # fmt: skip
def test_blocks_fill_one_after_the_other(tariff: str, kwh: int, lines: list[int], total: int) -> None:
    (bill,) = bills(load_tariff(tariff), LoadRow(JUNE, kwh * KWH))
    assert [line.amount_micro for line in bill.lines if line.what.startswith("energy")] == lines
    assert bill.total_micro == total


def test_blocks_are_named() -> None:
    (bill,) = bills(load_tariff("th-mea-1.2"), LoadRow(JUNE, 401 * KWH))
    assert [line.what for line in bill.lines[:3]] == [
        "energy, up to 150 kWh", "energy, 150 to 400 kWh", "energy, above 400 kWh",
    ]  # fmt: skip


@given(st.lists(st.integers(0, 500 * KWH), min_size=1, max_size=8))
def test_blocks_share_out_the_whole_energy(energies: list[int]) -> None:
    rows = [LoadRow(JUNE + 900 * index, energy) for index, energy in enumerate(energies)]
    (bill,) = bills(load_tariff("th-mea-1.1"), *rows)
    blocks = [line.quantity_milli for line in bill.lines if line.what.startswith("energy")]
    assert abs(sum(blocks) * 1_000 - sum(energies)) <= 500 * len(blocks)


# --- contracted power, taxes, coins -------------------------------------------------------------------

SPAIN = load_tariff("es-som-2.0td")


def test_contracted_power_is_billed_by_days_and_taxed_twice() -> None:
    row = LoadRow(at("2025-07-01T10:00:00", "Europe/Madrid"), 100 * KWH)
    found = amounts(bills(SPAIN, row, watts=4_600)[0])
    assert found == {
        "energy punta": 22_600_000,
        "energy llano": 0,
        "energy valle": 0,
        "capacity punta, 31 of 365 days": 11_334_942,  # 4.6 * 29.013 * 31 / 365
        "capacity valle, 31 of 365 days": 1_089_230,
        "impuesto eléctrico": 1_790_677,  # 5.11269 % of 35.024172
        "VAT": 7_731_118,  # 21 % of 36.814849
        "rounding": 4_033,
    }
    with pytest.raises(ContractMissing) as caught:
        bills(SPAIN, row)
    assert "--contracted-kw" in caught.value.hint


def test_surplus_that_the_tariff_does_not_price_is_not_taken_for_a_gift() -> None:
    with pytest.raises(TariffHole, match="surplus"):
        bills(SPAIN, LoadRow(at("2025-07-01T10:00:00", "Europe/Madrid"), 0, KWH), watts=0)


def test_a_bill_below_zero_has_no_tax_and_is_rounded_away_from_zero() -> None:
    tariff = own(
        "[[versions]]\nfrom = 2020-01-01\nfeed_in_per_kwh = 2\nvat = 0.07\n"
        '[[versions.periods]]\nname = "all day"\nenergy_per_kwh = 1\n'
    )
    (bill,) = bills(tariff, LoadRow(JUNE, 0, 2_500))
    assert amounts(bill) == {"energy": 0, "VAT": 0, "feed-in": -5_000, "rounding": -5_000}


# --- whatever the load --------------------------------------------------------------------------------


@given(st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(shuffle: random.Random) -> None:
    rows = [LoadRow(at("2026-05-31T12:00:00") + 900 * n, n * KWH, n * 7, n * 11) for n in range(96)]
    expected = bills(MEA, *rows)
    shuffle.shuffle(rows)
    assert bills(MEA, *rows) == expected
    assert [bill.month.month for bill in expected] == [5, 6]


@given(
    st.lists(
        st.tuples(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9)),
        min_size=1,
        max_size=20,
    )
)
def test_a_total_is_whole_coins_and_the_sum_of_its_lines(load: list[tuple[int, int, int]]) -> None:
    rows = [LoadRow(JUNE + 900 * index, *row) for index, row in enumerate(load)]
    (bill,) = bills(MEA, *rows)
    assert bill.total_micro == sum(amounts(bill).values())
    assert not bill.total_micro % 10_000
    assert abs(amounts(bill).get("rounding", 0)) <= 5_000


@pytest.mark.parametrize(
    ("start", "zone", "minutes", "intervals"),
    [
        ("2026-06-01T00:00:00", "Asia/Bangkok", 15, 2_880),
        ("2026-03-01T00:00:00", "Europe/Madrid", 15, 31 * 96 - 4),
        ("2026-10-01T00:00:00", "Europe/Madrid", 60, 31 * 24 + 1),
        ("2024-02-01T00:00:00", "Asia/Bangkok", 30, 29 * 48),
    ],
)
def test_a_bill_tells_how_much_of_its_month_the_load_covers(
    start: str, zone: str, minutes: int, intervals: int
) -> None:
    tariff = parse_tariff(
        "x",
        HEAD.replace("Asia/Bangkok", zone)
        + '[[versions]]\nfrom = 2020-01-01\n[[versions.periods]]\nname = "all day"\nenergy_per_kwh = 1\n',
        {},
    )
    (bill,) = bills(tariff, LoadRow(at(start, zone), KWH), minutes=minutes)
    assert (bill.intervals, bill.intervals_max) == (1, intervals)


# --- the file -----------------------------------------------------------------------------------------


def load(path: Path, text: str, tariff: Tariff = MEA, minutes: int = 15) -> list[LoadRow]:
    path.write_text(text)
    return list(read_load(path, Grid(minutes, tariff.file.zone), tariff.terms))


def test_energy_may_be_told_in_wh_kwh_or_as_average_power(tmp_path: Path) -> None:
    start = "2026-06-01T09:00:00"
    expected = [LoadRow(at(start), 250_125_000, 1_500, 7_000)]
    for column, value in (("import_wh", "250125"), ("import_kwh", "250.125"), ("import_kw", "1000.5")):
        text = f"reactive_varh,{column},export_wh,interval_start\n7,{value},1.5,{start}\n"
        assert load(tmp_path / "load.csv", text) == expected


LOADS = {
    "": ("no-plain-file", ""),
    "interval_start,import_wh": ("no-plain-file", ""),
    "interval_start,energy\n2026-06-01T09:00,1": ("no-plain-file", ": line 1"),
    "interval_start,import_wh,import_kw\n2026-06-01T09:00,1,1": ("no-plain-file", ": line 1"),
    "import_wh\n1": ("no-plain-file", ": line 1"),
    "interval_start,building,import_wh\n2026-06-01T09:00,a,1": ("no-plain-file", ": line 1"),
    "interval_start,import_wh\n2026-06-01T09:00,-1": ("negative-energy", ": line 2, import_wh"),
    "interval_start,import_kw\n2026-06-01T09:00,nan": ("bad-cell", ": line 2, import_kw"),
    "interval_start,import_wh\n2026-06-01T09:05,1": ("off-grid", ": line 2, interval_start"),
    "interval_start,import_wh\n2015-06-01T09:00,1": ("tariff-hole", ": line 2, interval_start"),
    "interval_start,import_wh\n2026-06-01T09:00,1\n2026-06-01T02:00Z,1": (
        "duplicate-row", ": line 3, interval_start",
    ),
    "interval_start,import_wh,export_wh\n2026-06-01T09:00,1,x": ("bad-cell", ": line 2, export_wh"),
    "interval_start,import_wh,reactive_varh\n2026-06-01T09:00,1,-1": (
        "negative-energy", ": line 2, reactive_varh",
    ),
}  # fmt: skip


@pytest.mark.parametrize("text", LOADS)
def test_a_wrong_load_is_told_with_its_place(tmp_path: Path, text: str) -> None:
    code, place = LOADS[text]
    with pytest.raises(BadInput) as caught:
        load(tmp_path / "load.csv", text)
    assert (caught.value.code, caught.value.where) == (code, f"{tmp_path / 'load.csv'}{place}")


def test_what_a_load_lacks_is_told_with_the_columns_to_choose_from(tmp_path: Path) -> None:
    for text in ("", "import_wh\n1", "interval_start,energy\n2026-06-01T09:00,1"):
        with pytest.raises(BadInput) as caught:
            load(tmp_path / "load.csv", text)
        assert "interval_start, import_wh or import_kwh or import_kw" in caught.value.hint


def test_a_load_is_of_one_meter(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="a load is of one meter") as caught:
        load(tmp_path / "load.csv", "interval_start,building,import_wh\n2026-06-01T09:00,a,1")
    assert "column" in caught.value.hint


def test_a_year_of_quarters_is_billed_month_by_month() -> None:
    start, rows = at("2025-01-01T00:00:00"), []
    for index in range(365 * 96):
        rows.append(LoadRow(start + 900 * index, KWH))
    found = bills(MEA, *rows)
    assert [bill.month for bill in found] == [date(2025, month, 1) for month in range(1, 13)]
    assert all(bill.intervals == bill.intervals_max for bill in found)
    assert sum(line.quantity_milli for bill in found for line in bill.lines if line.unit == "kWh") == (
        2 * 365 * 96 * 1_000
    ), "as energy, and once more as what Ft is asked for"
    assert timedelta(days=365) // timedelta(minutes=15) == len(rows)
