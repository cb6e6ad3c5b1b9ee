"""A what-if on plain files: golden files done by hand, every example, and properties of all results."""

import csv
import os
import random
import re
import subprocess
import sys
from collections import defaultdict
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import settlement.plain
from settlement.mechanisms import MECHANISMS
from settlement.plain.what_if import settle_files
from tests.support.plain_files import ENERGIES, PlainFiles, rules, table

EXAMPLES = Path(settlement.plain.__file__).parent / "examples"


@pytest.fixture
def files(tmp_path: Path) -> PlainFiles:
    return PlainFiles(tmp_path)


def test_what_a_killed_what_if_left_behind_is_cleared_away_and_that_of_a_running_one_is_not(
    files: PlainFiles,
) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left, at_work = (files.out / f".what-if-{pid}-x" for pid in (gone.pid, os.getpid()))
    for folder in (left, at_work):
        folder.mkdir(parents=True)
    files.write().settle()
    assert (left.exists(), at_work.exists()) == (False, True)


# --- by hand ------------------------------------------------------------------------------------------


def test_two_intervals_at_the_mid_market_rate_as_done_by_hand(files: PlainFiles) -> None:
    result = files.write().settle()
    assert (result.intervals, result.trades, result.currency, result.notes) == (2, 4, "THB", [])
    nine, quarter = "2026-06-01T09:00:00+07:00", "2026-06-01T09:15:00+07:00"
    assert (files.out / "trades.csv").read_text() == (
        "interval_start,seller,buyer,energy_milliwh,price_micro_per_kwh,amount_micro\n"
        f"{nine},sun,b,1000000,3000000,3000000\n"
        f"{nine},sun,a,2000000,3000000,6000000\n"
        f"{quarter},sun,b,500000,3000000,1500000\n"  # 2 kWh for a need of 1 and 3
        f"{quarter},sun,a,1500000,3000000,4500000\n"
    )
    assert (files.out / "journal.csv").read_text() == (
        "interval_start,kind,account,energy_milliwh,amount_micro\n"
        f"{nine},trade,building/sun,-1000000,3000000\n"
        f"{nine},trade,building/b,1000000,-3000000\n"
        f"{nine},trade,building/sun,-2000000,6000000\n"
        f"{nine},trade,building/a,2000000,-6000000\n"
        f"{nine},grid-export,building/sun,-3000000,6000000\n"
        f"{nine},grid-export,grid,3000000,-6000000\n"
        f"{quarter},trade,building/sun,-500000,1500000\n"
        f"{quarter},trade,building/b,500000,-1500000\n"
        f"{quarter},trade,building/sun,-1500000,4500000\n"
        f"{quarter},trade,building/a,1500000,-4500000\n"
        f"{quarter},grid-import,grid,-1500000,6000000\n"
        f"{quarter},grid-import,building/a,1500000,-6000000\n"
        f"{quarter},grid-import,grid,-500000,2000000\n"
        f"{quarter},grid-import,building/b,500000,-2000000\n"
    )
    assert (files.out / "shares.csv").read_text() == (
        "interval_start,building,share_milliwh,used_milliwh,residual_milliwh\n"
    )
    a, b, sun = files.rows("buildings.csv")
    # a: 5 kWh for 6 + 4.5 + 6 instead of 20; b: 2 kWh for 3 + 1.5 + 2 instead of 8; sun: 15 + 6 instead of 16
    assert [a[key] for key in ("cost_micro", "cost_without_market_micro", "saving_micro")] == [
        "16500000", "20000000", "3500000",
    ]  # fmt: skip
    assert [b[key] for key in ("cost_micro", "saving_micro")] == ["6500000", "1500000"]
    assert [sun[key] for key in ("cost_micro", "saving_micro")] == ["-21000000", "5000000"]
    assert [a[key] for key in ("self_sufficiency_ppm", "local_coverage_ppm")] == ["700000", ""]
    assert [sun[key] for key in ("self_sufficiency_ppm", "local_coverage_ppm")] == ["", "625000"]
    assert {row["fairness_ppm"] for row in (a, b, sun)} == {"1000000"}, "everybody saves 1 a traded kWh"


