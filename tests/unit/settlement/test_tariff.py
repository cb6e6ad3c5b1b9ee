"""Tariffs: which hours are which, what holds on a day, and what is wrong with a file."""

import re
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from ledger.errors import BadInput
from settlement.holidays import CalendarHole, CalendarInvalid, parse_calendar
from settlement.market import Band
from settlement.tariff import (
    NoSinglePrice,
    TariffHole,
    TariffInvalid,
    UnknownTariff,
    load_tariff,
    parse_tariff,
    tariff_documents,
    tariff_names,
)

MEA = "th-mea-4.2-12-24kv"
TARIFF = """
name = "x"
country = "TH"
currency = "THB"
zone = "Asia/Bangkok"
source = "x"
confirmed = true
"""
VERSION = "[[versions]]\nfrom = 2020-01-01\nfeed_in_per_kwh = 2\n"
PERIOD = '[[versions.periods]]\nname = "all day"\nenergy_per_kwh = 4\n'


def at(text: str, zone: str = "Asia/Bangkok") -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp())


# --- every tariff -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", tariff_names())
def test_every_tariff_is_whole_and_says_where_it_is_from(name: str) -> None:
    tariff = load_tariff(name)
    assert tariff.file.source
    assert name.startswith(tariff.file.country.lower())
    assert parse_tariff(*tariff_documents(name)).file == tariff.file, "documents are all that it takes"
    for version in tariff.file.versions:
        assert tariff.version(version.begin) is version


@pytest.mark.parametrize("name", [name for name in tariff_names() if "th-" in name])
def test_thai_tariffs_hold_from_2021_to_the_last_ft_that_was_announced(name: str) -> None:
    tariff = load_tariff(name)
    for year in range(2021, 2027):
        for month in range(1, 9 if year == 2026 else 13):
            assert tariff.terms(at(f"{year}-{month:02d}-01T00:00:00")).surcharges[0][0] == "Ft"
    with pytest.raises(TariffHole, match="Ft"):
        tariff.terms(at("2026-09-01T00:00:00"))


def test_households_paid_another_ft_in_early_2023() -> None:
    begin = at("2023-01-01T00:00:00")
    assert load_tariff("th-mea-1.2").terms(begin).surcharges == [("Ft", 934_300)]
    assert load_tariff("th-mea-2.1-below-12kv").terms(begin).surcharges == [("Ft", 1_549_200)]


# --- hours --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "period"),
    [
        ("2026-06-01T08:45:00", "off-peak"),  # a Monday
        ("2026-06-01T09:00:00", "on-peak"),
        ("2026-06-01T21:45:00", "on-peak"),
        ("2026-06-01T22:00:00", "off-peak"),
        ("2026-06-06T12:00:00", "off-peak"),  # Saturday
        ("2026-06-07T12:00:00", "off-peak"),  # Sunday
        ("2026-06-03T12:00:00", "off-peak"),  # a Wednesday, the Queen's birthday
        ("2025-05-09T12:00:00", "on-peak"),  # Royal Ploughing Day
        ("2023-07-31T12:00:00", "on-peak"),  # a special holiday
        ("2021-02-12T12:00:00", "off-peak"),  # another, which the regulator took for one
        ("2021-04-12T12:00:00", "off-peak"),
        ("2020-04-13T12:00:00", "on-peak"),  # Songkran, put off in that year
        ("2022-05-16T12:00:00", "on-peak"),  # a substitution day
    ],
)
def test_peak_hours_in_thailand(start: str, period: str) -> None:
    assert load_tariff(MEA).period(at(start)).name == period


@pytest.mark.parametrize(
    ("start", "period"),
    [
        ("2025-07-01T07:59:00", "valle"),
        ("2025-07-01T08:00:00", "llano"),
        ("2025-07-01T10:00:00", "punta"),
        ("2025-07-01T14:00:00", "llano"),
        ("2025-07-01T18:00:00", "punta"),
        ("2025-07-01T22:00:00", "llano"),
        ("2025-07-05T12:00:00", "valle"),
        ("2025-12-25T12:00:00", "valle"),
        ("2025-10-26T02:30:00", "valle"),  # the hour that comes twice
    ],
)
def test_three_periods_in_spain(start: str, period: str) -> None:
    assert load_tariff("es-som-2.0td").period(at(start, "Europe/Madrid")).name == period


def test_the_band_is_energy_and_surcharges_without_tax_and_what_surplus_gets() -> None:
    tariff = load_tariff(MEA)
    assert tariff.band(at("2026-06-01T09:00:00")) == Band(4_183_900 + 162_300, 2_200_000)
    assert tariff.band(at("2016-06-01T03:00:00")) == Band(2_603_700 - 332_900, 2_200_000)
    assert load_tariff("de-waren-grundversorgung").band(at("2025-07-01T00:00:00")) == Band(289_300, 78_600)


