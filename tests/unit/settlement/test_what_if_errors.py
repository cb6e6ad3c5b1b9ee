"""Every wrong file of a what-if is refused with a code and its place, and nothing is written."""

import os
import re
import tracemalloc
from pathlib import Path

import pytest

from ledger.errors import BadInput
from settlement.plain.table import LINE_MAX
from tests.support.plain_files import ENERGIES, RULES, PlainFiles, rules, table

ORDERS = "interval_start,building,side,energy_wh,limit_micro_per_kwh,zone\n"
NINE = "2026-06-01T09:00:00+07:00"
TARIFF = {"retail_micro_per_kwh": None, "feed_in_micro_per_kwh": None}
WHEELING = """
[buildings.a]
feeder = "north"
[buildings.b]
feeder = "north"
[[wheeling]]
from = "north"
to = "south"
fee_micro_per_kwh = 1
"""


@pytest.fixture
def files(tmp_path: Path) -> PlainFiles:
    return PlainFiles(tmp_path)


def refused(files: PlainFiles) -> tuple[str, str]:
    """The code and the place, the folder of the test left out; nothing has been written."""
    with pytest.raises(BadInput) as caught:
        files.settle()
    assert not files.out.exists()
    assert str(files.rules.parent) in caught.value.where
    return caught.value.code, caught.value.where.replace(f"{files.rules.parent}/", "")


def first_row(cells: str) -> str:
    """The energies with another first row."""
    return re.sub(r"\n.*", lambda _: "\n" + cells, ENERGIES, count=1)


# --- the table ----------------------------------------------------------------------------------------

TABLES: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", ""),
    "only a header": (ENERGIES.partition("\n")[0], ""),
    "a column misspelt": (ENERGIES.replace("import_wh", "import_hw"), ": line 1"),
    "an energy in two units": (ENERGIES.replace("export_wh", "import_kwh"), ": line 1"),
    "parted by semicolons": (ENERGIES.replace(",", ";"), ": line 1"),
    "parted by tabs": (ENERGIES.replace(",", "\t"), ": line 1"),
    "a column twice": (ENERGIES.replace("export_wh", "import_wh"), ": line 1"),
    "UTF-16": (ENERGIES.encode("utf-16"), ": line 1"),
    "too few cells": (ENERGIES.replace("sun,0,6000", "sun,0"), ": line 2"),
    "too many cells": (ENERGIES.replace("1000,0\n2026", "1000,0,0\n2026"), ": line 4"),
    "a quote without end": (ENERGIES.replace("sun,0,2000", '"sun,0,2000'), ": line 8"),
    "a line without end": (ENERGIES + "x" * LINE_MAX, ": line 8"),
    "a header without end": ("x" * LINE_MAX, ": line 1"),
}


@pytest.mark.parametrize("what", TABLES)
def test_what_is_no_table_is_told_with_its_line(files: PlainFiles, what: str) -> None:
    text, place = TABLES[what]
    assert refused(files.write(text)) == ("no-plain-file", f"energies.csv{place}")


def test_a_file_that_is_not_there_is_told(files: PlainFiles) -> None:
    files.write().energies.unlink()
    assert refused(files) == ("no-plain-file", "energies.csv")
    files.energies.mkdir()
    assert refused(files) == ("no-plain-file", "energies.csv")


def test_a_line_without_end_is_not_read_to_its_end(files: PlainFiles) -> None:
    files.write(ENERGIES)
    with files.energies.open("ab") as file:
        file.truncate(1 << 30)  # a gigabyte of zeros that takes no room
    tracemalloc.start()
    try:
        refused(files)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20


# --- cells --------------------------------------------------------------------------------------------