def test_shares_show_the_entitlement_before_and_after_the_cap_of_the_need(files: PlainFiles) -> None:
    energies = table(
        "interval_start,building,import_wh,export_wh",
        [("2026-06-01T09:00Z", *row) for row in (("pv", 0, 10), ("a", 2, 0), ("b", 9, 0), ("c", 3, 0))],
    )
    keys = 'kind = "static"\nkeys = { a = 0.5, b = 0.3, c = 0.2 }'
    files.write(energies, rules("sharing_key", f"[parameters]\n{keys}")).settle()
    assert (files.out / "shares.csv").read_text() == (
        "interval_start,building,share_milliwh,used_milliwh,residual_milliwh\n"
        "2026-06-01T09:00Z,a,5000,2000,3000\n"
        "2026-06-01T09:00Z,b,3000,3000,0\n"
        "2026-06-01T09:00Z,c,2000,2000,0\n"
    )


def test_orders_set_the_price_between_the_grids_two(files: PlainFiles) -> None:
    orders = table(
        "interval_start,building,side,energy_wh,limit_micro_per_kwh",
        [
            ("2026-06-01T09:00:00+07:00", "sun", "sell", 1_500.5, 2_600_000),
            ("2026-06-01T09:00:00+07:00", "a", "buy", "", 3_600_000),
            ("2026-06-01T09:00:00+07:00", "b", "buy", "", 2_500_000),
        ],
    )
    files.write(orders=orders, rules=rules("uniform_price")).settle()
    first = [row for row in files.rows("trades.csv") if "09:00:00" in row["interval_start"]]
    # a takes all that is offered and stays hungry, so its limit is the price.
    assert [(row["buyer"], row["energy_milliwh"], row["price_micro_per_kwh"]) for row in first] == [
        ("a", "1500500", "3600000")
    ]


def test_wheeling_its_loss_and_the_operators_fee_have_accounts_of_their_own(files: PlainFiles) -> None:
    energies = table(
        "interval_start,building,import_wh,export_wh",
        [("2026-06-01T09:00Z", "far", 0, 1000), ("2026-06-01T09:00Z", "b", 1000, 0)],
    )
    more = """
[buildings.far]
feeder = "north"
[buildings.b]
feeder = "south"
[[wheeling]]
from = "north"
to = "south"
fee_micro_per_kwh = 100_000
loss_ppm = 50_000
"""
    files.write(energies, rules(more=more, operator_fee_micro_per_kwh=25_000)).settle()
    posted = [tuple(row.values())[1:] for row in files.rows("journal.csv")]
    assert posted == [
        ("trade", "building/far", "-1000000", "3000000"),
        ("trade", "building/b", "1000000", "-3000000"),
        ("wheeling", "wheeling", "0", "100000"),
        ("wheeling", "building/b", "0", "-100000"),
        ("wheeling-loss", "grid", "-50000", "200000"),
        ("wheeling-loss", "losses", "50000", "0"),
        ("wheeling-loss", "building/b", "0", "-200000"),
        ("operator-fee", "operator", "0", "25000"),
        ("operator-fee", "building/b", "0", "-25000"),
    ]
    assert files.rows("buildings.csv")[0]["fees_micro"] == "325000"


def test_the_zone_of_an_order_is_the_feeder_where_it_counts(files: PlainFiles) -> None:
    orders = table(
        "interval_start,building,side,energy_wh,limit_micro_per_kwh,zone",
        [
            ("2026-06-01T09:00Z", "s", "sell", "", 2_000_000, "North 1"),
            ("2026-06-01T09:00Z", "b", "buy", "", 4_000_000, "south"),
        ],
    )
    energies = table(
        "interval_start,building,import_wh,export_wh",
        [("2026-06-01T09:00Z", "s", 0, 1000), ("2026-06-01T09:00Z", "b", 1000, 0)],
    )
    wheeling = '[[wheeling]]\nfrom = "North 1"\nto = "south"\nfee_micro_per_kwh = 1_900_000'
    files.write(energies, rules("uniform_price", wheeling), orders).settle()
    (trade,) = files.rows("trades.csv")
    assert trade["price_micro_per_kwh"] == "2050000", "between 2 and 4 less the way's 1.9"