# --- holes --------------------------------------------------------------------------------------------


def test_what_a_tariff_does_not_say_is_a_hole_and_not_a_guess() -> None:
    tariff = load_tariff(MEA)
    with pytest.raises(TariffHole, match="2015-10-31"):
        tariff.band(at("2015-10-31T12:00:00"))
    with pytest.raises(CalendarHole, match="2031"):
        tariff.band(at("2031-01-01T12:00:00"))
    with pytest.raises(NoSinglePrice):
        load_tariff("th-mea-1.1").band(at("2026-06-01T12:00:00"))
    with pytest.raises(TariffHole, match="surplus"):
        load_tariff("es-som-2.0td").band(at("2025-07-01T12:00:00"))
    partly = VERSION + PERIOD + 'windows = [{ days = ["sun"] }]\n'
    with pytest.raises(TariffHole, match=r"Monday, 2026-06-01 09:00"):
        parse_tariff("x", TARIFF + partly, {}).band(at("2026-06-01T09:00:00"))


def test_versions_and_surcharges_change_with_the_local_day() -> None:
    more = VERSION.replace("from = 2020-01-01", "from = 2020-01-01\nuntil = 2026-06-01") + PERIOD
    more += VERSION.replace("2020-01-01", "2026-06-01") + PERIOD.replace("4", "5")
    tariff = parse_tariff("x", TARIFF + more, {})
    last, first = at("2026-05-31T23:45:00"), at("2026-06-01T00:00:00")
    assert [tariff.band(start).retail_micro_per_kwh for start in (last, first)] == [4_000_000, 5_000_000]


# --- files --------------------------------------------------------------------------------------------


def test_a_name_that_is_unknown_is_answered_with_those_that_are() -> None:
    with pytest.raises(UnknownTariff) as caught:
        load_tariff("th-mea-4.2-12kv")
    assert "th-mea-4.2-12-24kv" in caught.value.hint
    for name in ("../tariffs/th-mea-1.1", "holidays/th", "", "nowhere/mine.toml"):
        with pytest.raises(UnknownTariff):
            load_tariff(name)