CELLS = {
    # the first row: code and column
    f"{NINE},sun,-1,0": ("negative-energy", "import_wh"),
    f"{NINE},sun,0,-0.001": ("negative-energy", "export_wh"),
    f"{NINE},sun,-1e9,0": ("negative-energy", "import_wh"),
    f"{NINE},sun,1234567890.12300000000000000001,0": ("bad-cell", "import_wh"),
    f"{NINE},sun,nan,0": ("bad-cell", "import_wh"),
    f"{NINE},sun,0,inf": ("bad-cell", "export_wh"),
    f"{NINE},sun,,0": ("bad-cell", "import_wh"),
    f"{NINE},sun,1_000,0": ("bad-cell", "import_wh"),
    f"{NINE},sun,0x10,0": ("bad-cell", "import_wh"),
    f"{NINE},sun,١,0": ("bad-cell", "import_wh"),
    f'{NINE},sun,"1,5",0': ("bad-cell", "import_wh"),
    f"{NINE},sun,0.0001,0": ("bad-cell", "import_wh"),
    f"{NINE},sun,1e-4,0": ("bad-cell", "import_wh"),
    f"{NINE},sun,1e13,0": ("bad-cell", "import_wh"),
    f"{NINE},sun,1e99,0": ("bad-cell", "import_wh"),
    f"{NINE},sun,1e999999999,0": ("bad-cell", "import_wh"),
    f"{NINE},sun,{'9' * 5_000},0": ("bad-cell", "import_wh"),
    "yesterday,sun,0,0": ("bad-cell", "interval_start"),
    "20260601T09:00,sun,0,0": ("bad-cell", "interval_start"),
    "2026-W23-1T09:00,sun,0,0": ("bad-cell", "interval_start"),
    ",sun,0,0": ("bad-cell", "interval_start"),
    "2026-06-31T09:00:00Z,sun,0,0": ("bad-cell", "interval_start"),
    "2026-06-01T09:00:00.5Z,sun,0,0": ("bad-cell", "interval_start"),
    "0001-01-01T00:00:00+14:00,sun,0,0": ("bad-cell", "interval_start"),
    "9999-12-31T23:00:00-14:00,sun,0,0": ("bad-cell", "interval_start"),
    "2026-06-01T09:07:00+07:00,sun,0,0": ("off-grid", "interval_start"),
    "2026-06-01T09:00:01+07:00,sun,0,0": ("off-grid", "interval_start"),
    f"{NINE},,0,0": ("bad-cell", "building"),
    f"{NINE},=1+1,0,0": ("bad-cell", "building"),
    f"{NINE},+a,0,0": ("bad-cell", "building"),
    f"{NINE},-a,0,0": ("bad-cell", "building"),
    f"{NINE},@a,0,0": ("bad-cell", "building"),
    f"{NINE},a/b,0,0": ("bad-cell", "building"),
    f"{NINE},sun ,0,0": ("bad-cell", "building"),
    f'{NINE},"a,b",0,0': ("bad-cell", "building"),
    f"{NINE},{'a' * 65},0,0": ("bad-cell", "building"),
    f"{NINE},\x1b[31msun,0,0": ("bad-cell", "building"),
    f"{NINE},sun\u202e,0,0": ("bad-cell", "building"),
}


@pytest.mark.parametrize("cells", CELLS)
def test_a_bad_cell_is_told_with_its_line_and_column(files: PlainFiles, cells: str) -> None:
    code, column = CELLS[cells]
    assert refused(files.write(first_row(cells))) == (code, f"energies.csv: line 2, {column}")


def test_a_byte_that_is_no_utf8_is_told_with_its_line_and_column(files: PlainFiles) -> None:
    many = "".join(f"2026-06-02T{hour:02d}:00:00Z,sun,0,0\n" for hour in range(24)) * 1
    text = (ENERGIES + many).encode() + b"2026-06-03T00:00:00Z,caf\xe9,0,0\n"
    assert refused(files.write(text)) == ("bad-cell", "energies.csv: line 32, building")


def test_thai_names_are_names(files: PlainFiles) -> None:
    assert (
        files.write(ENERGIES.replace("sun", "อาคารเรียน ๑")).settle().buildings[-1].building == "อาคารเรียน ๑"
    )


@pytest.mark.parametrize(
    ("text", "word"), [("2026-10-25T02:30:00", "twice"), ("2026-03-29T02:30:00", "not at all")]
)
def test_a_local_time_that_the_clocks_make_doubtful_wants_its_offset(
    files: PlainFiles, text: str, word: str
) -> None:
    files.write(first_row(f"{text},sun,0,0"), rules(zone='"Europe/Madrid"'))
    with pytest.raises(BadInput, match=word) as caught:
        files.settle()
    assert "line 2, interval_start" in caught.value.where