# --- prices -------------------------------------------------------------------------------------------


def test_prices_come_from_columns_that_the_rules_name(files: PlainFiles) -> None:
    energies = table(
        "spot,building,interval_start,export_wh,import_wh,sun_price",
        [
            (3_000_000, "s", "2026-06-01T00:00Z", 1000, 0, 1_000_000),
            (3_000_000, "b", "2026-06-01T00:00Z", 0, 1000, 1_000_000),
            (5_000_000, "s", "2026-06-01T00:15Z", 1000, 0, 3_000_000),
            (5_000_000, "b", "2026-06-01T00:15Z", 0, 1000, 3_000_000),
        ],
    )
    files.write(energies, rules(retail_micro_per_kwh='"spot"', feed_in_micro_per_kwh='"sun_price"')).settle()
    assert [row["price_micro_per_kwh"] for row in files.rows("trades.csv")] == ["2000000", "4000000"]


def test_prices_come_from_the_tariff_of_the_interval(files: PlainFiles) -> None:
    energies = table(
        "interval_start,building,import_wh,export_wh",
        [
            (start, building, imported, 1000 - imported)
            for start in ("2026-06-01T08:45:00", "2026-06-01T09:00:00", "2026-06-03T09:00:00")
            for building, imported in (("s", 0), ("b", 1000))
        ],
    )
    tariff = rules(retail_micro_per_kwh=None, feed_in_micro_per_kwh=None, tariff='"th-mea-4.2-12-24kv"')
    result = files.write(energies, tariff).settle()
    # off-peak, on-peak, and a holiday: (energy + Ft 0.1623 + 2.20) / 2
    prices = [row["price_micro_per_kwh"] for row in files.rows("trades.csv")]
    assert prices == ["2483000", "3273100", "2483000"]
    assert any("not yet held against" in note for note in result.notes)


def test_a_tariff_may_be_a_file_beside_the_rules(files: PlainFiles) -> None:
    (files.rules.parent / "mine.toml").write_text(
        'name = "mine"\ncountry = "TH"\ncurrency = "THB"\nzone = "Asia/Bangkok"\n'
        'source = "me"\nconfirmed = true\n'
        "[[versions]]\nfrom = 2020-01-01\nfeed_in_per_kwh = 1\n"
        '[[versions.periods]]\nname = "all day"\nenergy_per_kwh = 5\n'
    )
    tariff = rules(retail_micro_per_kwh=None, feed_in_micro_per_kwh=None, tariff='"mine.toml"')
    assert files.write(rules=tariff).settle().notes == []
    assert {row["price_micro_per_kwh"] for row in files.rows("trades.csv")} == {"3000000"}


# --- how files may be written -------------------------------------------------------------------------