def test_a_tariff_of_ones_own_finds_calendars_beside_itself_and_ours(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(TARIFF + 'holidays = "th"\nsurcharges = ["own"]\n' + VERSION + PERIOD)
    (tmp_path / "surcharges").mkdir()
    (tmp_path / "surcharges" / "own.toml").write_text(
        'name = "own"\nsource = "me"\nconfirmed = true\n'
        "values = [{ from = 2026-01-01, until = 2027-01-01, per_kwh = -5.0 }]\n"
    )
    tariff = load_tariff(str(tmp_path / "mine.toml"))
    assert (tariff.name, tariff.calendar.name) == ("mine", "Thailand, TOU")
    assert tariff.band(at("2026-06-01T09:00:00")) == Band(0, 2_000_000), "a price is never below zero"


def test_notes_tell_what_was_not_yet_confirmed() -> None:
    first, second, third = load_tariff(MEA).notes([2026, 2026])
    assert "th-mea-4.2-12-24kv was not yet held against" in first
    assert second.startswith("Ft was not yet held against")
    assert third.startswith("the holidays of 2026 are provisional")
    assert not list(parse_tariff("x", TARIFF + VERSION + PERIOD, {}).notes([2026]))


WRONG = {
    "no version": "versions = []",
    "no period": "[[versions]]\nfrom = 2020-01-01\nperiods = []",
    "versions that overlap": VERSION + PERIOD + VERSION.replace("2020", "2021") + PERIOD,
    "versions in the wrong order": VERSION.replace("from", "until = 2021-01-01\nfrom")
    + PERIOD + VERSION.replace("2020-01-01", "2019-01-01\nuntil = 2020-01-01") + PERIOD,
    "a version that ends before it begins": VERSION + "until = 2019-01-01\n" + PERIOD,
    "a version from the middle of a month": VERSION.replace("01-01", "01-15") + PERIOD,
    "two periods of one name": VERSION + PERIOD + PERIOD,
    "a price too fine": VERSION + PERIOD.replace("4", "4.0000001"),
    "a price below zero": VERSION + PERIOD.replace("4", "-4"),
    "a price that is none": VERSION + PERIOD.replace("4", "nan"),
    "a price hardly there": VERSION + PERIOD.replace("4", "1e-400000000"),
    "a price beyond all": VERSION + PERIOD.replace("4", "1e400000000"),
    "neither price nor blocks": VERSION + PERIOD.replace("energy_per_kwh = 4", ""),
    "price and blocks": VERSION + PERIOD + "blocks = [{ per_kwh = 1 }]\n",
    "blocks that fall": VERSION + PERIOD.replace(
        "energy_per_kwh = 4",
        "blocks = [{ until_kwh = 2, per_kwh = 1 }, { until_kwh = 1, per_kwh = 1 }, { per_kwh = 1 }]",
    ),
    "blocks that end": VERSION
    + PERIOD.replace("energy_per_kwh = 4", "blocks = [{ until_kwh = 2, per_kwh = 1 }]"),
    "a window without hours": VERSION + PERIOD + 'windows = [{ from = "10:00", until = "09:00" }]\n',
    "a clock": VERSION + PERIOD + 'windows = [{ from = "9:00" }]\n',
    "a day": VERSION + PERIOD + 'windows = [{ days = ["monday"] }]\n',
    "more tax than all": VERSION + "vat = 7\n" + PERIOD,
    "a tax below zero": VERSION + 'levies = [{ name = "x", rate = -0.1 }]\n' + PERIOD,
    "a coin of nothing": "smallest_coin = 0\n" + VERSION + PERIOD,
    "a zone": VERSION + PERIOD,
    "a missing calendar": 'holidays = "xx"\n' + VERSION + PERIOD,
    "a calendar outside": 'holidays = "../th"\n' + VERSION + PERIOD,
    "an unknown key": "vatt = 0.07\n" + VERSION + PERIOD,
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_a_file_that_makes_no_sense_is_refused_with_its_name(tmp_path: Path, what: str) -> None:
    head = TARIFF.replace("Bangkok", "Bankok") if what == "a zone" else TARIFF
    path = tmp_path / "mine.toml"
    path.write_text(head + WRONG[what])
    with pytest.raises(TariffInvalid) as caught:
        load_tariff(str(path))
    assert caught.value.where.split(":")[0].endswith((".toml",))


SURCHARGE = 'name = "s"\nsource = "x"\nconfirmed = true\nvalues = [{}]\n'


@pytest.mark.parametrize(
    "values",
    [
        "{ from = 2020-01-01, until = 2021-01-01, per_kwh = 1 }, "
        "{ from = 2020-12-01, until = 2022-01-01, per_kwh = 1 }",
        "{ from = 2020-01-01, until = 2020-01-01, per_kwh = 1 }",
        "{ from = 2020-01-01, until = 2021-01-01, per_kwh = 0.0000001 }",
        "{ from = 2020-01-01, per_kwh = 1 }",
    ],
)
def test_a_surcharge_that_makes_no_sense_is_refused(values: str) -> None:
    document = TARIFF + 'surcharges = ["s"]\n' + VERSION + PERIOD
    with pytest.raises(TariffInvalid) as caught:
        parse_tariff("x", document, {"surcharges/s.toml": SURCHARGE.format(values)})
    assert caught.value.where.startswith("surcharges/s.toml")
    with pytest.raises(TariffInvalid, match=r"surcharges/s\.toml is missing"):
        parse_tariff("x", document, {})


def test_a_wrong_value_of_a_surcharge_is_told_with_its_own_line() -> None:
    documents = tariff_documents(MEA)
    lines = documents.beside["surcharges/th-ft.toml"].splitlines()
    number = next(number for number, line in enumerate(lines, 1) if "0.1623" in line)
    lines[number - 1] = lines[number - 1].replace("0.1623", '"x"')
    with pytest.raises(TariffInvalid) as caught:
        parse_tariff(MEA, documents.document, {**documents.beside, "surcharges/th-ft.toml": "\n".join(lines)})
    found = re.fullmatch(r"surcharges/th-ft\.toml: line (\d+), values\[\d+\]\.per_kwh", caught.value.where)
    assert found is not None
    assert int(found[1]) == number


def test_a_tariff_that_is_not_there_is_told_as_a_name_or_as_a_file() -> None:
    with pytest.raises(UnknownTariff, match="there is no tariff") as caught:
        load_tariff("th-mea-4.2")
    assert caught.value.hint.startswith(
        "did you mean `th-mea-4.2-12-24kv`, `th-mea-4.2-69kv` or `th-mea-4.2-b"
    )
    for name in ("./mine.toml", "th-mea-1.2.toml"):
        with pytest.raises(UnknownTariff, match=re.escape(f"there is no file {name}")) as caught:
            load_tariff(name)
        assert ("did you mean `th-mea-1.2`?" in caught.value.hint) == ("1.2" in name)


def test_errors_of_a_tariff_are_bad_input() -> None:
    assert all(
        issubclass(each, BadInput)
        for each in (CalendarHole, CalendarInvalid, NoSinglePrice, TariffHole, TariffInvalid, UnknownTariff)
    )


def test_every_day_of_a_calendar_is_in_its_year_and_told_once() -> None:
    text = tariff_documents(MEA).beside["holidays/th.toml"]
    assert parse_calendar(text, "th.toml").year(2026).provisional