# --- rows that contradict one another -----------------------------------------------------------------


@pytest.mark.parametrize("again", [NINE, "2026-06-01T02:00:00Z", "2026-06-01 09:00"])
def test_a_row_told_twice_is_refused_however_its_instant_is_written(files: PlainFiles, again: str) -> None:
    files.write(ENERGIES + f"{again},a,1,0\n")
    assert refused(files) == ("duplicate-row", "energies.csv: line 8, building")


def test_one_interval_has_one_price(files: PlainFiles) -> None:
    energies = table(
        "interval_start,building,import_wh,export_wh,spot",
        [(NINE, "a", 1, 0, 4_000_000), (NINE, "b", 1, 0, 4_000_001)],
    )
    files.write(energies, rules(retail_micro_per_kwh='"spot"'))
    assert refused(files) == ("mixed-prices", "energies.csv: line 3")


@pytest.mark.parametrize("price", ["-1", "4.1839", "nan", "", "1e6", "10000000000000"])
def test_a_price_in_a_column_is_a_whole_number_from_0_up(files: PlainFiles, price: str) -> None:
    energies = table("interval_start,building,import_wh,export_wh,spot", [(NINE, "a", 1, 0, price)])
    files.write(energies, rules(feed_in_micro_per_kwh='"spot"'))
    assert refused(files) == ("bad-cell", "energies.csv: line 2, spot")


def test_a_column_of_prices_that_is_not_there_is_told(files: PlainFiles) -> None:
    assert refused(files.write(rules=rules(feed_in_micro_per_kwh='"spot"'))) == (
        "no-plain-file", "energies.csv: line 1",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("start", "code"),
    [("2010-06-01T09:00:00Z", "tariff-hole"), ("2026-12-01T09:00:00Z", "tariff-hole"),
     ("2031-06-01T09:00:00Z", "calendar-hole")],
)  # fmt: skip
def test_a_hole_in_the_tariff_or_its_calendar_is_told_with_the_line(
    files: PlainFiles, start: str, code: str
) -> None:
    files.write(first_row(f"{start},sun,0,0"), rules(tariff='"th-mea-4.2-69kv"', **TARIFF))
    assert refused(files) == (code, "energies.csv: line 2, interval_start")


def test_a_tariff_in_blocks_has_no_price_for_an_interval(files: PlainFiles) -> None:
    files.write(rules=rules(tariff='"th-mea-2.1-below-12kv"', **TARIFF))
    assert refused(files)[0] == "no-single-price"


def test_a_tariff_that_is_silent_about_surplus_is_not_taken_for_one_that_gives_nothing(
    files: PlainFiles,
) -> None:
    files.write(ENERGIES.replace("2026", "2025"), rules(tariff='"es-som-2.0td"', currency='"EUR"', **TARIFF))
    assert refused(files)[0] == "tariff-hole"


# --- orders -------------------------------------------------------------------------------------------

ORDER_ROWS = {
    f"{NINE},nobody,buy,,1,": ("unknown-building", "building"),
    "2026-06-01T10:00:00+07:00,a,buy,,1,": ("unknown-building", "interval_start"),
    "2026-05-01T10:00:00+07:00,a,buy,,1,": ("unknown-building", "interval_start"),
    "2026-06-01T09:05:00+07:00,a,buy,,1,": ("off-grid", "interval_start"),
    f"{NINE},a,bid,,1,": ("bad-cell", "side"),
    f"{NINE},a,Buy,,1,": ("bad-cell", "side"),
    f"{NINE},a,buy,-1,1,": ("negative-energy", "energy_wh"),
    f"{NINE},a,buy,all,1,": ("bad-cell", "energy_wh"),
    f"{NINE},a,buy,,-1,": ("bad-cell", "limit_micro_per_kwh"),
    f"{NINE},a,buy,,,": ("bad-cell", "limit_micro_per_kwh"),
    f"{NINE},a,buy,,3.5,": ("bad-cell", "limit_micro_per_kwh"),
    f"{NINE},a,buy,,1,nroth": ("unknown-feeder", "zone"),
}


