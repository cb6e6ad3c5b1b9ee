"""The campus's charges shared out: whole, by peak and alike, and nothing from nowhere."""

from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from settlement.journal import GRID, Posting, building_account
from settlement.shared_bill import charge_postings, peak_start
from settlement.utility_bill import BillLine, LineKind, LoadRow, MonthBill

AMOUNTS = st.integers(0, 10**12)
TAKEN = st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), st.integers(0, 10**9))


KINDS: dict[str, LineKind] = {
    "demand": "demand", "minimum": "minimum", "service": "service", "levy": "levy",
}  # fmt: skip


def bill(**amounts: int) -> MonthBill:
    lines = [BillLine(kind, name, 0, "", 0, amounts.get(name, 0)) for name, kind in KINDS.items()]
    lines += [BillLine("energy", "energy", 0, "", 0, 10**9), BillLine("vat", "VAT", 0, "", 0, 10**8)]
    return MonthBill(date(2026, 6, 1), lines, 0, 0)


def parts(postings: list[Posting], kind: str) -> dict[str, int]:
    """What buildings have to bear of a kind."""
    prefix = building_account("")
    return {
        each.account.removeprefix(prefix): -each.amount_micro
        for each in postings
        if each.kind == kind and each.account != GRID
    }


@given(AMOUNTS, AMOUNTS, AMOUNTS, TAKEN, st.permutations(["a", "b", "c"]))
def test_each_charge_goes_out_whole_and_the_postings_sum_to_zero(
    demand: int, minimum: int, service: int, taken: dict[str, int], buildings: list[str]
) -> None:
    postings = list(charge_postings(bill(demand=demand, minimum=minimum, service=service), taken, buildings))
    assert sum(each.amount_micro for each in postings) == 0
    assert sum(parts(postings, "demand").values()) == demand + minimum
    assert sum(parts(postings, "service").values()) == service
    assert all(each.energy_milliwh == 0 and each.amount_micro for each in postings)
    assert postings == list(
        charge_postings(
            bill(demand=demand, minimum=minimum, service=service), taken, sorted(buildings, reverse=True)
        )
    )


def test_demand_goes_by_what_was_taken_at_the_peak_and_fixed_charges_alike() -> None:
    taken = {"a": 3, "b": 1, "x": 9}
    postings = list(charge_postings(bill(demand=400, service=100, levy=1), taken, ["b", "a", "c"]))
    assert parts(postings, "demand") == {"a": 300, "b": 100}
    assert parts(postings, "service") == {"a": 34, "b": 34, "c": 33}


def test_a_peak_that_nobody_took_part_in_is_shared_alike() -> None:
    postings = list(charge_postings(bill(demand=3), {}, ["a", "b", "c"]))
    assert parts(postings, "demand") == {"a": 1, "b": 1, "c": 1}


def test_the_peak_is_the_earliest_of_equals() -> None:
    rows = [LoadRow(3_600, 5), LoadRow(900, 7), LoadRow(1_800, 7)]
    assert peak_start(rows).timestamp() == 900
