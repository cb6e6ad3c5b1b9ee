"""The campus's charges shared out: whole, by what causes them, and nothing from nowhere."""

from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from settlement.journal import GRID, Posting, building_account
from settlement.shared_bill import Causes, Taken, charge_postings
from settlement.utility_bill import BillLine, LineKind, MonthBill

AMOUNTS = st.integers(0, 10**12)
TAKEN = st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), st.integers(0, 10**9))


KINDS: dict[str, LineKind] = {
    "on-peak": "demand", "off-peak": "demand", "minimum": "minimum", "service": "service", "levy": "levy",
}  # fmt: skip


def bill(**amounts: int) -> MonthBill:
    """A bill with amounts by `what` of the lines, written with `_` for `-`."""
    told = {name.replace("_", "-"): amount for name, amount in amounts.items()}
    lines = [BillLine(kind, name, 0, "", 0, told.get(name, 0)) for name, kind in KINDS.items()]
    lines += [BillLine("energy", "energy", 0, "", 0, 10**9), BillLine("vat", "VAT", 0, "", 0, 10**8)]
    return MonthBill(date(2026, 6, 1), lines, 0, 0, {})


def parts(postings: list[Posting], kind: str) -> dict[str, int]:
    """What buildings have to bear of a kind."""
    prefix = building_account("")
    return {
        each.account.removeprefix(prefix): -each.amount_micro
        for each in postings
        if each.kind == kind and each.account != GRID
    }


@given(st.tuples(*[AMOUNTS] * 5), TAKEN, TAKEN, TAKEN, st.permutations(["a", "b", "c"]))
def test_each_charge_goes_out_whole_and_the_postings_sum_to_zero(
    amounts: tuple[int, ...], on_peak: Taken, off_peak: Taken, month: Taken, buildings: list[str]
) -> None:
    on, off, minimum, service, levy = amounts
    billed = bill(on_peak=on, off_peak=off, minimum=minimum, service=service, levy=levy)
    causes = Causes({"on-peak": on_peak, "off-peak": off_peak}, month)
    postings = list(charge_postings(billed, causes, buildings))
    assert sum(each.amount_micro for each in postings) == 0
    assert sum(parts(postings, "demand").values()) == on + off + minimum
    assert sum(parts(postings, "service").values()) == service
    assert sum(parts(postings, "levy").values()) == levy
    assert all(each.energy_milliwh == 0 and each.amount_micro for each in postings)
    assert postings == list(charge_postings(billed, causes, sorted(buildings, reverse=True)))


def test_each_charge_goes_by_what_causes_it() -> None:
    causes = Causes({"on-peak": {"a": 3, "b": 1, "x": 9}, "off-peak": {"c": 1}}, {"a": 1, "b": 1, "c": 2})
    billed = bill(on_peak=400, off_peak=50, minimum=8, service=100, levy=40)
    postings = list(charge_postings(billed, causes, ["b", "a", "c"]))
    assert parts(postings, "demand") == {"a": 300 + 6, "b": 100 + 2, "c": 50}, "the minimum as the dearest"
    assert parts(postings, "service") == {"a": 34, "b": 33, "c": 33}
    assert parts(postings, "levy") == {"a": 10, "b": 10, "c": 20}


def test_a_peak_that_nobody_took_part_in_is_shared_alike() -> None:
    postings = list(charge_postings(bill(on_peak=3), Causes({}, {}), ["a", "b", "c"]))
    assert parts(postings, "demand") == {"a": 1, "b": 1, "c": 1}