VARIANTS = {
    "a byte order mark": "\ufeff" + ENERGIES,
    "lines that end as on Windows": ENERGIES.replace("\n", "\r\n"),
    "lines that end as on old Macs": ENERGIES.replace("\n", "\r"),
    "quoted cells": re.sub(r"[^,\n]+", lambda cell: f'"{cell[0]}"', ENERGIES),
    "spaces behind commas": ENERGIES.replace(",", ", "),
    "no end of the last line": ENERGIES.rstrip("\n"),
    "empty lines": ENERGIES.replace("\n", "\n\n"),
    "columns nobody asked for": re.sub(r"$(?!\Z)", ",x", ENERGIES, flags=re.MULTILINE),
    "a comma at the end of lines": re.sub(r"$(?!\Z)", ",", ENERGIES, flags=re.MULTILINE),
    "kilowatt-hours": ENERGIES.replace("_wh", "_kwh").replace("000,", ",").replace("000\n", "\n"),
    "kilowatt-hours of one side": ENERGIES.replace("export_wh", "export_kwh").replace("000\n", "\n"),
    "decimals and exponents": ENERGIES.replace("6000", "6.000e3").replace("2000", "2000.000"),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_same_table_gives_the_same_bytes_however_it_is_written(files: PlainFiles, variant: str) -> None:
    files.write().settle()
    expected = files.results()
    files.write(energies=VARIANTS[variant]).settle()
    assert files.results() == expected


def test_an_interval_without_an_offset_is_local_to_the_rules_zone(files: PlainFiles) -> None:
    naive = ENERGIES.replace("+07:00", "")
    for zone in ("Asia/Bangkok", "Europe/Madrid"):
        files.write(naive, rules(zone=f'"{zone}"')).settle()
        assert files.rows("trades.csv")[0]["interval_start"] == "2026-06-01T09:00:00", "shown as written"
    mixed = ENERGIES.replace("09:00:00+07:00,a", "02:00:00Z,a").replace("09:00:00+07:00,b", "09:00:00,b")
    assert files.write(mixed).settle().intervals == 2, "three ways to write one instant"


def test_hours_that_the_clocks_add_and_drop_are_settled(files: PlainFiles) -> None:
    starts = ["2026-10-25T02:45:00+02:00", "2026-10-25T02:00:00+01:00", "2026-03-29T03:00:00+02:00"]
    rows = [
        (start, building, *energy) for start in starts for building, *energy in (("s", 0, 1), ("b", 1, 0))
    ]
    energies = table("interval_start,building,import_wh,export_wh", rows)
    assert files.write(energies, rules(zone='"Europe/Madrid"')).settle().trades == 3


# --- every result -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("with_orders", [True, False])
def test_every_example_runs_and_its_files_agree(files: PlainFiles, mechanism: str, with_orders: bool) -> None:
    orders = (EXAMPLES / "orders.csv").read_text() if with_orders else None
    files.write((EXAMPLES / "energies.csv").read_text(), (EXAMPLES / f"{mechanism}.toml").read_text(), orders)
    result = files.settle()
    assert (result.mechanism, result.intervals) == (mechanism, 12)
    check(files, (EXAMPLES / "energies.csv").read_text())
    assert result.community.saving_micro == sum(each.saving_micro for each in result.buildings)
    assert bool(files.rows("shares.csv")) == (mechanism == "sharing_key")


def check(files: PlainFiles, energies: str) -> None:
    """The journal sums to zero in every interval, and all files tell the same."""
    journal = files.rows("journal.csv")
    for _, group in groupby(journal, key=lambda row: row["interval_start"]):
        rows = list(group)
        assert sum(int(row["energy_milliwh"]) for row in rows) == 0
        assert sum(int(row["amount_micro"]) for row in rows) == 0
    posted: dict[str, int] = defaultdict(int)
    energy: dict[str, int] = defaultdict(int)
    for row in journal:
        posted[row["account"]] += int(row["amount_micro"])
        energy[row["account"]] += int(row["energy_milliwh"])
    net: dict[str, Decimal] = defaultdict(Decimal)
    for line in energies.splitlines()[1:]:
        _, building, imported, exported = line.split(",")[:4]
        net[building] += (Decimal(imported) - Decimal(exported)) * 1000
    for row in files.rows("buildings.csv"):
        account = f"building/{row['building']}"
        assert posted[account] == -int(row["cost_micro"]), "what a building pays is what its account shows"
        assert energy[account] == net[row["building"]], "and the energy is what its meter showed"
        assert int(row["import_milliwh"]) == int(row["bought_milliwh"]) + int(row["grid_import_milliwh"])
        assert int(row["export_milliwh"]) == int(row["sold_milliwh"]) + int(row["grid_export_milliwh"])
        assert int(row["saving_micro"]) == int(row["cost_without_market_micro"]) - int(row["cost_micro"])
    traded = [tuple(row.values())[:5] for row in files.rows("trades.csv")]
    amounts = [row["amount_micro"] for row in files.rows("trades.csv")]
    in_journal = [row for row in journal if row["kind"] == "trade"]
    assert len(in_journal) == 2 * len(traded)
    assert [row["amount_micro"] for row in in_journal[::2]] == amounts
    for row in files.rows("shares.csv"):
        share, used, residual = (int(row[key]) for key in list(row)[2:])
        assert share == used + residual


LIMIT = st.one_of(st.integers(0, 6_000_000), st.sampled_from([2_500_000, 3_000_000]))
ENERGY = st.one_of(st.just(0), st.integers(1, 10_000_000))


@st.composite
def communities(draw: st.DrawFn) -> tuple[str, str]:
    """Energies and orders of some buildings and intervals, in milliwatt-hours."""
    energies, orders = [], []
    for quarter in range(draw(st.integers(1, 3))):
        start = f"2026-06-01T09:{15 * quarter:02d}:00Z"
        for building in draw(st.lists(st.sampled_from(sorted(FEEDERS)), min_size=1, unique=True)):
            energies.append((start, building, *(Decimal(draw(ENERGY)) / 1000 for _ in range(2))))
            for side in draw(st.lists(st.sampled_from(["buy", "sell"]), max_size=3)):
                energy = draw(st.one_of(st.just(""), ENERGY.map(lambda milli: str(Decimal(milli) / 1000))))
                orders.append((start, building, side, energy, draw(LIMIT)))
    return (
        table("interval_start,building,import_wh,export_wh", energies),
        table("interval_start,building,side,energy_wh,limit_micro_per_kwh", orders) if orders else "",
    )


PARAMETERS = """
[parameters]
kind = "{kind}"
keys = {{ a = 0.123456789, b = 3 }}
compensation = 0.25
split = 0.75
"""
FEEDERS = {"a": "north", "b": "north", "c": "south", "d": "south", "e": "east"}
WHEELING = """
[[wheeling]]
from = "north"
to = "south"
fee_micro_per_kwh = 123_457
loss_ppm = 12_345
[[wheeling]]
from = "south"
to = "east"
loss_ppm = 999
"""


def feeders(energies: str) -> str:
    """The tables of the buildings that have energies."""
    settled = {line.split(",")[1] for line in energies.splitlines()[1:]}
    return "".join(f'[buildings.{each}]\nfeeder = "{FEEDERS[each]}"\n' for each in sorted(settled))


@given(communities(), st.sampled_from(sorted(MECHANISMS)), st.randoms(use_true_random=False))
@settings(max_examples=120, deadline=None)
def test_any_order_of_rows_and_columns_gives_the_same_bytes(
    community: tuple[str, str], mechanism: str, shuffle: random.Random
) -> None:
    energies, orders = community
    with TemporaryDirectory() as name:
        files = PlainFiles(Path(name))
        market = rules(mechanism, feeders(energies) + WHEELING)
        files.write(energies, market, orders or None).settle()
        expected = files.results()
        files.write(_shuffled(energies, shuffle), market, _shuffled(orders, shuffle) or None).settle()
        assert files.results() == expected


def test_orders_of_one_limit_give_the_same_bytes_in_any_order(files: PlainFiles) -> None:
    start = "2026-06-01T09:00Z"
    energies = table(
        "interval_start,building,import_wh,export_wh",
        [(start, "s", 0, 6), (start, "a", 10, 0), (start, "b", 3, 0)],
    )
    rows = [(start, "a", "buy", energy, 3_000_000) for energy in (4, 9)]
    header = "interval_start,building,side,energy_wh,limit_micro_per_kwh"
    files.write(energies, rules("pay_as_bid"), table(header, rows)).settle()
    expected = files.results()
    files.write(energies, rules("pay_as_bid"), table(header, rows[::-1])).settle()
    assert files.results() == expected


def _shuffled(text: str, shuffle: random.Random) -> str:
    if not text:
        return text
    header, *rows = [line.split(",") for line in text.splitlines()]
    order = list(range(len(header)))
    shuffle.shuffle(order)
    shuffle.shuffle(rows)
    return "".join(",".join(row[place] for place in order) + "\n" for row in [header, *rows])


@given(
    communities(), st.sampled_from(sorted(MECHANISMS)), st.sampled_from(["proportional", "equal", "static"]),
    st.sampled_from([0, 33_333]),
)  # fmt: skip
@settings(max_examples=120, deadline=None)
def test_whatever_is_settled_nothing_is_lost_or_won(
    community: tuple[str, str], mechanism: str, kind: str, fee: int
) -> None:
    energies, orders = community
    more = PARAMETERS.format(kind=kind) + feeders(energies) + WHEELING
    if not all(f",{building}," in energies for building in "ab"):
        more = more.replace("keys = { a = 0.123456789, b = 3 }", "").replace('"static"', '"equal"')
    with TemporaryDirectory() as name:
        files = PlainFiles(Path(name))
        files.write(energies, rules(mechanism, more, operator_fee_micro_per_kwh=fee), orders or None)
        files.settle()
        check(files, energies)
        for row in files.rows("trades.csv"):
            assert int(row["energy_milliwh"]) > 0
            assert mechanism == "bill_sharing" or 2_000_000 <= int(row["price_micro_per_kwh"]) <= 4_000_000


# --- notes --------------------------------------------------------------------------------------------


def test_notes_tell_what_is_no_error_and_yet_perhaps_not_as_it_seems(files: PlainFiles) -> None:
    orders = table(
        "interval_start,building,side,energy_wh,limit_micro_per_kwh",
        [("2026-06-01T09:00:00+07:00", "a", "buy", "", 3_000_000)],
    )
    energies = ENERGIES.replace("09:15", "10:00").rpartition("2026")[0]
    result = files.write(energies, rules("bill_sharing"), orders).settle()
    assert result.notes == [
        "bill_sharing takes no orders: everybody takes part with all that was metered",
        "intervals begin 60 minutes apart or more, the rules say that each has 15",
        "1 row of 6 missing: a building without a row took and gave nothing in that interval",
        "neighbours give each other for nothing under bill_sharing: "
        "1 building pays more than without a market",
    ]


def test_bill_sharing_is_noted_only_where_somebody_loses_by_it(files: PlainFiles) -> None:
    result = files.write(rules=rules("bill_sharing", feed_in_micro_per_kwh=0)).settle()
    assert result.notes == []
    assert min(each.saving_micro for each in result.buildings) == 0


NOT_READ = {
    # the mechanism and its parameters: what the notes say
    ("mid_market_rate", "compensation = 0.5\nsplit = 0.1"): [
        "parameters.compensation does not count: mid_market_rate does not look at it",
        "parameters.split does not count: mid_market_rate does not look at it",
    ],
    ("supply_demand_ratio", "compensation = 0.5"): [],
    ("pay_as_bid", 'split = 0.1\nprice_rule = "seller"'): [
        "parameters.price_rule does not count: pay_as_bid does not look at it"
    ],
    ("uniform_price", 'price_rule = "seller"\nkind = "equal"'): [
        "parameters.kind does not count: uniform_price does not look at it"
    ],
    ("sharing_key", 'price_rule = "seller"\nkind = "static"\nkeys = { a = 0.4, b = 0.6 }'): [],
    ("sharing_key", "keys = { a = 0.4, b = 0.6 }"): [
        "parameters.keys does not count: a proportional key follows from each interval's demand",
    ],
    ("sharing_key", 'kind = "cascading"\nkeys = { a = 0.5, b = 0.60 }'): [
        "the keys sum to 1.1: each counts as its part of that"
    ],
    ("sharing_key", 'kind = "static"\nkeys = { a = 1000, b = 1_000 }'): [
        "the keys sum to 2000: each counts as its part of that"
    ],
}


@pytest.mark.parametrize(("mechanism", "parameters"), NOT_READ)
def test_a_parameter_that_does_not_count_is_noted(files: PlainFiles, mechanism: str, parameters: str) -> None:
    result = files.write(rules=rules(mechanism, f"[parameters]\n{parameters}")).settle()
    assert result.notes == NOT_READ[mechanism, parameters]


TWO_WAYS = {
    "compensation": ("compensation = 0", "compensation = 0.5"),
    "split": ("split = 0.5", "split = 0.1"),
    "price_rule": ('price_rule = "buyer"', 'price_rule = "seller"'),
    "kind": ('kind = "proportional"', 'kind = "equal"'),
    "keys": ('kind = "static"\nkeys = { a = 1 }', 'kind = "static"\nkeys = { b = 1 }'),
}


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("name", TWO_WAYS)
def test_a_mechanism_decides_by_the_parameters_that_it_names_and_by_no_others(
    files: PlainFiles, mechanism: str, name: str
) -> None:
    balanced = ENERGIES + ENERGIES.partition("\n")[2].replace("T09", "T10").replace("6000", "3000")
    decided = set()
    for way in TWO_WAYS[name]:
        files.write(balanced, rules(mechanism, f"[parameters]\n{way}")).settle()
        decided.add((files.out / "trades.csv").read_text())
    assert (len(decided) == 2) == (name in MECHANISMS[mechanism].parameters)


IDLE = {
    # what the rules say, the orders: what trade there would be without
    "the operator's fee": (rules(operator_fee_micro_per_kwh=2_500_000), ""),
    "the orders": (rules(), "sun,sell,,4500000"),
    "orders that are for nothing": (rules(), "sun,sell,0,0"),
    "wheeling": (
        rules(
            "uniform_price",
            '[buildings.sun]\nfeeder = "x"\n[buildings.a]\nfeeder = "y"\n[buildings.b]\nfeeder = "y"\n'
            '[[wheeling]]\nfrom = "x"\nto = "y"\nfee_micro_per_kwh = 2_500_000\n',
        ),
        "",
    ),
    "fee, orders and wheeling together": (rules(operator_fee_micro_per_kwh=2_500_000), "sun,sell,,4500000"),
    "a key": (rules("sharing_key", '[parameters]\nkind = "static"\nkeys = { sun = 1 }'), ""),
}


@pytest.mark.parametrize("what", IDLE)
def test_where_nobody_trades_a_note_tells_what_keeps_them_from_it(files: PlainFiles, what: str) -> None:
    market, order = IDLE[what]
    header = "interval_start,building,side,energy_wh,limit_micro_per_kwh"
    starts = ("2026-06-01T09:00:00+07:00", "2026-06-01T09:15:00+07:00")
    orders = table(header, [(start, order) for start in starts]) if order else None
    result = files.write(rules=market, orders=orders).settle()
    assert result.trades == 0
    why = {
        "a key": "the keys leave nothing to buildings with demand",
        "orders that are for nothing": "there would be trades without the orders",
    }.get(what, f"there would be trades without {what}")
    note = f"nothing was traded where there was both surplus and demand, first at {starts[0]}: {why}"
    assert result.notes == [note]


def test_where_limits_keep_most_intervals_from_trading_a_note_says_so(files: PlainFiles) -> None:
    header = "interval_start,building,side,energy_wh,limit_micro_per_kwh"
    orders = table(header, [("2026-06-01T09:15:00+07:00", "sun,sell,,4500000")])
    result = files.write(orders=orders).settle()
    assert result.trades
    assert result.notes == [
        "nothing was traded in 1 of 2 intervals where there was both surplus and demand, first at"
        " 2026-06-01T09:15:00+07:00: there would be trades without the orders"
    ]


def test_nobody_trades_where_nobody_has_anything_and_no_note_asks_why(files: PlainFiles) -> None:
    energies = ENERGIES.replace("6000", "0").replace("2000\n", "0\n")
    assert files.write(energies).settle().notes == []


def test_hours_of_a_tariff_are_those_of_its_own_zone_and_the_rules_zone_is_of_instants(
    files: PlainFiles,
) -> None:
    def by_tariff(zone: str | None = None) -> str:
        name = '"th-mea-4.2-69kv"'
        return rules(tariff=name, zone=zone, retail_micro_per_kwh=None, feed_in_micro_per_kwh=None)

    files.write(rules=by_tariff()).settle()
    expected = [row["price_micro_per_kwh"] for row in files.rows("trades.csv")]
    in_utc = ENERGIES.replace("T09", "T02").replace("+07:00", "")
    notes = files.write(in_utc, by_tariff(zone='"UTC"')).settle().notes
    assert [row["price_micro_per_kwh"] for row in files.rows("trades.csv")] == expected
    told = "the zone UTC is of instants without an offset: the tariff's hours are those of Asia/Bangkok"
    assert told in notes
    assert told not in files.write(rules=by_tariff(zone='"Asia/Bangkok"')).settle().notes


@pytest.mark.parametrize(
    "mechanism", ["mid_market_rate", "supply_demand_ratio", "uniform_price", "pay_as_bid"]
)
def test_where_the_grid_gives_more_than_it_asks_nobody_trades_and_a_note_tells_why(
    files: PlainFiles, mechanism: str
) -> None:
    result = files.write(rules=rules(mechanism, feed_in_micro_per_kwh=4_100_000)).settle()
    assert (result.trades, result.community.saving_micro) == (0, 0)
    (note,) = result.notes
    assert note.startswith("in 2 intervals the grid gives more for surplus than it asks for energy")


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_equal_prices_of_the_grid_leave_nothing_to_save(files: PlainFiles, mechanism: str) -> None:
    result = files.write(rules=rules(mechanism, feed_in_micro_per_kwh=4_000_000)).settle()
    assert result.community.saving_micro == 0
    assert result.community.fairness_ppm is None


def test_a_note_tells_of_wheeling_for_a_feeder_without_buildings(files: PlainFiles) -> None:
    feeders = "\n".join(f'[buildings.{each}]\nfeeder = "north"' for each in ("sun", "a", "b"))
    wheeling = '[[wheeling]]\nfrom = "north"\nto = "suoth"\nfee_micro_per_kwh = 1'
    (note,) = files.write(rules=rules(more=feeders + "\n" + wheeling)).settle().notes
    assert note == "wheeling[0] names suoth, and no building is on it"


def test_progress_tells_what_is_read_and_settled(files: PlainFiles) -> None:
    files.write()
    told: list[tuple[str, int]] = []
    settle_files(files.energies, files.rules, None, files.out, lambda *each: told.append(each))
    assert told == [("energies read", 7), ("intervals settled", 1), ("intervals settled", 2)]


@pytest.mark.parametrize(
    "written",
    ["2026-06-01T09:00:00,000+07:00", "2026-06-01,09:00:00+07:00", "2026-06-01T09:00:00+07:00\n"],
)
def test_an_instant_comes_out_as_it_went_in_however_it_is_written(files: PlainFiles, written: str) -> None:
    quoted = f'"{written}"'
    header = ENERGIES.splitlines()[0]
    files.write(table(header, [(quoted, "sun", 0, 1000), (quoted, "a", 1000, 0)])).settle()
    for name in ("trades.csv", "journal.csv"):
        assert {row["interval_start"] for row in files.rows(name)} == {written.strip()}
        assert None not in files.rows(name)[0], "no cell is one too many"


def test_a_building_pays_no_fee_for_what_it_gave_itself(files: PlainFiles) -> None:
    header = ENERGIES.splitlines()[0]
    files.write(
        table(header, [("2026-06-01T09:00:00+07:00", "a", 1000, 1000)]),
        rules(operator_fee_micro_per_kwh=100_000),
    ).settle()
    (row,) = files.rows("buildings.csv")
    assert (row["bought_milliwh"], row["fees_micro"], row["cost_micro"]) == ("1000000", "0", "0")


@given(st.text(st.sampled_from('ab" ;|'), min_size=1, max_size=8).map(lambda text: f"n{text}n"))
def test_names_come_out_of_the_files_as_they_went_in(name: str) -> None:
    cell = name.replace('"', '""')
    energies = ENERGIES.replace(",sun,", f',"{cell}",')
    with TemporaryDirectory() as folder:
        files = PlainFiles(Path(folder)).write(energies)
        files.settle()
        for result, column in (("trades.csv", "seller"), ("journal.csv", "account")):
            with (files.out / result).open(newline="") as file:
                found = {row[column] for row in csv.DictReader(file)}
            assert {name, f"building/{name}"} & found