@pytest.mark.parametrize("row", ORDER_ROWS)
def test_a_wrong_order_is_told_with_its_line_and_column(files: PlainFiles, row: str) -> None:
    code, column = ORDER_ROWS[row]
    sun = '[buildings.sun]\nfeeder = "south"\n'
    files.write(rules=rules(more=sun + WHEELING), orders=f"{ORDERS}{NINE},a,buy,,1,south\n{row}\n")
    assert refused(files) == (code, f"orders.csv: line 3, {column}")


def test_a_zone_means_nothing_where_no_way_has_a_price(files: PlainFiles) -> None:
    assert files.write(orders=f"{ORDERS}{NINE},a,buy,,3000000,anywhere\n").settle().trades


def test_a_file_of_orders_may_hold_none(files: PlainFiles) -> None:
    assert files.write(orders=ORDERS).settle().trades == 4


def test_a_building_without_a_feeder_is_told_where_its_energy_stands(files: PlainFiles) -> None:
    files.write(rules=rules(more=WHEELING))
    assert refused(files) == ("unknown-building", "energies.csv: line 2, building")


# --- rules --------------------------------------------------------------------------------------------


def keyed(keys: str, kind: str = "static") -> str:
    return rules("sharing_key", f'[parameters]\nkind = "{kind}"\nkeys = {{ {keys} }}')


def parameters(text: str) -> str:
    return rules(more=f"[parameters]\n{text}")


WRONG_RULES: dict[str, tuple[str | bytes, str, str]] = {
    # what: the file, the code, the place
    "no TOML": ("mechanism = ", "rules-invalid", ""),
    "no UTF-8": (b"\xff\xfe", "rules-invalid", ""),
    "a key twice": (RULES + 'mechanism = "bill_sharing"', "rules-invalid", ""),
    "tables without end": ("a = " + "[" * 10_000, "rules-invalid", ""),
    "a number without end": (rules(operator_fee_micro_per_kwh="9" * 5_000), "rules-invalid", ""),
    "an exponent beyond all": (parameters("split = 1e99999999999999999999"), "rules-invalid", ""),
    "nothing": ("", "rules-invalid", ""),
    "a mechanism misspelt": (rules("mid_market_rates"), "rules-invalid", "mechanism"),
    "a key misspelt": (RULES + "operator_fee = 1", "rules-invalid", ""),
    "minutes that are none": (rules(interval_minutes=7), "rules-invalid", "interval_minutes"),
    "minutes as text": (rules(interval_minutes='"15"'), "rules-invalid", "interval_minutes"),
    "a currency": (rules(currency='"baht"'), "rules-invalid", "currency"),
    "a negative price": (rules(retail_micro_per_kwh=-1), "rules-invalid", "retail_micro_per_kwh"),
    "a price in baht": (rules(feed_in_micro_per_kwh=2.2), "rules-invalid", "feed_in_micro_per_kwh"),
    "a price beyond all": (rules(retail_micro_per_kwh=10**13), "rules-invalid", "retail_micro_per_kwh"),
    "a negative fee": (rules(operator_fee_micro_per_kwh=-1), "rules-invalid", "operator_fee_micro_per_kwh"),
    "tariff and prices": (rules(tariff='"th-mea-4.2-69kv"'), "rules-invalid", ""),
    "tariff and one price": (
        rules(tariff='"th-mea-4.2-69kv"', retail_micro_per_kwh=None),
        "rules-invalid",
        "",
    ),
    "neither": (rules(**TARIFF), "rules-invalid", ""),
    "one price": (rules(feed_in_micro_per_kwh=None), "rules-invalid", ""),
    "an unknown tariff": (rules(tariff='"th-mea-4.3"', **TARIFF), "unknown-tariff", "tariff"),
    "a tariff outside of the folder": (rules(tariff='"../x"', **TARIFF), "unknown-tariff", "tariff"),
    "a tariff's file that is none": (rules(tariff='"x.toml"', **TARIFF), "unknown-tariff", "tariff"),
    "another currency than the tariff": (
        rules(tariff='"th-mea-4.2-69kv"', **{**TARIFF, "currency": '"EUR"'}),
        "rules-invalid",
        "currency",
    ),
    "a zone": (rules(zone='"Asia/Bankok"'), "unknown-zone", "zone"),
    "a zone outside of the folder": (rules(zone='"../../etc/passwd"'), "unknown-zone", "zone"),
    "compensation NaN": (parameters("compensation = nan"), "rules-invalid", "parameters.compensation"),
    "compensation above 1": (
        parameters("compensation = 1.000001"),
        "rules-invalid",
        "parameters.compensation",
    ),
    "compensation infinite": (parameters("compensation = inf"), "rules-invalid", "parameters.compensation"),
    "split below 0": (parameters("split = -0.1"), "rules-invalid", "parameters.split"),
    "split too fine": (parameters("split = 0.3333333"), "rules-invalid", "parameters.split"),
    "split hardly there": (parameters("split = 1e-999999"), "rules-invalid", "parameters.split"),
    "a price rule": (parameters('price_rule = "middle"'), "rules-invalid", "parameters.price_rule"),
    "a kind": (parameters('kind = "fixed"'), "rules-invalid", "parameters.kind"),
    "a key that is no number": (keyed("a = nan"), "rules-invalid", "parameters.keys.a"),
    "a negative key": (keyed("a = -1"), "rules-invalid", "parameters.keys.a"),
    "an infinite key": (keyed("a = inf"), "rules-invalid", "parameters.keys.a"),
    "a key beyond all": (keyed("a = 1e400000000"), "rules-invalid", "parameters.keys.a"),
    "a key too fine": (keyed("a = 1e-400000000"), "rules-invalid", "parameters.keys.a"),
    "no keys": (keyed(""), "rules-invalid", "parameters.keys"),
    "keys of nothing": (keyed("a = 0", "cascading"), "rules-invalid", "parameters.keys"),
    "a key of nobody": (keyed("a = 1, bb = 1"), "unknown-building", "parameters.keys.bb"),
    "a feeder of nobody": (
        rules(more='[buildings.aa]\nfeeder = "north"'),
        "unknown-building",
        "buildings.aa",
    ),
    "a feeder that is no name": (
        rules(more='[buildings.a]\nfeeder = ""'),
        "rules-invalid",
        "buildings[...].feeder",
    ),
    "a building without a feeder": (rules(more="[buildings.a]\n"), "rules-invalid", "buildings[...]"),
    "wheeling twice": (
        rules(more=WHEELING + WHEELING[WHEELING.index("[[") :]),
        "rules-invalid",
        "wheeling[1]",
    ),
    "wheeling for less than nothing": (
        rules(more=WHEELING.replace("= 1", "= -1")),
        "rules-invalid",
        "wheeling[0].fee_micro_per_kwh",
    ),
    "more lost than sent": (
        rules(more=WHEELING + "loss_ppm = 1_000_001"),
        "rules-invalid",
        "wheeling[0].loss_ppm",
    ),
}


@pytest.mark.parametrize("what", WRONG_RULES)
def test_wrong_rules_are_told_with_their_place(files: PlainFiles, what: str) -> None:
    text, code, place = WRONG_RULES[what]
    found, where = refused(files.write(rules=text))
    assert found == code
    line = re.fullmatch(r"rules\.toml(?:: line (\d+))?(?:(?:, |: )(.*))?", where)
    assert line is not None, where
    assert (line[2] or "") == place
    if place:
        written = files.rules.read_text().splitlines()[int(line[1]) - 1]
        assert re.search(r"\w+", place)[0] in written or place.split(".")[-1] in written


def test_a_name_in_the_rules_that_only_looks_like_one_is_told(files: PlainFiles) -> None:
    files.write(rules=rules("sharing_key", more=keyed('{sun = 1, "e\u0301cole" = 1}')))
    assert refused(files)[0] == "rules-invalid"


def test_what_was_perhaps_meant_is_told(files: PlainFiles) -> None:
    with pytest.raises(BadInput) as caught:
        files.write(rules=rules("mid_market_rates")).settle()
    assert caught.value.hint.startswith("did you mean `mid_market_rate`?")
    with pytest.raises(BadInput) as caught:
        files.write(ENERGIES.replace("export_wh", "exprt_wh")).settle()
    needed, has = caught.value.hint.split("; ")
    assert needed.endswith(": interval_start, building, import_wh or import_kwh, export_wh or export_kwh")
    assert has == "it names: interval_start, building, import_wh, exprt_wh"


def test_an_empty_file_is_told_each_column_once(files: PlainFiles) -> None:
    with pytest.raises(BadInput) as caught:
        files.write("", rules(tariff='"th-mea-4.2-69kv"', **TARIFF)).settle()
    columns = "interval_start, building, import_wh or import_kwh, export_wh or export_kwh"
    assert caught.value.hint == f"the first line has to name, parted by commas: {columns}"


@pytest.mark.parametrize(("sign", "word"), [(";", "semicolons"), ("\t", "tabs")])
def test_what_parts_the_columns_instead_of_commas_is_named(files: PlainFiles, sign: str, word: str) -> None:
    with pytest.raises(BadInput, match=f"parted by {word}") as caught:
        files.write(ENERGIES.replace(",", sign)).settle()
    assert "by commas" in caught.value.hint


@pytest.mark.parametrize("text", [keyed("a = 1, suns = 1"), rules(more='[buildings.suns]\nfeeder = "x"')])
def test_a_building_of_the_rules_without_energy_is_told_with_what_was_meant(
    files: PlainFiles, text: str
) -> None:
    with pytest.raises(BadInput, match="there is no energy of suns") as caught:
        files.write(rules=text).settle()
    assert caught.value.hint.startswith("did you mean `sun`? ")


def test_a_hint_without_a_name_that_is_near_has_no_loose_end(files: PlainFiles) -> None:
    with pytest.raises(BadInput) as caught:
        files.write(ENERGIES.replace(",sun,", ",x,"), rules(more=WHEELING)).settle()
    assert caught.value.hint == f'add to {files.rules}: [buildings."x"] with feeder = ".."'


# --- the folder ---------------------------------------------------------------------------------------


def test_a_failure_leaves_the_results_of_before_as_they_were(files: PlainFiles) -> None:
    files.write().settle()
    before = files.results()
    with pytest.raises(BadInput):
        files.write(ENERGIES + f"{NINE},a,1,0\n").settle()  # found when half of it was settled
    assert files.results() == before
    assert len(list(files.out.iterdir())) == 4, "nothing else is left behind"


def test_a_folder_that_cannot_take_the_files_is_told(files: PlainFiles) -> None:
    files.write()
    files.out.write_text("a file")
    with pytest.raises(BadInput) as caught:
        files.settle()
    assert caught.value.code == "cannot-write"
    assert files.out.read_text() == "a file"


def test_a_folder_in_the_place_of_a_file_is_left_alone_and_so_are_the_others(files: PlainFiles) -> None:
    files.write()
    (files.out / "journal.csv").mkdir(parents=True)
    with pytest.raises(BadInput) as caught:
        files.settle()
    assert (caught.value.code, caught.value.where) == ("cannot-write", str(files.out / "journal.csv"))
    assert [path.name for path in files.out.iterdir()] == ["journal.csv"]


def test_a_file_that_cannot_be_replaced_leaves_all_of_those_of_before(
    files: PlainFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write().settle()
    before = files.results()
    replace = os.replace

    def refused_for_shares(source: Path, target: Path) -> None:
        if target == files.out / "shares.csv" and source.parent.name != "before":
            raise PermissionError(13, "Permission denied")
        replace(source, target)

    monkeypatch.setattr("os.replace", refused_for_shares)
    with pytest.raises(BadInput) as caught:
        files.write(rules=rules("bill_sharing")).settle()
    assert caught.value.code == "cannot-write"
    assert files.results() == before
    assert len(list(files.out.iterdir())) == 4


def test_a_name_of_a_folder_that_is_too_long_is_told(files: PlainFiles) -> None:
    files.write()
    files.out = files.out / ("x" * 300)
    with pytest.raises(BadInput) as caught:
        files.settle()
    assert caught.value.code == "cannot-write"


def test_folders_that_were_made_go_again_with_a_failure(files: PlainFiles) -> None:
    files.write(ENERGIES + f"{NINE},a,1,0\n")
    files.out = files.out / "deep" / "deeper"
    with pytest.raises(BadInput):
        files.settle()
    assert not files.out.parents[1].exists()
